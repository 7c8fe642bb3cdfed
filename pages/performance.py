"""Performance: how good the model is and how far that can be trusted, one disease at a time."""

from functools import partial

import streamlit as st

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS
from sslmri.dashboard import charts
from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.performance import sections, tables
from sslmri.dashboard.performance.controls import draw_controls
from sslmri.dashboard.performance.efficiency import draw_label_efficiency
from sslmri.dashboard.section import draw_chart, try_read
from sslmri.dashboard.text import escape_markdown, in_order
from sslmri.diseases import DISEASES
from sslmri.evidence.curves import roc_curves
from sslmri.evidence.predictions import read_predictions
from sslmri.models.evidence import Metrics, find_evidence, find_history

start_page("Performance")
card = require_model("This page shows how good the model is on data it was not trained on.")
protocols = list(tables.SPLIT_TITLES)
metrics = {protocol: try_read(find_evidence, card, Metrics, protocol) for protocol in protocols}
diseases = in_order({key for measured in metrics.values() if measured for key in measured.diseases})
if not diseases:
    st.info(f"{sections.not_measured(card, card.training.protocol)} Then load this page again.")
    st.stop()

if card.evidence_note:
    st.caption(escape_markdown(card.evidence_note))
protocol = st.segmented_control(
    "Split",
    protocols,
    format_func=lambda name: tables.SPLIT_TITLES[name],
    required=True,
    default=card.training.protocol,
)
key = st.segmented_control(
    "Disease",
    diseases,
    format_func=partial(sections.grade_of, metrics[card.training.protocol]),
    required=True,
    wrap=True,
    default=diseases[0],
)
disease = DISEASES[key]
chosen = metrics[protocol]
result = chosen.diseases.get(key) if chosen else None
if chosen is None or result is None:
    st.info(sections.not_measured(card, protocol))
else:
    sections.draw_headline(disease, result, chosen, card)
sections.draw_protocols(metrics, card, disease)
if result is not None:
    sections.draw_classes(disease, result)
    predictions = try_read(read_predictions, card.folder / EVIDENCE_FOLDERS[protocol], disease)
    if predictions is not None:
        sections.draw_curves(disease, result, roc_curves(predictions, disease))
    st.subheader("Calibration")
    sections.draw_calibration(disease, result)

st.subheader("Shortcut controls")
draw_controls(card, disease)
draw_label_efficiency(card, disease)

st.subheader("Training")
for step, scores, loss, score in (
    ("pretrain", "knn", "NT-Xent loss", "kNN probe, balanced accuracy"),
    ("finetune", "auroc", "Fine-tuning loss", "Validation AUROC"),
):
    history = tables.history(find_history(card, step, protocol), scores)
    if history.empty:
        st.caption(f"{loss}: no history was kept for this split.")
        continue
    left, right = st.columns(2, gap="large")
    with left:
        draw_chart(f"{loss} by epoch", charts.loss_line(history, loss), history, f"loss-{step}")
    with right:
        if history.columns.difference(["epoch", "loss"]).empty:
            st.caption(f"{score}: there were no validation groups.")
            continue
        draw_chart(f"{score} by epoch", charts.disease_lines(history, score), history, f"score-{step}")
