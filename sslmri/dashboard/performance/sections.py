"""The sections of the performance page, each drawn from the evidence of one disease."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from sslmri.cohorts.protocols import AS_PUBLISHED, Protocol
from sslmri.cohorts.registry import meaning_of
from sslmri.dashboard import charts
from sslmri.dashboard.performance import curves, tables
from sslmri.dashboard.section import draw_chart, draw_notes, draw_table
from sslmri.dashboard.text import count, escape_markdown
from sslmri.diseases import DISEASES, Disease
from sslmri.evidence.grade import RULE
from sslmri.evidence.reliability import BINS_RULE
from sslmri.models.cards import SET_RULE, ModelCard
from sslmri.models.evidence import Metrics, is_of_model
from sslmri.models.metrics import CaseMetrics, DiseaseMetrics
from sslmri.models.model_card import SPLIT_RULES


def not_measured(card: ModelCard, protocol: Protocol) -> str:
    """Returns that a protocol was not measured, and how to measure it: on another model than this one, if at all."""
    run = f"--protocol {protocol} --run"
    if protocol == card.training.protocol:
        how = f"run `python train.py evaluate {run} MODEL`, where MODEL is this model's folder."
    elif protocol == AS_PUBLISHED:
        how = (
            f"it needs a model trained on that split. Run `python train.py all {run} OTHER` with the same data, then "
            f"`python train.py evaluate {run} OTHER --compare-to MODEL`, where MODEL is this model's folder."
        )
    else:
        how = f"it needs a model trained on that split. Run `python train.py all {run} OTHER` and open that one."
    return f"Not measured for this model on the {SPLIT_RULES[protocol]}; {how}"


def encoder_of(card: ModelCard, metrics: Metrics) -> str:
    """Returns whose encoder metrics are of, in a few words."""
    return "this model's" if is_of_model(card, metrics) else f"another encoder ({metrics.encoder_sha256[:8]})"


def draw_protocols(metrics: Mapping[Protocol, Metrics | None], card: ModelCard, disease: Disease) -> None:
    """Draws the headline metrics of a disease under both protocols, and one line for each that was not measured."""
    found = {protocol: one for protocol, one in metrics.items() if one and disease.key in one.diseases}
    measured = {protocol: one.diseases[disease.key] for protocol, one in found.items()}
    encoders = {protocol: encoder_of(card, one) for protocol, one in found.items()}
    pixels = "".join(tables.pixels_sentence(result) for name, result in measured.items() if name == AS_PUBLISHED)
    draw_table(
        f"{disease.title}: results on each split",
        tables.protocols(measured, encoders),
        f"protocols-{disease.key}",
        "Where patients are shared between training and test, near-copies of the test slices were in the training "
        f"data: only results without shared patients say what to expect for a new patient.{pixels}",
    )
    for protocol in metrics.keys() - measured.keys():
        st.caption(not_measured(card, protocol))


def draw_headline(disease: Disease, result: DiseaseMetrics, metrics: Metrics, card: ModelCard) -> None:
    """Draws what was measured, how strong the evidence is, and the main metrics with their baselines."""
    encoder = "" if is_of_model(card, metrics) else f" Measured on {encoder_of(card, metrics)}, trained on this split."
    st.markdown(
        f"**{result.grade.grade.capitalize()} evidence.** {escape_markdown(result.grade.reason)}",
        help=f"How evidence is graded. {RULE}",
    )
    title, _, meaning = SPLIT_RULES[metrics.protocol].partition(": ")
    st.markdown(
        f"**{title[0].upper()}{title[1:]}**: {meaning}.{encoder} {meaning_of(result.unit)} "
        f"Tested on **{count(result.slices.n_groups, 'group')}** with **{count(result.slices.n_cases, 'slice')}**. "
        "Intervals are 95 %, from a bootstrap over groups."
    )
    headline = tables.headline(result)
    draw_chart(
        f"{disease.title}: results compared with baselines",
        charts.headline(headline),
        headline,
        f"headline-{disease.key}",
        "Compare each result with its baselines: methods that learn next to nothing from images, on the same split.",
    )
    draw_notes([*tables.not_estimable(headline), *result.notes])


def draw_classes(disease: Disease, result: DiseaseMetrics) -> None:
    """Draws confusion matrices and the metrics of each class, of slices and of groups."""
    key, unit = disease.key, result.unit
    left, right = st.columns(2, gap="large")
    with left:
        _draw_confusion("Confusion matrix, slices", result.slices, disease, f"confusion-{key}", "Of slices.")
    with right:
        note = f"The probabilities of a {unit} follow from all its slices."
        _draw_confusion(f"Confusion matrix, {unit}s", result.groups, disease, f"groups-{key}", note)
    left, right = st.columns(2, gap="large")
    with left:
        per_class = tables.per_class(result.slices)
        draw_chart(
            "Precision, recall, F1 by class",
            charts.class_bars(per_class, disease),
            per_class,
            f"classes-{key}",
            "Of slices. Grey and hatched: too few groups to estimate, the raw value is drawn.",
        )
        draw_notes(tables.not_estimable(per_class))
    with right:
        draw_table("Test groups and slices", tables.counts(result.slices, disease), f"counts-{key}")
    draw_table("All metrics", tables.overall(result), f"overall-{key}", "Value with its 95 % interval.")
    draw_table("All metrics by class, slices", tables.by_class(result.slices), f"by-class-slices-{key}")
    draw_table(f"All metrics by class, {unit}s", tables.by_class(result.groups), f"by-class-groups-{key}")


def draw_curves(disease: Disease, result: DiseaseMetrics, roc: pd.DataFrame) -> None:
    """Draws the ROC and the precision-recall curve of each class."""
    note = "Each class against the rest. Dotted: too few groups to estimate the area, the raw curve is drawn."
    left, right = st.columns(2, gap="large")
    with left:
        figure = curves.roc(roc, disease, result.slices)
        draw_chart("ROC of each class, slices", figure, roc, f"roc-{disease.key}", note)
    with right:
        figure = curves.precision_recall(roc, disease, result.slices)
        draw_chart("Precision and recall of each class, slices", figure, roc, f"recall-{disease.key}", note)


def draw_calibration(disease: Disease, result: DiseaseMetrics) -> None:
    """Draws whether probabilities mean what they say, and whether the prediction sets hold the true class."""
    left, right = st.columns(2, gap="large")
    with left:
        table = tables.reliability(result.slices)
        note = f"{BINS_RULE}. Below the line the model is overconfident."
        figure = curves.reliability(table)
        draw_chart("Reliability of the probabilities, slices", figure, table, f"reliability-{disease.key}", note)
    with right:
        if result.sets is None:
            st.caption("Prediction sets: not measured.")
        else:
            draw_table("Prediction sets of 90 %", tables.coverage(result.sets, result), f"sets-{disease.key}", SET_RULE)
            st.caption(tables.set_note(result.sets, result.unit))


def grade_of(metrics: Metrics | None, key: str) -> str:
    """Returns a disease's title with the grade of its evidence, for a choice among diseases."""
    result = metrics.diseases.get(key) if metrics else None
    return f"{DISEASES[key].title} · {result.grade.grade}" if result else DISEASES[key].title


def _draw_confusion(title: str, metrics: CaseMetrics, disease: Disease, key: str, note: str) -> None:
    draw_chart(
        title,
        charts.confusion(metrics.confusion, disease.classes),
        tables.confusion(metrics.confusion, disease.classes),
        key,
        f"{note} Rows are the truth, columns what was predicted; percentages are of the row.",
    )
