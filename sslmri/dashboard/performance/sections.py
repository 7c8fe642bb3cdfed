"""The sections of the performance page, each drawn from the evidence of one disease."""

from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sslmri.cohorts.protocols import AS_PUBLISHED, EVIDENCE_FOLDERS, Protocol
from sslmri.cohorts.registry import meaning_of
from sslmri.dashboard import charts, theme
from sslmri.dashboard.performance import curves, tables
from sslmri.dashboard.performance.controls import draw_verdict
from sslmri.dashboard.section import draw_chart, draw_notes, draw_table, try_read
from sslmri.dashboard.text import count, escape_markdown, proportion
from sslmri.dashboard.training_images import draw_training_images
from sslmri.diseases import DISEASES, Disease
from sslmri.evidence.curves import roc_curves
from sslmri.evidence.grade import RULE
from sslmri.evidence.predictions import read_predictions
from sslmri.evidence.reliability import BINS_RULE
from sslmri.models.cards import SET_RULE, ModelCard
from sslmri.models.evidence import Metrics, is_of_model
from sslmri.models.metrics import CaseMetrics, DiseaseMetrics
from sslmri.models.model_card import SPLIT_RULES
from sslmri.scans.slices import Preparation

_ERRORS = 12


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


def sticky() -> DeltaGenerator:
    """Returns a container that stays in sight, below the navigation, while the page scrolls."""
    # the wrapper around it, since the container itself is as high as its content; as high before that is drawn as then
    frame = '[data-testid="stLayoutWrapper"]:has(> .st-key-sticky)'
    style = f"position: sticky; top: 3.5rem; z-index: 90; background: {theme.page()}; min-height: 3.75rem;"
    st.html(f"<style>{frame} {{ {style} }}</style>")
    return st.container(key="sticky")


def draw_summary(
    disease: Disease, metrics: Mapping[Protocol, Metrics | None], protocol: Protocol, card: ModelCard
) -> None:
    """Draws the conclusion on a disease first, then its main results with their baselines, on each split."""
    chosen = metrics[protocol]
    result = chosen.diseases.get(disease.key) if chosen else None
    if chosen is None or result is None:
        st.info(not_measured(card, protocol))
    else:
        st.markdown(
            f"**{result.grade.grade.capitalize()} evidence.** {escape_markdown(result.grade.reason)}",
            help=f"How evidence is graded. {RULE}",
        )
        draw_verdict(card, disease)
        _draw_headline(disease, result, chosen, card)
    _draw_protocols(metrics, card, disease)


def draw_measured(
    draw: Callable[[Disease, DiseaseMetrics, Path], None],
    disease: Disease,
    metrics: Mapping[Protocol, Metrics | None],
    protocol: Protocol,
    card: ModelCard,
) -> None:
    """Draws a section from the evidence of a split, or says that there is none."""
    chosen = metrics[protocol]
    result = chosen.diseases.get(disease.key) if chosen else None
    if result is None:
        st.info(not_measured(card, protocol))
    else:
        draw(disease, result, card.folder / EVIDENCE_FOLDERS[protocol])


def _draw_protocols(metrics: Mapping[Protocol, Metrics | None], card: ModelCard, disease: Disease) -> None:
    """Draws the main results of a disease on both splits, and one line for each that was not measured."""
    found = {protocol: one for protocol, one in metrics.items() if one and disease.key in one.diseases}
    measured = {protocol: one.diseases[disease.key] for protocol, one in found.items()}
    pixels = "".join(tables.pixels_sentence(result) for name, result in measured.items() if name == AS_PUBLISHED)
    draw_table(
        f"{disease.title}: results on each split",
        tables.protocols(measured),
        f"protocols-{disease.key}",
        "Where patients are shared between training and test, near-copies of the test slices were in the training "
        f"data: only results without shared patients say what to expect for a new patient.{pixels}",
    )
    draw_notes([tables.split_note(name, result, encoder_of(card, found[name])) for name, result in measured.items()])
    for protocol in metrics.keys() - measured.keys():
        st.caption(not_measured(card, protocol))


def _draw_headline(disease: Disease, result: DiseaseMetrics, metrics: Metrics, card: ModelCard) -> None:
    """Draws what was measured, and the main metrics with their baselines."""
    encoder = "" if is_of_model(card, metrics) else f" Measured on {encoder_of(card, metrics)}, trained on this split."
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


def draw_classes(disease: Disease, result: DiseaseMetrics, evidence: Path) -> None:
    """Draws confusion matrices and the metrics of each class, of slices and of groups."""
    unit = result.unit
    pairs = (("slices", result.slices, "Of slices."), (f"{unit}s", result.groups, f"Each {unit} from all its slices."))
    for column, (name, metrics, note) in zip(st.columns(2, gap="large"), pairs, strict=True):
        with column:
            _draw_confusion(f"Confusion matrix, {name}", metrics, disease, f"confusion-{name}-{disease.key}", note)
            per_class = tables.per_class(metrics)
            draw_chart(
                f"Precision, recall, F1 by class, {name}",
                charts.class_bars(per_class, disease),
                per_class,
                f"classes-{name}-{disease.key}",
                f"{note} Grey and hatched, with *: too few groups for an interval.",
            )
            draw_notes(tables.not_estimable(per_class))
    with st.expander("All metrics by class"):
        for name, metrics, _ in pairs:
            draw_table(f"All metrics by class, {name}", tables.by_class(metrics), f"by-class-{name}-{disease.key}")


def draw_curves(disease: Disease, result: DiseaseMetrics, evidence: Path) -> None:
    """Draws the ROC and the precision-recall curve of each class, from the predictions in a folder of evidence."""
    predictions = try_read(read_predictions, evidence, disease)
    if predictions is None:
        return
    roc = roc_curves(predictions, disease).groupby("label", sort=False).filter(lambda points: len(points) > 2)
    note = (
        "Each class against the rest. Dotted: too few groups to estimate the area, the raw curve is drawn. A class "
        "that was never trained has the same probability everywhere and no curve."
    )
    left, right = st.columns(2, gap="large")
    with left:
        figure = curves.roc(roc, disease, result.slices)
        draw_chart("ROC of each class, slices", figure, roc, f"roc-{disease.key}", note)
    with right:
        figure = curves.precision_recall(roc, disease, result.slices)
        draw_chart("Precision and recall of each class, slices", figure, roc, f"recall-{disease.key}", note)


def draw_calibration(disease: Disease, result: DiseaseMetrics, evidence: Path) -> None:
    """Draws whether probabilities mean what they say, whether sets hold the true class, and all metrics."""
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
    note = "Value with its 95 % interval."
    draw_table("All metrics", tables.overall(result), f"overall-{disease.key}", note)


def draw_errors(disease: Disease, result: DiseaseMetrics, evidence: Path, preparation: Preparation) -> None:
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
    table = tables.errors(predictions, _ERRORS)
    probabilities = map(proportion, table["probability"].astype(float))
    read = zip(table["truth"], table["predicted"], probabilities, strict=True)
    captions = [f"{truth}, read as {predicted} {probability}" for truth, predicted, probability in read]
    draw_training_images(list(zip(table["slice"], captions, strict=True)), preparation)
    draw_table("Worst errors", table, f"errors-{disease.key}")


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
