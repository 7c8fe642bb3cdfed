"""Performance: what the model's figures are worth, one disease at a time."""

import streamlit as st

from sslmri.cohorts.terms import meaning_of
from sslmri.dashboard import charts, tables
from sslmri.dashboard.evidence import find_history, find_metrics, find_roc
from sslmri.dashboard.frame import require_model, start_page
from sslmri.dashboard.panel import draw_chart, draw_notes, draw_table
from sslmri.dashboard.words import count, in_order, literal
from sslmri.diseases import DISEASES

start_page("Performance")
card = require_model("This page shows how often the model is right on data it never saw.")
metrics = find_metrics(card)
if metrics is None or not metrics["diseases"]:
    st.info("This model has not been evaluated yet: run `python train.py evaluate`, then load this page again.")
    st.stop()

key = st.segmented_control(
    "Disease",
    in_order(metrics["diseases"]),
    format_func=lambda key: DISEASES[key].title,
    required=True,
    wrap=True,
    default=in_order(metrics["diseases"])[0],
)
disease, result = DISEASES[key], metrics["diseases"][key]
unit = result["unit"]

st.markdown(
    f"Protocol **{literal(metrics['protocol'])}**: no group is on two sides of the split, pre-training included. "
    f"{meaning_of(unit)} Tested on **{count(result['n_groups'], 'group')}** with "
    f"**{count(result['n_slices'], 'slice')}**. Intervals are 95 %, from a bootstrap over groups."
)
st.caption(
    "The figures as published elsewhere (images split at random, people shared between training and test) have not "
    "been measured for this model yet; do not compare these with those."
)

headline = tables.headline(result)
draw_chart(
    f"{disease.title}: figures and their floors",
    charts.headline(headline),
    headline,
    f"headline-{key}",
    "A figure counts by its distance from its floors: what the majority class and two methods on raw pixels reach "
    "under the same protocol.",
)
draw_notes([*tables.unknown_figures(headline), *result["notes"]])

left, right = st.columns(2, gap="large")
with left:
    confusion = tables.confusion(result["confusion"], result["classes"])
    draw_chart(
        "Confusion matrix, slices",
        charts.confusion(result["confusion"], result["classes"]),
        confusion,
        f"confusion-{key}",
        "Rows are the truth, columns what was predicted; shares are of the row.",
    )
with right:
    per_class = tables.per_class(result)
    draw_chart(
        "Precision, recall, F1 by class",
        charts.class_bars(per_class, disease),
        per_class,
        f"classes-{key}",
        "Of slices. Grey and hatched: not estimable from so few groups, the raw figure is drawn.",
    )
    draw_notes(tables.unknown_figures(per_class))

left, right = st.columns(2, gap="large")
with left:
    roc = find_roc(card, disease)
    draw_chart(
        "ROC of each class, slices",
        charts.roc(roc, disease, tables.areas(result)),
        roc,
        f"roc-{key}",
        "Each class against the rest. Dotted: the area is not estimable from so few groups, the raw curve is drawn.",
    )
with right:
    grouped = result["subject"]["confusion"]
    draw_chart(
        f"Confusion matrix, {unit}s",
        charts.confusion(grouped, result["classes"]),
        tables.confusion(grouped, result["classes"]),
        f"groups-{key}",
        f"The probabilities of a {unit} are the mean over its slices.",
    )
    draw_table("Test groups and slices", tables.counts(result, disease), f"counts-{key}")

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
