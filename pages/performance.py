"""Performance: what the model's figures are worth, one disease at a time."""

from functools import partial

import streamlit as st

from sslmri.dashboard import charts, evidencepanel, tables
from sslmri.dashboard.controls import draw_controls
from sslmri.dashboard.efficiency import draw_label_efficiency
from sslmri.dashboard.evidence import find_history, find_metrics, find_roc
from sslmri.dashboard.frame import require_model, start_page
from sslmri.dashboard.panel import draw_chart
from sslmri.dashboard.words import in_order
from sslmri.diseases import DISEASES

start_page("Performance")
card = require_model("This page shows how often the model is right on data it never saw.")
protocols = list(evidencepanel.IS_SHARED)
metrics = {protocol: find_metrics(card, protocol) for protocol in protocols}
diseases = in_order({key for found in metrics.values() if found for key in found["diseases"]})
if not diseases:
    st.info("This model has not been evaluated yet: run `python train.py evaluate`, then load this page again.")
    st.stop()

protocol = st.segmented_control("Protocol", protocols, required=True, default=protocols[0])
key = st.segmented_control(
    "Disease",
    diseases,
    format_func=partial(evidencepanel.grade_of, metrics[protocols[0]]),
    required=True,
    wrap=True,
    default=diseases[0],
)
disease = DISEASES[key]
results = {name: found["diseases"].get(key) if found else None for name, found in metrics.items()}
result = results[protocol]
if result is None:
    st.info(evidencepanel.not_measured(protocol))
else:
    evidencepanel.draw_headline(disease, result, protocol)
evidencepanel.draw_protocols(results, disease)
if result is not None:
    evidencepanel.draw_classes(disease, result)
    evidencepanel.draw_curves(disease, result, find_roc(card, disease, protocol))
    st.subheader("Calibration")
    evidencepanel.draw_calibration(disease, result)

st.subheader("What the figures rest on")
draw_controls(card, disease)
draw_label_efficiency(card, disease)

st.subheader("Training")
for step, scores, loss, score in (
    ("pretrain", "knn", "NT-Xent loss", "kNN probe, balanced accuracy"),
    ("finetune", "auroc", "Fine-tuning loss", "Validation AUROC"),
):
    history = tables.history(find_history(card, step), scores)
    if history.empty:
        st.caption(f"{loss}: no history was kept with this model.")
        continue
    left, right = st.columns(2, gap="large")
    with left:
        draw_chart(f"{loss} by epoch", charts.loss_line(history, loss), history, f"loss-{step}")
    with right:
        draw_chart(f"{score} by epoch", charts.disease_lines(history, score), history, f"score-{step}")
