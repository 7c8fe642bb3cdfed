"""NT-Xent against the paper's algorithm written out, and the projection head's shape."""

import math

import pytest
import torch

from sslmri.learning.pretrain import ProjectionHead, nt_xent


def nt_xent_by_double_loop(projections: torch.Tensor, temperature: float) -> float:
    """Algorithm 1 of Chen et al. 2020, term by term."""
    n = projections.shape[1]
    z = [projections[view, index] for index in range(n) for view in (0, 1)]  # z_{2k-1}, z_{2k} are a pair

    def similarity(i: int, j: int) -> float:
        return float(z[i] @ z[j] / (z[i].norm() * z[j].norm()))

    def loss(i: int, j: int) -> float:
        below = sum(math.exp(similarity(i, k) / temperature) for k in range(2 * n) if k != i)
        return -math.log(math.exp(similarity(i, j) / temperature) / below)

    return sum(loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in range(n)) / (2 * n)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
def test_loss_equals_the_double_loop(temperature):
    projections = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))
    assert nt_xent(projections, temperature).item() == pytest.approx(
        nt_xent_by_double_loop(projections, temperature), rel=1e-5
    )


def test_loss_of_equal_projections_is_the_log_of_the_choices():
    projections = torch.ones(2, 4, 8)
    assert nt_xent(projections, 0.07).item() == pytest.approx(math.log(7), rel=1e-5)


def test_loss_falls_when_pairs_agree():
    apart = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(2))
    together = apart[:1].repeat(2, 1, 1)
    assert nt_xent(together, 0.07) < nt_xent(apart, 0.07)


def test_length_of_a_projection_does_not_matter():
    projections = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(3))
    assert nt_xent(projections * 9, 0.1).item() == pytest.approx(nt_xent(projections, 0.1).item(), rel=1e-4)


def test_projection_head_goes_2048_1024_512_128():
    widths = [layer.weight.shape for layer in ProjectionHead(2048) if isinstance(layer, torch.nn.Linear)]
    assert widths == [(1024, 2048), (512, 1024), (128, 512)]
