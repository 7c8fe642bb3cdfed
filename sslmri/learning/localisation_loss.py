"""Teaches heads where to look: on labelled slices whose finding is marked, the map of the true class is drawn to it."""

import torch
from torch import Tensor
from torch.nn import functional


def localisation_loss(maps: Tensor, weights: Tensor, regions: Tensor) -> Tensor:
    """Returns how far the map of each slice's true class lies from its finding, averaged over slices.

    The logit of a class is the mean over places of ``w @ A(place)``. A softmax over places turns these local logits
    into a distribution, and its cross-entropy against the finding's share of each place is the loss: attention under
    supervision, as in Li et al. 2018 (arXiv:1802.10171, section 3.2), on the class activation map itself. A slice
    whose finding was moved out of the picture does not count; with none left the loss is 0.

    Args:
        maps: (M, K, h, w) last feature maps A.
        weights: (M, K) head weights w of each slice's true class.
        regions: (M, 1, H, W) in [0, 1], where the finding lies.
    """
    local = torch.einsum("mkhw,mk->mhw", maps.float(), weights.float()).flatten(1)
    share = functional.adaptive_avg_pool2d(regions, (maps.shape[2], maps.shape[3])).flatten(1)
    total = share.sum(dim=1)
    seen = total > 0
    if not seen.any():
        return local.sum() * 0.0
    target = share[seen] / total[seen, None]
    return -(target * local[seen].log_softmax(dim=1)).sum(dim=1).mean()
