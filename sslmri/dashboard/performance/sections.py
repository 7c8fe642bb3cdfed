"""The sections of the performance page, each drawn from the evidence of one disease."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from sslmri.cohorts.registry import meaning_of
from sslmri.cohorts.splits import AS_PUBLISHED, GROUP_DISJOINT
from sslmri.dashboard import charts
from sslmri.dashboard.layout import short_hash
from sslmri.dashboard.model_evidence import is_own, protocol_of
from sslmri.dashboard.performance import curves, tables
from sslmri.dashboard.section import draw_chart, draw_notes, draw_table
from sslmri.dashboard.text import count, escape_markdown
from sslmri.diseases import DISEASES, Disease
from sslmri.evidence.calibration import SET_RULE
from sslmri.evidence.grade import RULE
from sslmri.evidence.reliability import BINS_RULE
from sslmri.models.cards import ModelCard

# by protocol, whether people are on both sides of the split
IS_SHARED: dict[str, bool] = {GROUP_DISJOINT: False, AS_PUBLISHED: True}
_SPLITS = {
    False: "no group is on two sides of the split, pre-training included",
    True: "images are split at random, so people are shared between training and test",
}


def split_of(protocol: str) -> str:
    """Returns how a protocol splits, as part of a sentence."""
    return f"protocol {protocol}: {_SPLITS[IS_SHARED[protocol]]}"


def not_measured(card: ModelCard, protocol: str) -> str:
    """Returns that a protocol was not measured, and how to measure it: of another model than its own, if at all."""
    run = f"--protocol {protocol} --run"
    if protocol == protocol_of(card):
        how = f"run `python train.py evaluate {run} MODEL`, where MODEL is this model's folder."
    elif IS_SHARED[protocol]:
        how = (
            f"it needs a model trained so. Run `python train.py all {run} OTHER` with the same data, then "
            f"`python train.py evaluate {run} OTHER --beside MODEL`, where MODEL is this model's folder."
        )
    else:
        how = f"it needs a model trained so. Run `python train.py all {run} OTHER` and show that one."
    return f"The protocol {protocol} ({_SPLITS[IS_SHARED[protocol]]}) was not measured for this model: {how}"


def encoder_of(card: ModelCard, metrics: Mapping[str, Any]) -> str:
    """Returns whose encoder metrics are of, in a few words."""
    return "this model's" if is_own(card, metrics) else f"another encoder ({short_hash(metrics['encoder_sha256'])})"


def draw_protocols(
    found: Mapping[str, Mapping[str, Any] | None], encoders: Mapping[str, str], card: ModelCard, disease: Disease
) -> None:
    """Draws the headline figures of a disease under both protocols, and one line for each that was not measured.

    Args:
        found: the disease's evidence by protocol, None where there is none.
        encoders: by protocol, whose encoder was measured, from ``encoder_of``.
        card: the model's.
        disease: the disease.
    """
    measured = {protocol: result for protocol, result in found.items() if result}
    pixels = "".join(tables.pixels_sentence(result) for name, result in measured.items() if IS_SHARED[name])
    draw_table(
        f"{disease.title}: figures under each protocol",
        tables.protocols(measured, IS_SHARED, encoders),
        f"protocols-{disease.key}",
        "Where people are shared between training and test, near-copies of the test slices were learned from: only "
        f"figures without shared people say what a new person can expect.{pixels}",
    )
    for protocol in found.keys() - measured.keys():
        st.caption(not_measured(card, protocol))


def draw_headline(disease: Disease, result: Mapping[str, Any], metrics: Mapping[str, Any], card: ModelCard) -> None:
    """Draws what was measured, how strong the evidence is, and the main figures with their floors."""
    protocol = metrics["protocol"]
    encoder = "" if is_own(card, metrics) else f" Measured on {encoder_of(card, metrics)}, trained for this protocol."
    grade = result["grade"]
    st.markdown(
        f"**{grade['grade'].capitalize()} evidence.** {escape_markdown(grade['reason'])}",
        help=f"The rule of grades. {RULE}",
    )
    st.markdown(
        f"Protocol **{escape_markdown(protocol)}**: {_SPLITS[IS_SHARED[protocol]]}.{encoder} "
        f"{meaning_of(result['unit'])} "
        f"Tested on **{count(result['n_groups'], 'group')}** with **{count(result['n_slices'], 'slice')}**. "
        "Intervals are 95 %, from a bootstrap over groups."
    )
    headline = tables.headline(result)
    draw_chart(
        f"{disease.title}: figures and their floors",
        charts.headline(headline),
        headline,
        f"headline-{disease.key}",
        "A figure counts by its distance from its floors: what the majority class and two methods on raw pixels reach "
        "under the same protocol.",
    )
    draw_notes([*tables.unknown_figures(headline), *result["notes"]])


def draw_classes(disease: Disease, result: Mapping[str, Any]) -> None:
    """Draws confusion matrices and the figures of each class, of slices and of groups."""
    key, unit, subject = disease.key, result["unit"], result["subject"]
    left, right = st.columns(2, gap="large")
    with left:
        _draw_confusion("Confusion matrix, slices", result, disease, f"confusion-{key}", "Of slices.")
    with right:
        note = f"The probabilities of a {unit} are the mean over its slices."
        _draw_confusion(f"Confusion matrix, {unit}s", subject, disease, f"groups-{key}", note)
    left, right = st.columns(2, gap="large")
    with left:
        per_class = tables.per_class(result)
        draw_chart(
            "Precision, recall, F1 by class",
            charts.class_bars(per_class, disease),
            per_class,
            f"classes-{key}",
            "Of slices. Grey and hatched: not estimable from so few groups, the raw figure is drawn.",
        )
        draw_notes(tables.unknown_figures(per_class))
    with right:
        draw_table("Test groups and slices", tables.counts(result, disease), f"counts-{key}")
    draw_table("All figures", tables.overall(result), f"overall-{key}", "Figure with its 95 % interval.")
    draw_table("All figures by class, slices", tables.by_class(result), f"by-class-slices-{key}")
    draw_table(f"All figures by class, {unit}s", tables.by_class(subject), f"by-class-groups-{key}")


def draw_curves(disease: Disease, result: Mapping[str, Any], roc: pd.DataFrame) -> None:
    """Draws the ROC and the precision-recall curve of each class."""
    note = "Each class against the rest. Dotted: the area is not estimable from so few groups, the raw curve is drawn."
    left, right = st.columns(2, gap="large")
    with left:
        figure = charts.roc(roc, disease, tables.areas(result))
        draw_chart("ROC of each class, slices", figure, roc, f"roc-{disease.key}", note)
    with right:
        areas = tables.areas(result, "average_precision")
        figure = curves.precision_recall(roc, disease, areas)
        draw_chart("Precision and recall of each class, slices", figure, roc, f"recall-{disease.key}", note)


def draw_calibration(disease: Disease, result: Mapping[str, Any]) -> None:
    """Draws whether probabilities mean what they say, and whether the prediction sets hold the true class."""
    left, right = st.columns(2, gap="large")
    with left:
        table = tables.reliability(result)
        note = f"{BINS_RULE}. Below the line the model is surer than it is right."
        figure = curves.reliability(table)
        draw_chart("Reliability of the probabilities, slices", figure, table, f"reliability-{disease.key}", note)
    with right:
        if result["sets"] is None:
            st.caption("Prediction sets: not measured.")
            return
        draw_table("Prediction sets of 90 %", tables.coverage(result), f"sets-{disease.key}", SET_RULE)
        draw_notes(tables.set_notes(result))


def grade_of(found: Mapping[str, Any] | None, key: str) -> str:
    """Returns a disease's title with the grade of its evidence, for a choice among diseases."""
    result = found["diseases"].get(key) if found else None
    return f"{DISEASES[key].title} · {result['grade']['grade']}" if result else DISEASES[key].title


def _draw_confusion(title: str, figures: Mapping[str, Any], disease: Disease, key: str, note: str) -> None:
    counts = figures["confusion"]
    draw_chart(
        title,
        charts.confusion(counts, disease.classes),
        tables.confusion(counts, disease.classes),
        key,
        f"{note} Rows are the truth, columns what was predicted; shares are of the row.",
    )
