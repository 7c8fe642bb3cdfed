"""The model card as sentences and tables."""

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from sslmri.cohorts.registry import caveat_of, meaning_of, unit_of
from sslmri.cohorts.splits import SPLITS
from sslmri.dashboard.data.summary_tables import meaning_of_group
from sslmri.dashboard.text import count, escape_markdown, in_order
from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.gate import NOT_BRAIN, UNRELATED, percentage
from sslmri.models.cards import HeadCard, ModelCard
from sslmri.models.evidence import GateTable

_PLAIN = (UNRELATED, NOT_BRAIN)  # relations of a cohort to a head that need no word


def ordered_heads(card: ModelCard) -> list[tuple[str, HeadCard]]:
    """Returns key and card of each head, in the order of the diseases."""
    return [(key, card.heads[key]) for key in in_order(card.heads)]


def questions(card: ModelCard) -> str:
    """Returns what each head answers, as a list."""
    titles = ((DISEASES[key].title, DISEASES[key].question) for key, _ in ordered_heads(card))
    return "\n".join(f"- **{title}**: {question}" for title, question in titles)


def training_sentence(card: ModelCard, summary: Mapping[str, Any] | None) -> str:
    """Returns how much the model learned from, and by which split.

    Args:
        card: the model's.
        summary: of the data it learned from, or None where none was kept.
    """
    encoder, training = card.encoder, card.training
    meaning = meaning_of_group(summary) if summary else meaning_of(unit_of(encoder.data.cohorts))
    protocol = escape_markdown(training.protocol)
    return (
        f"The encoder learned without labels from **{count(encoder.data.counts.slices, 'slice')}** of "
        f"**{count(encoder.data.counts.groups, 'group')}**; the heads were trained on labelled "
        f"slices of the same training split. "
        f"Split: {protocol}. {meaning}"
    )


def cohorts(card: ModelCard) -> pd.DataFrame:
    """Returns each cohort with its source and terms."""
    rows = sorted((card.encoder.data.cohorts | card.training.cohorts).items())
    return pd.DataFrame(rows, columns=["cohort", "source and terms"])


def head_counts(card: ModelCard) -> pd.DataFrame:
    """Returns groups and slices of each class by split, the splits in a heading of their own."""
    columns = [("", "disease"), ("", "class"), *itertools.product(SPLITS, ("groups", "slices"))]
    rows = [
        (
            DISEASES[key].title,
            class_title(label),
            *(number for split in SPLITS for number in (counts[split].groups, counts[split].slices)),
        )
        for key, head in ordered_heads(card)
        for label, counts in head.counts.items()
    ]
    return pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples(columns))


def balancing(head: HeadCard) -> pd.DataFrame:
    """Returns the training slices of each class: those there are, those used and repeated in an epoch of fine-tuning.

    The rule is that of ``Store.evenly_per_class`` and ``balanced_epoch``.
    """
    limit = int(head.finetuning["labels_per_class"])
    there = {label: head.counts[label]["train"].slices for label in head.classes}
    target = min(limit, max(there.values()))
    rows = [
        {"label": label, "labelled": n, "used": min(n, limit), "repeated": max(target - n, 0) if n else 0}
        for label, n in there.items()
    ]
    return pd.DataFrame(rows)


def balancing_rule(head: HeadCard) -> str:
    """Returns how the training slices were balanced, in a sentence."""
    augmented = " A repeated slice is another picture each time, because every slice is augmented."
    return (
        f"Of each class up to {head.finetuning['labels_per_class']} labelled slices are used; classes with fewer are "
        f"raised to the largest by repetition.{'' if head.regime == 'linear-probe' else augmented}"
    )


def limits(card: ModelCard) -> str:
    """Returns what each head is meant for, what to know before believing it, and what it never learned, as a list."""
    learned_from = card.encoder.data.cohorts | card.training.cohorts
    parts = ((DISEASES[key], _unlearned(head)) for key, head in ordered_heads(card))
    return "\n".join(
        f"- **{disease.title}**: trained on {disease.sequences}. {caveat_of(disease.key, learned_from)}{unlearned}"
        for disease, unlearned in parts
    )


def _unlearned(head: HeadCard) -> str:
    """Returns which classes a head never learned, or nothing."""
    names = ", ".join(class_title(label) for label in head.untrained)
    return f" Never learned: {names}." if names else ""


def identity(card: ModelCard) -> pd.DataFrame:
    """Returns names, dates and hashes of the model."""
    encoders = sorted({head.encoder_sha256 for head in card.heads.values()})
    rows = [
        ("model", card.name),
        ("model hash (SHA-256)", card.sha256),
        ("created", card.created),
        ("architecture", card.encoder.architecture.name),
        *(("encoder hash (SHA-256)", sha256) for sha256 in encoders),
        ("hash of the training groups", card.encoder.data.groups_sha256),
        *((f"version of {package}", version) for package, version in card.encoder.versions.items()),
    ]
    return pd.DataFrame(rows, columns=["what", "value"])


def heads(card: ModelCard) -> pd.DataFrame:
    """Returns how each head turns logits into a status."""
    rows = [
        {
            "disease": DISEASES[key].title,
            "regime": head.regime,
            "not flagged below": round(head.threshold_low, 3),
            "flagged from": round(head.threshold_high, 3),
            "calibration temperature": round(head.calibration_temperature, 3),
            "top of the map's scale": round(head.saliency_scale, 3),
        }
        for key, head in ordered_heads(card)
    ]
    return pd.DataFrame(rows)


def threshold_rules(card: ModelCard) -> list[str]:
    """Returns how the thresholds were chosen, each rule once."""
    return list(dict.fromkeys(head.threshold_rule for _, head in ordered_heads(card)))


def settings(card: ModelCard) -> dict[str, Any]:
    """Returns every setting that made the model."""
    return {
        "pre-training": card.encoder.pretraining,
        "fine-tuning": {key: head.finetuning for key, head in card.heads.items()},
        "preparation": asdict(card.encoder.preparation),
        "kNN probe": card.encoder.knn,
    }


def gate_sentence(found: GateTable | None) -> str:
    """Returns what is asked of a scan before any head speaks, as an item of a list."""
    if found is None:
        return "- Whether a picture is a brain MRI at all is **not checked** by this model: anything gets an answer."
    return (
        "- What does not look like brain MRI gets no finding, and a head gives none of a scan that is not of the kind "
        "it learned from: it says *does not apply*, with the reason."
    )


def applicability(found: GateTable) -> pd.DataFrame:
    """Returns what share of the slices of each cohort the heads answer: a column a head, with what it is to them."""
    rows = [
        {
            "cohort": row.cohort,
            "slices": row.n_slices,
            "groups": row.n_groups,
            "brain MRI": _exact(row.fraction_brain),
            "head": DISEASES[row.disease].title,
            "answered": ", ".join(
                [_exact(row.fraction_in_distribution), *([] if row.relation in _PLAIN else [row.relation])]
            ),
        }
        for row in found.rows
    ]
    titles = [DISEASES[key].title for key in in_order({row.disease for row in found.rows})]
    keys = ["cohort", "slices", "groups", "brain MRI"]
    wide = pd.DataFrame(rows).pivot(index=keys, columns="head", values="answered").reset_index()
    return wide[[*keys, *titles]].rename_axis(columns=None)


def applicability_notes(found: GateTable) -> list[str]:
    """Returns for each head how many of its own slices it refuses, and how many others are kept away from it."""
    return [
        f"{DISEASES[key].title}: in-distribution slices rejected {percentage(rates.in_distribution)}. Correctly "
        f"rejected {percentage(rates.unrelated)} of unrelated cohorts and {percentage(rates.synthetic)} of synthetic "
        "images; of all other cohorts, with those of the same disease or sequence, which may rightly pass, "
        f"{percentage(rates.other_cohorts)}."
        for key, rates in found.diseases.items()
    ]


def _exact(share: float) -> str:
    return f"{100 * share:.1f} %"
