"""Keeps the features of a slice where they are under a perturbation that no reader would notice."""

from torch import Tensor

from sslmri.learning.settings import AugmentSettings

HARMLESS = AugmentSettings(
    max_rotation_deg=3.0,
    max_scale=0.06,
    max_shift=0.03,
    flip_probability=0.0,
    brightness=0.1,
    contrast=0.1,
    max_gamma=1.15,
    max_blur=0.8,
)


def consistency_loss(features: Tensor) -> Tensor:
    """Returns the distance of perturbed pairs as a fraction of that of slices: 0 for features that do not change.

    The mean squared distance between the features of a slice and of the perturbed slice (Sajjadi et al. 2016,
    arXiv:1606.04586, eq. 1, on the features, so that every head gains and no label is needed), over the variance in
    the batch, so that a weight means the same for features of any size. No gradient flows through the variance.

    Args:
        features: (2 N, K), of N slices and then of the same slices, perturbed.
    """
    slices, perturbed = features.float().chunk(2)
    return (slices - perturbed).square().mean() / features.detach().float().var(dim=0).mean()
