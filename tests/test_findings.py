"""What is said of a finding: its set, and what a flag is worth at a prevalence."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sslmri.dashboard.screening.findings import predictive_line
from sslmri.evidence.verdict import Verdict, predictive_values
from sslmri.models.cards import ModelCard
from sslmri.models.metrics import Estimate, OperatingPoint, ThresholdMetrics, Thresholds
from sslmri.screening.messages import map_line, probability_line, set_line, threshold_help
from sslmri.screening.outcome import Finding


def point(sensitivity: float | None, specificity: float | None) -> OperatingPoint:
    return OperatingPoint(*(Estimate(value, value, value, value, None) for value in (sensitivity, specificity)))


def test_predictive_values_are_those_of_a_table_of_counts() -> None:
    # 1,000 people, 100 with the disease: 90 found and 10 missed; of 900 without it 720 cleared and 180 flagged
    assert predictive_values(point(0.9, 0.8), 0.1) == (pytest.approx(90 / 270), pytest.approx(720 / 730))


def test_a_value_of_nobody_is_unknown() -> None:
    assert predictive_values(point(0.0, 1.0), 0.3) == (None, pytest.approx(0.7))
    assert predictive_values(point(1.0, 0.0), 0.3) == (pytest.approx(0.3), None)


THRESHOLDS = Thresholds(
    ThresholdMetrics(0.4, slices=point(0.9, 0.5), groups=point(0.8, 0.8)),
    ThresholdMetrics(0.6, slices=point(0.6, 0.8), groups=point(0.5, 0.9)),
)


def test_ppv_is_that_of_the_upper_threshold_and_npv_that_of_the_lower_of_the_unit_answered() -> None:
    of_slice = predictive_line(THRESHOLDS, False, 0.5)
    assert "PPV of *flagged* **0.75**" in of_slice  # 0.6 / (0.6 + 0.2)
    assert "NPV of *not flagged* **0.83**" in of_slice  # 0.5 / (0.5 + 0.1)
    assert "slices of unseen patients" in of_slice
    of_volume = predictive_line(THRESHOLDS, True, 0.5)
    assert "PPV of *flagged* **0.83**" in of_volume  # 0.5 / (0.5 + 0.1)
    assert "NPV of *not flagged* **0.80**" in of_volume
    assert "on unseen patients" in of_volume


def test_what_was_not_estimable_on_unseen_patients_has_no_predictive_value() -> None:
    few = Thresholds(ThresholdMetrics(0.4, point(None, 0.5), point(None, 0.5)), THRESHOLDS.high)
    assert "NPV of *not flagged* not estimable" in predictive_line(few, False, 0.5)


def finding(**changes: Any) -> Finding:
    probabilities = {"no_tumour": 0.39, "glioma": 0.3, "meningioma": 0.2, "pituitary": 0.11}
    plain = Finding("tumours", Verdict.FLAGGED, None, 0.61, 0.4, probabilities, None, 3, 0.12, 0.45, (0.2, 0.7))
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("members", "line"),
    [
        (("glioma", "meningioma"), "90 % set: glioma, meningioma"),
        ((), "90 % set: empty, the scan resembles none of the classes"),
        (None, None),
    ],
)
def test_a_set_is_shown_only_where_it_excludes_a_class(members, line) -> None:
    assert set_line(finding(prediction_set=members)) == line


def test_the_probability_line_is_the_comparison_that_the_verdict_rests_on() -> None:
    assert probability_line(finding()) == "Any tumour 0.61 \u00b7 flagged from 0.61"


def test_one_threshold_is_not_described_as_two(configured: ModelCard) -> None:
    head = configured.heads["tumours"]
    assert threshold_help(finding(not_flagged_below=0.61), head).startswith("One threshold, 0.61: flagged from it on;")
    assert threshold_help(finding(), head).startswith("Flagged from 0.61 on; not flagged below 0.40")


def test_a_weak_map_is_no_notable_saliency_and_another_says_its_size_and_peak() -> None:
    summary: Any = SimpleNamespace(n_file_slices=9)
    assert map_line(summary, finding(coverage=None, peak=0.04)) == (
        "No notable saliency for no tumour on slice 3: peak 0.04 of the scale."
    )
    assert map_line(summary, finding()) == (
        "Saliency for no tumour on slice 3: above half of its peak in 12 % of the head; peak 0.45 of the scale."
    )
