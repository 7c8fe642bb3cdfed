"""Settings of pre-training and fine-tuning. No torch here: the command line is built from them."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from sslmri.models.architecture import RESNET50, Architecture

Precision = Literal["auto", "bfloat16", "float32"]  # hidden in the settings: `--precision` sets it for all steps


@dataclass(frozen=True)
class ViewSettings:
    """How a view is made. The published grayscale conversion is the identity for one channel, so it is left out.

    Attributes:
        size: side of a view in pixels, cropped from the prepared slice.
        min_area, max_area: bounds of the crop's fraction of the slice's area.
        max_aspect: bound of the crop's width over height, and of its inverse.
        flip_probability: of a horizontal flip.
        brightness, contrast: greatest relative change of the intensities and of their distance from their mean.
        jitter_probability: of changing brightness and contrast.
        blur_probability: of a Gaussian blur.
        max_blur_fraction: greatest sigma of the blur, as a fraction of ``size``.
    """

    size: int = 96
    min_area: float = 0.3
    max_area: float = 1.0
    max_aspect: float = 4 / 3
    flip_probability: float = 0.5
    brightness: float = 0.4
    contrast: float = 0.4
    jitter_probability: float = 0.8
    blur_probability: float = 0.5
    max_blur_fraction: float = 0.02


@dataclass(frozen=True)
class AugmentSettings:
    """How a labelled training slice is augmented.

    Attributes:
        max_rotation_deg: greatest rotation, either way.
        max_scale: greatest relative change of size.
        max_shift: greatest shift along each axis, as a fraction of the slice's side.
        flip_probability: of a horizontal flip.
        brightness, contrast: greatest relative change of the intensities and of their distance from their mean.
        max_gamma: bound of the exponent of the intensities, and of its inverse; 1 leaves them.
        max_blur: greatest sigma of a Gaussian blur, in pixels; 0: no more blur than linear resampling leaves.
    """

    max_rotation_deg: float = 15.0
    max_scale: float = 0.15
    max_shift: float = 0.06
    flip_probability: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    max_gamma: float = 1.0
    max_blur: float = 0.0


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of pre-training.

    Attributes:
        epochs: passes over the pre-training slices.
        batch_size: slices per step, over all processes; each gives two views, so a view has ``2 * batch_size - 2``
            negatives.
        learning_rate: of AdamW, at its peak.
        weight_decay: of AdamW.
        warmup_epochs: epochs over which the learning rate rises from 0, before its cosine decay to 0.
        temperature: tau of NT-Xent.
        probe_every: epochs between two kNN probes on validation groups.
        seed: of the weights, the order of slices and the views.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: of the forward pass, ``auto`` for what the device computes fast; weights and loss are float32.
        architecture: of the encoder.
        views: how a view is made.
    """

    epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    temperature: float = 0.07
    probe_every: int = 5
    seed: int = 0
    device: str = "auto"
    precision: tyro.conf.Suppress[Precision] = "auto"
    architecture: Architecture = RESNET50
    views: ViewSettings = field(default_factory=ViewSettings)


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of fine-tuning.

    Attributes:
        regime: ``fine-tune`` trains encoder and heads jointly on all diseases; ``linear-probe`` freezes the encoder.
        labels_per_class: labelled slices used of each class, in all.
        slices_per_class: slices drawn of each class in an epoch, as many of each class of a disease; at most.
        slices_per_group: slices drawn of each group in an epoch, at most, unless its class is short of slices.
        epochs: passes over the balanced slices, at most.
        late_epochs: epochs of the second phase of ``finetune``; 0 leaves it out.
        patience: epochs without a better validation score before training stops.
        batch_size: slices per step, of all diseases mixed.
        learning_rate: of AdamW for the encoder, at its peak.
        head_learning_rate: of AdamW for the heads, at its peak.
        weight_decay: of AdamW.
        warmup_epochs: epochs over which the learning rates rise from 0, before their cosine decay to 0.
        label_smoothing: fraction of the target distributed evenly over the classes of a disease.
        average_decay: of the moving average of the weights, per step; the average is validated and kept.
        output_stride: of the encoder from fine-tuning on: 16 gives finer maps for 1.7 times the work of 32.
        dense_weight: of the loss that supervises each location of slices whose lesion is annotated, or that show none;
            0 leaves it out.
        refits_atrophy: whether heads of atrophy are fitted again after fine-tuning, on halves of the second stage.
        seed: of the heads, the order of slices and their augmentation.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: of the forward pass, ``auto`` for what the device computes fast; weights and loss are float32.
        augmentation: how training slices are augmented.
    """

    regime: Literal["fine-tune", "linear-probe"] = "fine-tune"
    labels_per_class: int = 450
    slices_per_class: int = 450
    slices_per_group: int = 8
    epochs: int = 8
    late_epochs: int = 0
    patience: int = 6
    batch_size: int = 64
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.05
    average_decay: float = 0.99
    output_stride: Literal[32, 16] = 16
    dense_weight: float = 1.0
    refits_atrophy: bool = False
    seed: int = 0
    device: str = "auto"
    precision: tyro.conf.Suppress[Precision] = "auto"
    augmentation: AugmentSettings = field(default_factory=AugmentSettings)
