"""The model card on a page, the settings of a model, and how its classes were balanced."""

from dataclasses import asdict
from typing import Any

import pandas as pd
import streamlit as st

from sslmri.dashboard.section import draw_table
from sslmri.dashboard.text import escape_markdown
from sslmri.models.cards import HeadCard, ModelCard
from sslmri.models.evidence import GateTable, Metrics
from sslmri.models.model_card import card_sections, model_card_markdown


def draw_card(card: ModelCard, metrics: Metrics | None, gate: GateTable | None) -> None:
    """Draws the sections of the model card with their tables, and a button that downloads it."""
    for section in card_sections(card, metrics, gate, escape_markdown):
        st.subheader(section.title)
        st.markdown(section.text)
        for title, table in section.tables.items():
            draw_table(title, table, title.split(",")[0].lower().replace(" ", "-"))
    document = model_card_markdown(card, metrics, gate)
    st.download_button("Download model card", document, "MODEL_CARD.md", "text/markdown", on_click="ignore")


def balancing(head: HeadCard) -> pd.DataFrame:
    """Returns the training slices of each class: all, those used, and those repeated in an epoch of fine-tuning.

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
    augmented = " Repeated slices differ, because every slice is augmented."
    return (
        f"Of each class up to {head.finetuning['labels_per_class']} labelled slices are used; classes with fewer are "
        f"raised to the largest by repetition.{'' if head.regime == 'linear-probe' else augmented}"
    )


def threshold_rules(card: ModelCard) -> list[str]:
    """Returns how the thresholds were chosen, each rule once."""
    return list(dict.fromkeys(head.threshold_rule for head in card.heads.values()))


def settings(card: ModelCard) -> dict[str, Any]:
    """Returns every setting that made the model."""
    return {
        "pre-training": card.encoder.pretraining,
        "fine-tuning": {key: head.finetuning for key, head in card.heads.items()},
        "preparation": asdict(card.encoder.preparation),
        "kNN probe": card.encoder.knn,
    }
