"""Keeps an answer where it is when a slice is changed as no reader would notice."""

from torch import Tensor

from sslmri.learning.views import AugmentSettings

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
    """Returns how far twins lie apart, as a share of how far slices do: 0 for features that no twin changes.

    The mean squared distance between a slice's features and its twin's (Sajjadi et al. 2016, arXiv:1606.04586, eq. 1,
    on the features, so that every head gains and no label is needed), over their variance in the batch, so that a
    weight means the same for features of any size. No gradient flows through the variance.

    Args:
        features: (2 N, K), of N slices and then of their N twins, the same slices changed a little more.
    """
    slices, twins = features.float().chunk(2)
    return (slices - twins).square().mean() / features.detach().float().var(dim=0).mean()
