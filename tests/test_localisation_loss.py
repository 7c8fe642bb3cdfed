"""The map of the true class is drawn to where the finding is marked."""

import math

import numpy as np
import torch
from scipy.special import log_softmax

from sslmri.learning.localisation_loss import localisation_loss


def regions_at(*places: tuple[int, int]) -> torch.Tensor:
    """Returns regions (M, 1, 16, 16), each one square of 4 x 4 at a place of a grid of 4 x 4."""
    regions = torch.zeros(len(places), 1, 16, 16)
    for region, (row, column) in zip(regions, places, strict=True):
        region[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    return regions


def test_loss_equals_a_plain_loop():
    torch.manual_seed(0)
    maps, weights = torch.randn(3, 5, 4, 4), torch.randn(3, 5)
    regions = (torch.rand(3, 1, 16, 16) > 0.7).float()
    losses = []
    for one, weight, region in zip(maps.numpy(), weights.numpy(), regions.numpy(), strict=True):
        local = np.array([[weight @ one[:, y, x] for x in range(4)] for y in range(4)]).ravel()
        share = region[0].reshape(4, 4, 4, 4).mean(axis=(1, 3)).ravel()
        losses.append(-(share / share.sum() * log_softmax(local)).sum())
    assert abs(localisation_loss(maps, weights, regions).item() - np.mean(losses)) < 1e-5


def test_a_flat_map_knows_as_much_as_chance():
    loss = localisation_loss(torch.ones(2, 5, 4, 4), torch.ones(2, 5), regions_at((0, 0), (3, 2)))
    assert abs(loss.item() - math.log(16)) < 1e-6


def test_gradient_draws_the_map_to_the_finding():
    torch.manual_seed(0)
    maps, weights, regions = torch.zeros(1, 5, 4, 4, requires_grad=True), torch.randn(1, 5), regions_at((1, 2))
    localisation_loss(maps, weights, regions).backward()
    local = torch.einsum("mkhw,mk->mhw", -maps.grad, weights)[0]
    assert local.argmax().item() == 1 * 4 + 2
    assert (local > 0).sum() == 1


def test_findings_moved_out_of_the_image_do_not_count():
    torch.manual_seed(0)
    maps, weights = torch.randn(2, 5, 4, 4, requires_grad=True), torch.randn(2, 5)
    regions = regions_at((1, 2), (0, 0))
    regions[1] = 0
    assert torch.equal(localisation_loss(maps, weights, regions), localisation_loss(maps[:1], weights[:1], regions[:1]))
    nothing = localisation_loss(maps, weights, torch.zeros_like(regions))
    nothing.backward()
    assert nothing.item() == 0
    assert not maps.grad.any()
