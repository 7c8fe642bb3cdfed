"""Each location of an annotated slice is supervised, and a slice's logits are pooled from its locations."""

import math

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp

from sslmri.learning.dense_loss import dense_loss
from sslmri.learning.encoder import Encoder, Maps, pool
from sslmri.learning.finetune import MultiHead
from sslmri.learning.model import Head
from tests.small_encoder import SMALL_ENCODER


def regions_at(*places: tuple[int, int] | None) -> torch.Tensor:
    """Returns regions (M, 1, 16, 16), each one square of 4 x 4 at a place of a grid of 4 x 4, or empty."""
    regions = torch.zeros(len(places), 1, 16, 16)
    for region, place in zip(regions, places, strict=True):
        if place:
            region[0, 4 * place[0] : 4 * place[0] + 4, 4 * place[1] : 4 * place[1] + 4] = 1
    return regions


def test_loss_equals_a_plain_loop():
    torch.manual_seed(0)
    local, truth, regions = torch.randn(3, 4, 4, 4), torch.tensor([2, 0, 1]), (torch.rand(3, 1, 16, 16) > 0.7).float()
    regions[1] = 0
    losses = []
    for logits, label, region in zip(local.numpy(), truth.tolist(), regions.numpy(), strict=True):
        inside, outside = [], []
        for y in range(4):
            for x in range(4):
                area = region[0, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean()
                likelihood = log_softmax(logits[:, y, x])
                inside.append((area, -likelihood[label]))
                outside.append((1 - area, -likelihood[0]))
        means = [
            sum(w * v for w, v in part) / sum(w for w, _ in part)
            for part in (inside, outside)
            if label or part is outside
        ]
        losses.append(np.mean(means))
    assert abs(dense_loss(local, truth, regions).item() - np.mean(losses)) < 1e-5


def test_a_classifier_that_knows_nothing_pays_for_its_classes():
    loss = dense_loss(torch.zeros(2, 4, 4, 4), torch.tensor([1, 0]), regions_at((0, 0), None))
    assert abs(loss.item() - math.log(4)) < 1e-6


def test_gradient_raises_the_class_inside_its_lesion_and_lowers_it_outside():
    local = torch.zeros(1, 4, 4, 4, requires_grad=True)
    dense_loss(local, torch.tensor([3]), regions_at((1, 2))).backward()
    raised = -local.grad[0, 3] > 0
    assert raised.sum() == 1
    assert raised[1, 2]


def test_a_lesion_moved_out_of_the_image_does_not_count():
    torch.manual_seed(0)
    local = torch.randn(2, 4, 4, 4, requires_grad=True)
    regions = regions_at((1, 2), None)
    truth = torch.tensor([1, 2])
    assert torch.equal(dense_loss(local, truth, regions), dense_loss(local[:1], truth[:1], regions[:1]))
    nothing = dense_loss(local[1:], truth[1:], regions[1:])
    nothing.backward()
    assert nothing.item() == 0
    assert not local.grad.any()


def test_log_mean_exp_pooling_equals_its_formula_and_finds_a_small_lesion():
    torch.manual_seed(0)
    maps, weight, bias = torch.randn(2, 5, 3, 4), torch.randn(3, 5), torch.randn(3)
    head = Head(weight, bias, "log-mean-exp")
    local = np.einsum("nkhw,ck->nchw", maps.numpy(), weight.numpy()) + bias.numpy()[:, None, None]
    expected = logsumexp(local.reshape(2, 3, 12), axis=2) - math.log(12)
    found = head.local_logits(Maps(maps, maps))
    np.testing.assert_allclose(found.numpy(), local, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.slice_logits(found).numpy(), expected, rtol=1e-4, atol=1e-5)
    small = torch.full((1, 1, 8, 8), -4.0)
    small[0, 0, 2, 5] = 9.0
    focal, mean = (Head(torch.ones(1, 1), torch.zeros(1), pooling) for pooling in ("log-mean-exp", "mean"))
    assert focal.slice_logits(small).item() > 4
    assert mean.slice_logits(small).item() < -3


def test_mean_pooling_is_the_linear_head_on_mean_features():
    torch.manual_seed(0)
    maps, head = torch.randn(2, 5, 3, 4), Head(torch.randn(3, 5), torch.randn(3))
    torch.testing.assert_close(head.slice_logits(head.local_logits(Maps(maps, maps))), head.logits(pool(maps)))


def test_the_reference_class_of_a_focal_head_is_zero_everywhere():
    torch.manual_seed(0)
    model = MultiHead(Encoder(SMALL_ENCODER), ["tumours", "ms"])
    for head in model.heads.values():
        torch.nn.init.normal_(head.weight)
        torch.nn.init.normal_(head.bias)
    heads, maps = model.plain_heads(), torch.randn(2, SMALL_ENCODER.feature_dim, 2, 2)
    assert (heads["tumours"].pooling, heads["ms"].pooling) == ("log-mean-exp", "mean")
    local = heads["tumours"].local_logits(Maps(maps, maps))
    assert not heads["tumours"].slice_logits(local)[:, 0].any()
    layer = model.heads["tumours"]
    raw = torch.einsum("nkhw,ck->nchw", maps, layer.weight) + layer.bias[:, None, None]
    torch.testing.assert_close(local, (raw - raw[:, :1]).detach())
