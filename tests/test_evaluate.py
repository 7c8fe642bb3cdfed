"""Evidence says what was measured, with its baselines, and how far it can be trusted."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from sklearn import metrics

from sslmri.cohorts.manifest import Record
from sslmri.diseases import DISEASES, Disease
from sslmri.evidence.decisions import Answers, answer
from sslmri.evidence.evaluate import evaluate_disease
from sslmri.evidence.predictions import predictions_frame
from sslmri.evidence.verdict import prediction_sets
from sslmri.models.cards import Decisions
from sslmri.models.metrics import BaselineMetrics, DiseaseMetrics

TUMOURS, STAGES, MS = DISEASES["tumours"], DISEASES["alzheimers"], DISEASES["ms"]


def record(disease: Disease, label: str, group: str, number: int = 0, cohort: str = "c") -> Record:
    """Returns one labelled slice."""
    name = f"{label}/{group}_{number}.png"
    return Record(Path(name), name, cohort, disease.key, label, group, None, split="test")


def frame_of(disease: Disease, n_groups: int = 6, strength: float = 2.0, own_cohorts: bool = False) -> pd.DataFrame:
    """Returns predictions of ``n_groups`` groups a class with three slices each."""
    generator = np.random.default_rng(0)
    records = [
        record(disease, label, f"{label}-{group:03}", number, "c" if not own_cohorts else f"c-{label}")
        for label in disease.classes
        for group in range(n_groups)
        for number in range(3)
    ]
    truth = [disease.classes.index(str(r.label)) for r in records]
    logits = (
        generator.normal(size=(len(records), len(disease.classes))) + strength * np.eye(len(disease.classes))[truth]
    )
    exponents = np.exp(logits)
    return predictions_frame(records, exponents / exponents.sum(axis=1, keepdims=True), disease)


def answers_of(
    frame: pd.DataFrame,
    disease: Disease,
    low: float = 0.5,
    high: float = 0.5,
    set_thresholds: dict[str, float | None] | None = None,
) -> Answers:
    """Returns the answers by these thresholds; without any for the sets no class is excluded."""
    limits = set_thresholds if set_thresholds is not None else dict.fromkeys(disease.classes)
    decisions = Decisions((0.0,) * len(disease.classes), 1.0, low, high, limits)
    return answer(frame[list(disease.classes)].to_numpy(dtype=np.float64), decisions)


def evaluated(
    disease: Disease,
    frame: pd.DataFrame,
    baselines: dict[str, np.ndarray] | None = None,
    slices: Answers | None = None,
    groups: Answers | None = None,
    ages: np.ndarray | None = None,
    is_shared: bool = False,
) -> DiseaseMetrics:
    """Returns the evidence of a frame whose groups have the mean probabilities of their slices."""
    slices = slices or answers_of(frame, disease)
    means = frame.groupby("group")[list(disease.classes)].mean().to_numpy(dtype=np.float64)
    groups = groups or answer(means, slices.decisions)
    return evaluate_disease(disease, frame, baselines or {}, slices, groups, ages=ages, is_shared=is_shared)


def baselines_of(frame: pd.DataFrame, disease: Disease) -> dict[str, np.ndarray]:
    """Returns a majority baseline and one that gives all probability to the reference class."""
    n_classes = len(disease.classes)
    shares = np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum()
    return {"majority": np.tile(shares, (len(frame), 1)), "nearest_neighbour": np.eye(n_classes)[[0] * len(frame)]}


def test_frame_has_one_row_a_slice_and_one_column_a_class() -> None:
    records = [record(MS, "normal", "a"), record(MS, "multiple_sclerosis", "b")]
    frame = predictions_frame(records, np.array([[0.4, 0.6], [0.1, 0.9]]), MS)
    assert list(frame.columns) == ["name", "cohort", "group", "label", "predicted", "normal", "multiple_sclerosis"]
    expected = ["normal/a_0.png", "c", "c/a", "normal", "multiple_sclerosis", 0.4, 0.6]
    assert frame.iloc[0].tolist() == expected


@pytest.mark.parametrize("disease", DISEASES.values(), ids=list(DISEASES))
def test_evidence_of_every_disease_is_json_without_nan(disease: Disease) -> None:
    frame = frame_of(disease)
    result = evaluated(disease, frame, baselines_of(frame, disease))
    content = json.dumps(asdict(result), allow_nan=False)
    assert TypeAdapter(DiseaseMetrics).validate_json(content) == result
    assert tuple(result.slices.per_class) == result.classes == disease.classes
    assert result.slices.accuracy.value == pytest.approx(np.mean(frame["label"] == frame["predicted"]))
    assert (result.types is not None) == (disease.key == "tumours")


def test_types_leave_the_reference_class_out_and_share_its_probability_out() -> None:
    frame = frame_of(TUMOURS)
    types = evaluated(TUMOURS, frame, None).types
    kept = frame[frame["label"] != "no_tumour"]
    labels = list(TUMOURS.classes[1:])
    guess = kept[labels].idxmax(axis=1)
    assert list(types.per_class) == labels
    assert (types.n_slices, types.n_groups) == (54, 18)
    assert types.confusion == tuple(map(tuple, metrics.confusion_matrix(kept["label"], guess, labels=labels).tolist()))
    shared = kept["glioma"] / kept[labels].sum(axis=1)
    expected = metrics.roc_auc_score(kept["label"] == "glioma", shared)
    assert types.per_class["glioma"].auroc.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("beginnings", "unit"),
    [
        (["oasis_2d/"], "subject"),
        (["alzheimers_6400/"], "subject"),
        (["br35h/", "cheng/"], "group"),
        (["ixi_t2/", "web_controls/"], "group"),
        (["mine/"], "group"),
        (["oasis_2d/", "oasis_2d/unknown-"], "group"),
    ],
)
def test_groups_are_called_subjects_only_where_each_is_known_to_be_one(beginnings: list[str], unit: str) -> None:
    frame = frame_of(MS)
    frame["group"] = (beginnings * len(frame))[: len(frame)] + frame["group"]
    assert evaluated(MS, frame, None).unit == unit


def test_baselines_have_the_metrics_of_the_same_slices() -> None:
    frame = frame_of(TUMOURS)
    result = evaluated(TUMOURS, frame, baselines_of(frame, TUMOURS))
    assert result.baselines["majority"] == BaselineMetrics(0.25, 0.25, 0.5, 0.25, 0.5, 1 / 3, 1 / 3)
    assert result.baselines["nearest_neighbour"].types_accuracy == pytest.approx(1 / 3)


def test_notes_name_rare_and_missing_classes() -> None:
    frame = frame_of(STAGES)
    rare = (frame["label"] != "moderate_demented") | (frame["group"] == "c/moderate_demented-000")
    notes = evaluated(STAGES, frame[rare & (frame["label"] != "mild_demented")], None).notes
    assert any(note.startswith("No test group shows mild dementia") for note in notes)
    assert any(note.startswith("Test groups of moderate dementia: 1.") for note in notes)


def test_notes_tell_when_class_and_source_are_one() -> None:
    assert evaluated(MS, frame_of(MS), None).notes == ()
    notes = evaluated(MS, frame_of(MS, own_cohorts=True), None).notes
    assert len(notes) == 1
    assert notes[0].startswith("Normal comes from")


def test_notes_name_the_baseline_that_is_not_exceeded() -> None:
    frame = frame_of(MS)
    perfect = np.eye(2)[[MS.classes.index(label) for label in frame["label"]]]
    notes = evaluated(MS, frame, {"nearest_neighbour": perfect}).notes
    assert "does not exceed 1-NN on pixels (1.00)" in notes[0]


@pytest.mark.parametrize("disease", [TUMOURS, MS])
def test_no_test_slices_give_no_metrics(disease: Disease) -> None:
    frame = frame_of(disease).iloc[:0]
    result = evaluated(disease, frame, baselines_of(frame, disease))
    assert result.slices.n_cases == 0
    assert result.slices.accuracy.value is None
    assert result.baselines["majority"].accuracy is None


def test_later_stages_are_told_from_none_without_the_first_stage() -> None:
    frame = frame_of(STAGES, strength=0.7)
    result = evaluated(STAGES, frame, baselines_of(frame, STAGES))
    later = result.later_stages
    none, first, *rest = STAGES.classes
    kept = frame[frame["label"] != first]
    given = kept[rest].sum(axis=1)
    expected = metrics.roc_auc_score(kept["label"] != none, given / (given + kept[none]))
    assert later.auroc.value == pytest.approx(expected)
    assert (later.n_groups, later.n_slices, later.classes) == (18, 54, tuple(rest))
    means = kept.groupby("group")[list(STAGES.classes)].mean()
    given, labels = means[rest].sum(axis=1), kept.groupby("group")["label"].first()
    expected = metrics.roc_auc_score(labels != none, given / (given + means[none]))
    assert later.group_auroc.value == pytest.approx(expected)
    assert later.group_auroc.low <= expected <= later.group_auroc.high
    assert result.baselines["majority"].later_stages_auroc == pytest.approx(0.5)
    assert result.baselines["nearest_neighbour"].group_later_stages_auroc == pytest.approx(0.5)


def test_later_stages_with_too_few_groups_are_not_estimable() -> None:
    frame = frame_of(STAGES)
    few = (frame["label"] == STAGES.reference) | frame["group"].str.endswith("0")
    later = evaluated(STAGES, frame[few], None).later_stages
    assert later.auroc.reason == "not estimable: 2 test groups with disease, 5 needed"
    assert evaluated(TUMOURS, frame_of(TUMOURS), None).later_stages is None


def test_thresholds_have_the_sensitivity_and_specificity_of_a_plain_count() -> None:
    frame = frame_of(TUMOURS, strength=1.0)
    result = evaluated(TUMOURS, frame, None, answers_of(frame, TUMOURS, 0.6, 0.8)).thresholds
    means = frame.groupby("group")[list(TUMOURS.classes)].mean().assign(label=frame.groupby("group")["label"].first())
    for name, threshold in (("low", 0.6), ("high", 0.8)):
        point = getattr(result, name)
        assert point.threshold == threshold
        for case, table in ((point.slices, frame), (point.groups, means)):
            positive, disease = 1 - table["no_tumour"] >= threshold, table["label"] != "no_tumour"
            if name == "low":  # a case with another class on top is not cleared
                positive |= table[list(TUMOURS.classes)].idxmax(axis=1) != "no_tumour"
            assert case.sensitivity.value == pytest.approx(positive[disease].mean())
            assert case.specificity.value == pytest.approx((~positive[~disease]).mean())
    few = frame[(frame["label"] != "no_tumour") | frame["group"].str.endswith("0")]
    low = evaluated(TUMOURS, few, None, answers_of(few, TUMOURS, 0.6, 0.8)).thresholds.low.slices
    assert low.specificity.reason == "not estimable: 1 test group of the reference class, 5 needed"
    assert low.sensitivity.value is not None


def test_sets_have_the_coverage_and_size_of_a_plain_count() -> None:
    frame = frame_of(TUMOURS, strength=1.0)
    bars = dict(zip(TUMOURS.classes, (0.5, 0.2, None, 0.4), strict=True))
    sets = evaluated(TUMOURS, frame, None, answers_of(frame, TUMOURS, set_thresholds=bars)).sets
    assert sets.thresholds == bars
    means = frame.groupby("group")[list(TUMOURS.classes)].mean().assign(label=frame.groupby("group")["label"].first())
    for case, table in ((sets.slices, frame), (sets.groups, means)):
        held = prediction_sets(table[list(TUMOURS.classes)].to_numpy(), bars)
        assert case.mean_size.value == pytest.approx(held.sum(axis=1).mean())
        assert case.empty.value == 0.0
        assert held[:, 2].all()
        for index, label in enumerate(TUMOURS.classes):
            expected = held[(table["label"] == label).to_numpy(), index].mean()
            assert case.coverage[label].raw == pytest.approx(expected)
    silent = sets.slices.coverage["meningioma"]
    assert (silent.value, silent.raw) == (None, 1.0)
    assert silent.reason.startswith("in every set: fewer than 5 validation groups")


def test_people_of_60_and_over_are_measured_apart_with_their_baselines() -> None:
    frame = frame_of(STAGES, n_groups=12, strength=0.5)
    names = frame["group"].drop_duplicates().tolist()
    age = {name: 40.0 + 4 * (number * 7 % 12) for number, name in enumerate(sorted(names))}
    ages = frame["group"].map(age).to_numpy()
    older = frame[ages >= 60]
    result = evaluated(STAGES, frame, baselines_of(frame, STAGES), ages=ages)
    means = older.groupby("group").agg({"non_demented": "mean", "label": "first"})
    expected = metrics.roc_auc_score(means["label"] != "non_demented", 1 - means["non_demented"])
    assert result.older is not None
    assert (result.older.from_age, result.older.n_groups, result.older.n_slices) == (60, len(means), len(older))
    assert result.older.group_auroc.value == pytest.approx(expected)
    assert 0 <= result.older.group_auroc.low <= result.older.group_auroc.high <= 1
    assert result.baselines["majority"].older_group_auroc == 0.5
    assert evaluated(STAGES, frame, None).older is None
    assert evaluated(STAGES, frame, None, ages=np.full(len(frame), np.nan)).older is None


def test_the_gain_over_the_best_baseline_is_drawn_on_the_same_groups() -> None:
    frame = frame_of(TUMOURS, n_groups=12, strength=1.0)
    own = frame[list(TUMOURS.classes)].to_numpy()
    same = evaluated(TUMOURS, frame, baselines_of(frame, TUMOURS) | {"pca_logistic": own})
    assert [(gain.measure, gain.baseline) for gain in same.gains] == [
        ("group_auroc", "pca_logistic"),
        ("types_accuracy", "pca_logistic"),
    ]
    for gain in same.gains:
        assert (gain.difference.value, gain.difference.low, gain.difference.high) == (0.0, 0.0, 0.0)
    against = evaluated(TUMOURS, frame, {"majority": baselines_of(frame, TUMOURS)["majority"]}).gains[0]
    assert against.difference.value == pytest.approx(same.groups.auroc.value - 0.5)
    assert "AUROC of any disease, groups: +0.00 (+0.00 to +0.00) against the best baseline" in " ".join(same.notes)
