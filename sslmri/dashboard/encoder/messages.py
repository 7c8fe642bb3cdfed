"""The encoder's card in words."""

import math
from typing import Any

from sslmri.dashboard.text import count, escape_markdown, in_order, proportion
from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard

_ARCHITECTURES = {
    "resnet50-1ch": "A ResNet-50 that takes one grey channel",
    "resnet50-1ch-os16": "A ResNet-50 that takes one grey channel, its last stage at stride 16 for finer maps",
}


def facts(card: ModelCard) -> list[str]:
    """Returns what an encoder is, what it learned from and how, one Markdown sentence each."""
    encoder = card.encoder
    height, width = encoder.preparation.image_size
    what = _ARCHITECTURES.get(encoder.architecture, escape_markdown(encoder.architecture))
    cohorts = ", ".join(escape_markdown(name) for name in encoder.cohorts)
    sentences = [
        f"{what}: it turns a slice of {width} x {height} pixels into a feature of **{encoder.feature_dim:,} numbers**. "
        "One encoder serves every disease head.",
        f"It learned without labels from **{count(encoder.n_slices, 'slice')}** of "
        f"**{count(encoder.n_groups, 'group')}** out of {count(len(encoder.cohorts), 'cohort')}: {cohorts}.",
    ]
    if encoder.pretraining is None:
        return [*sentences, "It was not pre-trained: the heads' labels taught all of it."]
    return [*sentences, *_pretraining(encoder.pretraining), *_probe(encoder.knn), *_finetuned(card)]


def chance_loss(batch_size: int) -> float:
    """Returns the NT-Xent loss of features that tell nothing: each of 2N - 1 other views is as likely the partner."""
    return math.log(2 * batch_size - 1)


def _pretraining(settings: dict[str, Any]) -> list[str]:
    views = settings["views"]
    return [
        f"SimCLR (Chen et al. 2020): two views of each slice should have like features, unlike those of the other "
        f"slices of a batch of {settings['batch_size']}; NT-Xent at temperature {settings['temperature']:g}, "
        f"{count(settings['epochs'], 'epoch')}, seed {settings['seed']}.",
        f"A view is a random cut of {views['min_area']:.0%} to {views['max_area']:.0%} of the slice at "
        f"{views['size']} pixels, flipped with probability {views['flip_probability']:g}, its brightness and contrast "
        f"changed by up to {views['brightness']:.0%} and {views['contrast']:.0%}, blurred with probability "
        f"{views['blur_probability']:g}. What a view changes, the feature learns to ignore.",
    ]


def _probe(knn: dict[str, float] | None) -> list[str]:
    if not knn:
        return []
    found = ", ".join(f"{DISEASES[key].title} {proportion(knn[key])}" for key in in_order(knn))
    return [f"Last kNN probe after pre-training, balanced accuracy on validation groups: {found}."]


def _finetuned(card: ModelCard) -> list[str]:
    if not any(head.regime == "fine-tune" for head in card.heads.values()):
        return []
    return ["Then it was fine-tuned with labels, together with the heads: the features below are those after that."]
