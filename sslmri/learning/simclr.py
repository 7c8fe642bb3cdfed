"""SimCLR: the projection head g and the NT-Xent loss (Chen et al. 2020, arXiv:2002.05709)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

PROJECTION_DIM = 128


class ProjectionHead(nn.Sequential):
    """The projection head g: features h (N, K) -> projections z (N, 128), through K / 2 and K / 4."""

    def __init__(self, feature_dim: int) -> None:
        layers: list[nn.Module] = []
        width = feature_dim
        for _ in range(2):
            layers += [nn.Linear(width, width // 2, bias=False), nn.BatchNorm1d(width // 2), nn.ReLU(inplace=True)]
            width //= 2
        super().__init__(*layers, nn.Linear(width, PROJECTION_DIM))


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Returns the NT-Xent loss of a batch: the mean over all 2N views of equation 1.

    The loss of a view is the cross-entropy of finding its partner among the 2N - 1 other views, with cosine
    similarities divided by the temperature as logits.

    Args:
        projections: (2, N, D); ``[0, n]`` and ``[1, n]`` are the positive pair of slice n.
        temperature: tau of equation 1, above 0.
    """
    n = projections.shape[1]
    unit = functional.normalize(projections.float().flatten(0, 1), dim=1)
    similarity = unit @ unit.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    partner = torch.arange(2 * n, device=unit.device).roll(n)
    return functional.cross_entropy(similarity, partner)
