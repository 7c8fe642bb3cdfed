"""The encoder's card in words."""

import math
from typing import Any

from sslmri.dashboard.encoder.runs import Run
from sslmri.dashboard.text import count, escape_markdown, in_order, proportion
from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import SequenceMetrics

_ARCHITECTURES = {
    "resnet50-1ch": "A ResNet-50 with one input channel",
    "resnet50-1ch-os16": "A ResNet-50 with one input channel, its last stage at stride 16 for finer maps,",
}


def facts(card: ModelCard, sequence: SequenceMetrics | None = None) -> str:
    """Returns what an encoder is, how it was trained and how well it predicts the sequence, as a Markdown list."""
    encoder = card.encoder
    height, width = encoder.preparation.image_size
    architecture = _ARCHITECTURES.get(encoder.architecture.name, escape_markdown(encoder.architecture.name))
    cohorts = ", ".join(escape_markdown(name) for name in encoder.data.cohorts)
    source = "" if encoder.start else f" from {count(len(encoder.data.cohorts), 'cohort')}: {cohorts}"
    sentences = [
        f"{architecture} turns a slice of {width} x {height} pixels into a vector of "
        f"**{encoder.architecture.feature_dim:,} features**. One encoder serves the classifiers of all diseases.",
        f"Trained without labels on **{count(encoder.data.counts.slices, 'slice')}** of "
        f"**{count(encoder.data.counts.groups, 'group')}**{source}.",
        *(_pretraining(encoder.pretraining) if encoder.data.counts.slices else ()),
        *filter(None, [escape_markdown(encoder.start)]),
    ]
    if encoder.knn:
        scores = ", ".join(f"{DISEASES[key].title} {proportion(encoder.knn[key])}" for key in in_order(encoder.knn))
        sentences.append(f"Final kNN probe, balanced accuracy on validation groups: {scores}.")
    if any(head.regime == "fine-tune" for head in card.heads.values()):
        sentences.append("Then fine-tuned with labels, together with the classifiers: so are the features below.")
    if sequence:
        sentences.append(sequence_sentence(sequence))
    return "\n".join(f"- {sentence}" for sentence in sentences)


def sequence_sentence(found: SequenceMetrics) -> str:
    """Returns how often the sequence of a slice is predicted correctly, on groups left out of its training."""
    same = found.same_source
    apart = (
        f"; where several come from the same scanners, {same.rate} of {count(same.n_slices, 'slice')}" if same else ""
    )
    return (
        f"A classifier predicts the sequence ({', '.join(found.names)}) of a slice; on groups left out of its training "
        f"it is correct for **{found.accuracy.rate}** of {count(found.accuracy.n_slices, 'slice')}{apart}."
    )


def _pretraining(settings: dict[str, Any]) -> list[str]:
    views = settings["views"]
    return [
        "SimCLR (Chen et al. 2020): two augmented views of a slice are pulled together and pushed apart from the other "
        f"slices in the batch of {settings['batch_size']}; NT-Xent at temperature {settings['temperature']:g}, "
        f"{count(settings['epochs'], 'epoch')}, seed {settings['seed']}.",
        f"Augmentation: random resized crop ({100 * views['min_area']:g} to {100 * views['max_area']:g} %), "
        f"{views['size']} px; horizontal flip p = {views['flip_probability']:g}; brightness and contrast jitter "
        f"{views['brightness']:g} and {views['contrast']:g}; blur p = {views['blur_probability']:g}. The features "
        "become invariant to these.",
    ]


def run_sentence(run: Run) -> str:
    """Returns how far a pre-training is, as Markdown."""
    if not run.entries:
        return "**Running**: the first epoch." if run.state == "running" else "**Stopped** before the end of an epoch."
    last: dict[str, Any] = run.entries[-1]
    epochs = f"epoch {last['epoch']}" + (f" of {last['epochs']}" if "epochs" in last else "")
    if run.state == "finished":
        return f"**Finished** with {epochs}; loss {last['loss']:.3f}."
    if run.state == "stopped":
        return f"**Stopped** after {epochs}. The same command with --resume continues it."
    parts = [epochs, f"loss {last['loss']:.3f}"]
    if "learning_rate" in last:
        parts += [f"learning rate {last['learning_rate']:.2g}", f"{last['slices_per_s']:.3g} slices per second"]
        parts += [f"about {duration(last['seconds_left'])} left"]
    return f"**Running**: {', '.join(parts)}."


def duration(seconds: float) -> str:
    """Returns a time in words, such as ``12 min``."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
