"""Supervises a focal classifier at each location: the lesion inside its annotation, no finding outside."""

import torch
from torch import Tensor
from torch.nn import functional


def dense_loss(local_logits: Tensor, truth: Tensor, regions: Tensor) -> Tensor:
    """Returns the cross-entropy of the locations of slices, averaged over slices.

    The target of a location is the class of its slice for the fraction of its area that is lesion, and the reference
    class for the rest, so tissue is compared with tissue of the same scan and its source says nothing. In a slice with
    a lesion its inside and its outside weigh the same, whatever their areas. A lesion that was moved out of its image
    does not count; with no slice left the loss is 0. Logits of locations are (M, C, h, w), class indices (M,), 0
    without a lesion, and regions, where the lesion lies, (M, 1, H, W) in [0, 1].
    """
    area = functional.adaptive_avg_pool2d(regions, (local_logits.shape[2], local_logits.shape[3])).flatten(1)
    losses = -local_logits.flatten(2).log_softmax(dim=1)
    inside, outside = losses[torch.arange(len(truth)), truth], losses[:, 0]
    lesion = area.sum(dim=1)
    mean_inside = (area * inside).sum(dim=1) / lesion.clamp(min=1e-6)
    mean_outside = ((1 - area) * outside).sum(dim=1) / (1 - area).sum(dim=1).clamp(min=1e-6)
    by_slice = torch.where(lesion > 0, (mean_inside + mean_outside) / 2, mean_outside)
    is_counted = (lesion > 0) | (truth == 0)
    return by_slice[is_counted].mean() if is_counted.any() else local_logits.sum() * 0.0
