"""Draws the map of the true class to the lesion, on labelled slices whose lesion is annotated."""

import torch
from torch import Tensor
from torch.nn import functional


def localisation_loss(maps: Tensor, weights: Tensor, regions: Tensor) -> Tensor:
    """Returns how far the map of each slice's true class lies from its lesion, averaged over slices.

    The logit of a class is the mean over locations of ``w @ A(location)``. A softmax over locations turns these local
    logits into a distribution, and its cross-entropy against the distribution of the lesion's area is the loss:
    attention under supervision, as in Li et al. 2018 (arXiv:1802.10171, section 3.2), on the class activation map. A
    slice whose lesion was moved out of the image does not count; with none left the loss is 0.

    Args:
        maps: (M, K, h, w) last feature maps A.
        weights: (M, K) head weights w of each slice's true class.
        regions: (M, 1, H, W) in [0, 1], where the lesion lies.
    """
    local = torch.einsum("mkhw,mk->mhw", maps.float(), weights.float()).flatten(1)
    area = functional.adaptive_avg_pool2d(regions, (maps.shape[2], maps.shape[3])).flatten(1)
    total = area.sum(dim=1)
    is_inside = total > 0
    if not is_inside.any():
        return local.sum() * 0.0
    target = area[is_inside] / total[is_inside, None]
    return -(target * local[is_inside].log_softmax(dim=1)).sum(dim=1).mean()
