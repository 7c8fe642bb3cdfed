"""The model card as sentences and tables."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from sslmri.dashboard.words import count, in_order, literal
from sslmri.diseases import DISEASES, class_title
from sslmri.learning.cards import HeadCard, ModelCard


def ordered_heads(card: ModelCard) -> list[tuple[str, HeadCard]]:
    """Returns key and card of each head, in the order of the diseases."""
    return [(key, card.heads[key]) for key in in_order(card.heads)]


def questions(card: ModelCard) -> str:
    """Returns what each head answers, as a list."""
    titles = ((DISEASES[key].title, DISEASES[key].question) for key, _ in ordered_heads(card))
    return "\n".join(f"- **{title}**: {question}" for title, question in titles)


def training_sentence(card: ModelCard) -> str:
    """Returns how much the model learned from, and by which split."""
    encoder, training = card.encoder, card.training
    protocol = literal(str(training.get("protocol", "not recorded")))
    return (
        f"The encoder learned without labels from **{count(encoder.n_slices, 'slice')}** of "
        f"**{count(encoder.n_groups, 'group')}**; the heads were taught on labelled slices of the same training side. "
        f"Split: {protocol}."
    )


def cohorts(card: ModelCard) -> pd.DataFrame:
    """Returns each cohort with its source and terms."""
    terms = card.training.get("cohorts", {})
    rows = [(name, terms.get(name, "not recorded")) for name in sorted({*card.encoder.cohorts, *terms})]
    return pd.DataFrame(rows, columns=["cohort", "source and terms"])


def head_counts(card: ModelCard) -> pd.DataFrame:
    """Returns groups and slices of each class by split."""
    rows = [
        {"disease": DISEASES[key].title, "class": class_title(label)}
        | {
            f"{split} {thing}": splits[split][index]
            for split in splits
            for index, thing in enumerate(("groups", "slices"))
        }
        for key, head in ordered_heads(card)
        for label, splits in head.counts.items()
    ]
    return pd.DataFrame(rows)


def unlearned_sentence(head: HeadCard) -> str:
    """Returns which classes a head never learned, or nothing."""
    names = ", ".join(class_title(label) for label in head.unlearned)
    return f" Never learned: {names}." if names else ""


def identity(card: ModelCard) -> pd.DataFrame:
    """Returns names, dates and hashes of the model."""
    encoders = sorted({head.encoder_sha256 for head in card.heads.values()})
    rows = [
        ("model", card.name),
        ("model hash (SHA-256)", card.sha256),
        ("created", card.created),
        ("architecture", card.encoder.architecture),
        *(("encoder hash (SHA-256)", sha256) for sha256 in encoders),
        ("hash of the training groups", card.encoder.groups_sha256),
        *((f"version of {package}", version) for package, version in card.encoder.versions.items()),
    ]
    return pd.DataFrame(rows, columns=["what", "value"])


def heads(card: ModelCard) -> pd.DataFrame:
    """Returns how each head turns logits into a status."""
    rows = [
        {
            "disease": DISEASES[key].title,
            "learned from": DISEASES[key].applies_to,
            "regime": head.regime,
            "not flagged below": round(head.threshold_low, 3),
            "flagged from": round(head.threshold_high, 3),
            "calibration temperature": round(head.calibration_temperature, 3),
            "top of the map's scale, logits": round(head.saliency_scale, 3),
            "rule of the thresholds": head.threshold_rule,
            "created": head.created,
        }
        for key, head in ordered_heads(card)
    ]
    return pd.DataFrame(rows)


def settings(card: ModelCard) -> dict[str, Any]:
    """Returns every setting that made the model."""
    return {
        "pre-training": card.encoder.pretraining,
        "fine-tuning": {key: head.finetuning for key, head in card.heads.items()},
        "preparation": asdict(card.encoder.preparation),
        "kNN probe": card.encoder.knn,
    }
