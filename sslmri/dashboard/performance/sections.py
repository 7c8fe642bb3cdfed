"""The sections of the performance page, each drawn from the evidence of one disease."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sslmri.cohorts.protocols import AS_PUBLISHED, Protocol
from sslmri.cohorts.registry import meaning_of
from sslmri.dashboard import theme
from sslmri.dashboard.performance import charts, tables
from sslmri.dashboard.section import draw_chart, draw_notes, draw_table, try_read
from sslmri.dashboard.text import count, escape_markdown, proportion
from sslmri.dashboard.training_images import draw_images
from sslmri.diseases import DISEASES, Disease
from sslmri.evidence.grade import RULE
from sslmri.evidence.metrics import BINS_RULE
from sslmri.evidence.predictions import read_predictions, roc_curves
from sslmri.evidence.tables import alarms_table, localisation_table
from sslmri.models.cards import SET_RULE, ModelCard
from sslmri.models.evidence import Controls, Metrics, find_evidence, is_of_model
from sslmri.models.metrics import DiseaseMetrics, Localisation
from sslmri.models.model_card import SPLIT_RULES
from sslmri.screening.card_lines import shortcut_line
from sslmri.text import capital, format_timestamp

Draw = Callable[[ModelCard, Disease, DiseaseMetrics, Path], None]
_ERRORS = 12
_CURVES_NOTE = (
    "Each class against the rest. Dotted: too few groups to estimate the area, the raw curve is drawn. A class that "
    "was never trained has the same probability everywhere and no curve."
)

_NO_CONTROLS = (
    "Shortcuts, false alarms and localisation were not measured for this classifier: run `python train.py controls`, "
    "then load this page again."
)


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


def _encoder_of(card: ModelCard, metrics: Metrics) -> str:
    """Returns whose encoder metrics are of, in a few words."""
    return "this model's" if is_of_model(card, metrics) else f"another encoder ({metrics.encoder_sha256[:8]})"


def sticky() -> DeltaGenerator:
    """Returns a container that stays in sight, below the navigation, while the page scrolls."""
    # the wrapper around it, since the container itself is as high as its content
    frame = '[data-testid="stLayoutWrapper"]:has(> .st-key-sticky)'
    style = f"position: sticky; top: 3.5rem; z-index: 90; background: {theme.page()};"
    # as high before the choices are loaded
    st.html(f"<style>{frame} {{ {style} }} .st-key-sticky {{ min-height: 3.9rem; }}</style>")
    return st.container(key="sticky")


def draw_summary(
    card: ModelCard, disease: Disease, metrics: Mapping[Protocol, Metrics | None], protocol: Protocol
) -> None:
    """Draws the conclusion on a disease first, then its main results with their baselines, on each split."""
    found = {name: one for name, one in metrics.items() if one and disease.key in one.diseases}
    if protocol in found:
        grade = found[protocol].diseases[disease.key].grade
        st.markdown(
            f"**{grade.grade.capitalize()} evidence.** {escape_markdown(grade.reason)}",
            help=f"How evidence is graded. {RULE}",
        )
        _draw_verdict(card, disease)
        _draw_headline(card, disease, found[protocol])
    else:
        st.info(not_measured(card, protocol))
    _draw_protocols(card, disease, found)
    for name in metrics.keys() - found.keys():
        st.caption(not_measured(card, name))


def _draw_protocols(card: ModelCard, disease: Disease, found: Mapping[Protocol, Metrics]) -> None:
    """Draws the main results of a disease on the splits that were measured."""
    measured = {protocol: one.diseases[disease.key] for protocol, one in found.items()}
    pixels = tables.pixels_sentence(measured[AS_PUBLISHED]) if AS_PUBLISHED in measured else ""
    draw_table(
        f"{disease.title}: results on each split",
        tables.protocols(measured),
        f"protocols-{disease.key}",
        "Where patients are shared between training and test, near-copies of the test slices were in the training "
        f"data: only results without shared patients say what to expect for a new patient.{pixels}",
    )
    draw_notes([tables.split_note(name, result, _encoder_of(card, found[name])) for name, result in measured.items()])


def _draw_headline(card: ModelCard, disease: Disease, metrics: Metrics) -> None:
    """Draws what was measured, and the main metrics with their baselines."""
    result, is_own = metrics.diseases[disease.key], is_of_model(card, metrics)
    encoder = "" if is_own else f" Measured on {_encoder_of(card, metrics)}, trained on this split."
    title, _, meaning = SPLIT_RULES[metrics.protocol].partition(": ")
    st.markdown(
        f"**{capital(title)}**: {meaning}.{encoder} {meaning_of(result.unit)} "
        f"Tested on **{count(result.slices.n_groups, 'group')}** with **{count(result.slices.n_cases, 'slice')}**. "
        "Intervals are 95 %, from a bootstrap over groups."
    )
    headline = tables.headline(result)
    draw_chart(
        f"{disease.title}: results compared with baselines",
        charts.headline(headline, "this model" if is_own else "encoder trained on this split"),
        headline,
        f"headline-{disease.key}",
        "Compare each result with its baselines: methods that learn next to nothing from images, on the same split.",
    )
    draw_notes([*tables.not_estimable(headline), *result.notes])


def draw_classes(card: ModelCard, disease: Disease, result: DiseaseMetrics, evidence: Path) -> None:
    """Draws confusion matrices and the metrics of each class, of slices and of groups."""
    unit = result.unit
    pairs = (("slices", result.slices, "Of slices."), (f"{unit}s", result.groups, f"Each {unit} from all its slices."))
    for column, (name, metrics, note) in zip(st.columns(2, gap="large"), pairs, strict=True):
        with column:
            counts = pd.DataFrame(metrics.confusion, disease.classes, disease.classes)
            draw_chart(
                f"Confusion matrix, {name}",
                charts.confusion(counts),
                counts.rename_axis("truth").reset_index(),
                f"confusion-{name}-{disease.key}",
                f"{note} Rows are the truth, columns what was predicted; percentages are of the row.",
            )
            per_class = tables.per_class(metrics)
            draw_chart(
                f"Precision, recall, F1 by class, {name}",
                charts.classes(per_class, disease),
                per_class,
                f"classes-{name}-{disease.key}",
                f"{note} Hollow: too few groups for an interval.",
            )
            draw_notes(tables.not_estimable(per_class))
    with st.expander("All metrics by class"):
        for name, metrics, _ in pairs:
            draw_table(f"All metrics by class, {name}", tables.by_class(metrics), f"by-class-{name}-{disease.key}")


def draw_curves(card: ModelCard, disease: Disease, result: DiseaseMetrics, evidence: Path) -> None:
    """Draws the ROC and the precision-recall curve of each class, from the predictions in a folder of evidence."""
    predictions = try_read(read_predictions, evidence, disease)
    if predictions is None:
        return
    roc = roc_curves(predictions, disease).groupby("label", sort=False).filter(lambda points: len(points) > 2)
    titles = {"auroc": "ROC of each class, slices", "average_precision": "Precision and recall of each class, slices"}
    for column, (measure, title) in zip(st.columns(2, gap="large"), titles.items(), strict=True):
        with column:
            figure = charts.class_curves(roc, disease, result.slices, measure)
            draw_chart(title, figure, roc, f"{measure}-{disease.key}", _CURVES_NOTE)


def draw_calibration(card: ModelCard, disease: Disease, result: DiseaseMetrics, evidence: Path) -> None:
    """Draws whether probabilities mean what they say, whether sets hold the true class, and all metrics."""
    left, right = st.columns(2, gap="large")
    with left:
        table = pd.DataFrame(result.slices.reliability)
        note = f"{BINS_RULE}. Below the line the model is overconfident."
        figure = charts.reliability(table)
        draw_chart("Reliability of the probabilities, slices", figure, table, f"reliability-{disease.key}", note)
    with right:
        if result.sets is None:
            st.caption("Prediction sets: not measured.")
        else:
            draw_table("Prediction sets of 90 %", tables.coverage(result.sets, result), f"sets-{disease.key}", SET_RULE)
            st.caption(tables.set_note(result.sets, result.unit))
    note = "Value with its 95 % interval."
    draw_table("All metrics", tables.overall(result), f"overall-{disease.key}", note)


def draw_errors(card: ModelCard, disease: Disease, result: DiseaseMetrics, evidence: Path) -> None:
    """Draws the worst errors: the slices whose wrong class has the highest probability, one of each group."""
    predictions = try_read(read_predictions, evidence, disease)
    if predictions is None:
        return
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    if wrong.empty:
        st.caption("No test slice was misclassified.")
        return
    st.markdown(
        f"**{len(wrong):,} of {count(len(predictions), 'test slice')} misclassified**, of "
        f"{wrong['group'].nunique():,} of {count(predictions['group'].nunique(), 'test group')}. Shown are those with "
        "the highest probability of a wrong class, one of each group."
    )
    table = tables.errors(wrong, _ERRORS)
    read = table["truth"] + ", read as " + table["predicted"] + " " + table["probability"].map(proportion)
    draw_images(list(zip(table["slice"], read, strict=True)), card.encoder.preparation)
    draw_table("Worst errors", table, f"errors-{disease.key}")


def grade_of(metrics: Metrics | None, key: str) -> str:
    """Returns a disease's title with the grade of its evidence, for a choice among diseases."""
    result = metrics.diseases.get(key) if metrics else None
    return f"{DISEASES[key].title} · {result.grade.grade}" if result else DISEASES[key].title


def draw_controls(card: ModelCard, disease: Disease) -> None:
    """Draws the stored controls of one disease, or says in a line why there are none."""
    controls = try_read(find_evidence, card, Controls)
    result = controls.diseases.get(disease.key) if controls else None
    if controls is None or result is None:
        st.caption(_NO_CONTROLS)
        return
    _draw_verdict(card, disease)
    table = tables.shortcuts(result)
    title = f"{disease.title}: accuracy of shortcut-only classifiers"
    draw_chart(title, charts.shortcuts(table, result.chance), table, f"shortcuts-{disease.key}", controls.rule)
    draw_notes(result.messages)
    left, right = st.columns(2, gap="large")
    with left:
        alarms = alarms_table(result, controls.family_wise)
        draw_table("Flagged slices of other cohorts, labelled as without the disease", alarms, f"alarms-{disease.key}")
    with right:
        _draw_localisation(result.localisation, disease)


def _draw_verdict(card: ModelCard, disease: Disease) -> None:
    """Draws in a sentence what the stored controls say against the results of a disease, if anything."""
    controls = try_read(find_evidence, card, Controls)
    if controls is None or disease.key not in controls.diseases:
        return
    line, is_warning = shortcut_line(controls.diseases[disease.key])
    if is_warning:
        st.markdown(f"**{line}**")
    if (found := controls.same_source) and found.disease == disease.key:
        st.markdown(
            f"**Same patients, same scanners.** {escape_markdown(found.message)}",
            help=f"{found.data}: {count(found.n_with, 'slice')} with and {count(found.n_without, 'slice')} without, of "
            f"{count(found.n_groups, 'patient')}; measured {format_timestamp(found.created)}. Where images with and "
            "without a tumour come from different sources, a classifier may recognise the source; here it cannot.",
        )


def _draw_localisation(found: Localisation | None, disease: Disease) -> None:
    if found is None:
        st.caption("No lesion annotations in the test set, so saliency localisation was not measured.")
        return
    note = (
        f"{count(found.n_slices, 'slice')} of {count(found.n_groups, 'group')} with an annotated lesion. Random "
        "classifiers have random weights on the same encoder."
    )
    draw_table("Where the maps point", localisation_table(found), f"maps-{disease.key}", note)
    draw_notes(found.messages)
