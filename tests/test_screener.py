"""Screening a scan: what a finding says follows from the slices and the cards."""

import dataclasses

import numpy as np
import pytest

from sslmri.diseases import DISEASES
from sslmri.errors import ScanError
from sslmri.models.bank import DistanceThreshold
from sslmri.scans.slices import numbered_slices
from sslmri.screening.screener import UNGATED, Screener, _prediction_set, _status
from tests.conftest import as_scan
from tests.small_encoder import SMALL_ENCODER


@pytest.fixture(scope="module")
def screener(model_folder) -> Screener:
    return Screener.load(model_folder)


def test_one_finding_for_each_disease_with_probabilities_that_add_up(screener, phantom):
    screening = screener.screen(as_scan(phantom))
    assert [finding.disease for finding in screening.findings] == sorted(DISEASES)
    for finding in screening.findings:
        assert list(finding.probabilities) == list(DISEASES[finding.disease].classes)
        assert sum(finding.probabilities.values()) == pytest.approx(1, abs=1e-9)
        assert finding.predicted == max(finding.probabilities, key=finding.probabilities.__getitem__)
        assert 0 <= finding.coverage <= 1


def test_a_volume_is_answered_by_the_mean_of_its_slices(screener, phantom):
    volume = np.stack(
        [phantom, phantom[::-1], phantom.T[:96, :80] if phantom.T.shape == phantom.shape else phantom * 0.5 + 9]
    )
    for finding in screener.screen(as_scan(volume)).findings:
        mean = finding.slice_probabilities.mean(axis=0)
        assert np.allclose(list(finding.probabilities.values()), mean)
        best = list(finding.probabilities).index(finding.predicted)
        assert finding.key_slice == finding.slice_probabilities[:, best].argmax()


def test_a_scan_has_one_answer_alone_or_among_others(screener, phantom):
    preparation = screener.card.encoder.preparation
    scans = [as_scan(phantom * (1 + 0.1 * i) + np.roll(phantom, 7 * i, axis=0)) for i in range(5)]
    together = screener.screen_slices([(scan, *numbered_slices(scan, preparation)) for scan in scans])
    for scan, among in zip(scans, together, strict=True):
        for alone, other in zip(screener.screen(scan).findings, among.findings, strict=True):
            assert np.allclose(list(alone.probabilities.values()), list(other.probabilities.values()), atol=1e-5)


def test_the_status_follows_from_the_two_thresholds(screener):
    card = dataclasses.replace(screener.card.heads["ms"], threshold_low=0.3, threshold_high=0.7)
    assert [_status(p, card) for p in (0.29, 0.3, 0.69, 0.7)] == [
        "not flagged",
        "indeterminate",
        "indeterminate",
        "flagged",
    ]


def test_the_map_of_the_key_slice_gives_the_coverage(screener, phantom):
    finding = screener.screen(as_scan(phantom)).findings[0]
    assert finding.saliency.shape == (1, len(finding.probabilities), 8, 8)
    assert (finding.saliency >= 0).all()


def without(screener: Screener, disease: str, *labels: str) -> Screener:
    """Returns a screener whose head of a disease says that it learned none of the labels."""
    head = screener.card.heads[disease]
    counts = {
        label: {**splits, "train": [0, 0] if label in labels else [3, 9]} for label, splits in head.counts.items()
    }
    heads = {**screener.card.heads, disease: dataclasses.replace(head, counts=counts)}
    card = dataclasses.replace(screener.card, heads=heads)
    return Screener(dataclasses.replace(screener._model, card=card))


def test_a_class_nobody_taught_is_said_in_a_warning(screener, phantom):
    other = without(screener, "ms", "multiple_sclerosis")
    warnings = " ".join(other.screen(as_scan(phantom)).warnings)
    assert "nobody in training was multiple sclerosis" in warnings


@pytest.mark.parametrize(
    ("untaught", "reason"),
    [
        (["no_tumour"], "No training slice was no tumour: this head cannot tell no tumour from any other class."),
        (
            ["glioma", "meningioma", "pituitary"],
            "Every training slice was no tumour: this head cannot tell no tumour from any other class.",
        ),
        (["glioma", "pituitary"], None),
    ],
)
def test_a_head_that_learned_one_side_only_does_not_apply(screener, phantom, untaught, reason):
    findings = without(screener, "tumours", *untaught).screen(as_scan(phantom)).findings
    finding = next(finding for finding in findings if finding.disease == "tumours")
    assert finding.applicable == (reason is None)
    assert finding.reason == reason == finding.to_json()["reason"]
    assert finding.applicable or finding.status == "indeterminate"
    answers = [
        finding.to_json()[name] for name in ("predicted", "prediction_set", "probabilities", "status", "coverage")
    ]
    assert finding.applicable or answers == [None] * 5
    assert all(other.applicable for other in findings if other is not finding)


@pytest.mark.parametrize(
    ("empty", "n_slices", "numbers", "warning"),
    [
        ((), 10, (3, 4, 5, 6, 7, 8), "Only slices 3 to 8 of 10 were screened."),
        ((2, 4), 10, (4, 6, 7, 8), "Only 4 of 10 slices were screened, from slice 4 to slice 8."),
        ((), 2, (1,), "Only slice 1 of 2 was screened."),
        ((), 1, (1,), None),
    ],
)
def test_a_volume_says_which_of_its_slices_were_screened(screener, phantom, empty, n_slices, numbers, warning):
    volume = np.stack([phantom * (index not in empty) for index in range(n_slices)])
    screening = screener.screen(as_scan(volume))
    assert screening.slice_numbers == numbers
    assert screening.n_file_slices == n_slices
    assert [said for said in screening.warnings if said.startswith("Only")] == ([warning] if warning else [])


def test_an_empty_picture_is_refused(screener):
    with pytest.raises(ScanError, match="every pixel is alike"):
        screener.screen(as_scan(np.zeros((64, 64))))


def test_the_set_holds_what_reaches_its_threshold_and_what_abstains(screener):
    card = dataclasses.replace(
        screener.card.heads["tumours"],
        set_thresholds={"no_tumour": 0.5, "glioma": 0.2, "meningioma": None, "pituitary": 0.3},
    )
    assert _prediction_set(np.array([0.1, 0.2, 0.0, 0.7]), card) == ("glioma", "meningioma", "pituitary")
    none = dataclasses.replace(card, set_thresholds=dict.fromkeys(card.classes, 0.9))
    assert _prediction_set(np.array([0.1, 0.2, 0.1, 0.6]), none) == ("pituitary",)


def test_without_a_bank_every_head_speaks_and_a_warning_says_so(screener, phantom):
    screening = screener.screen(as_scan(phantom))
    assert screener.bank is None
    assert UNGATED in screening.warnings
    assert screening.is_brain
    assert screening.not_brain_reason is None


@pytest.fixture(scope="module")
def gated(gated_folder) -> Screener:
    return Screener.load(gated_folder)


def test_what_is_no_brain_gets_no_answer_from_any_head(gated, phantom):
    no_brain = dataclasses.replace(gated.bank.brain, threshold=1e9)
    strict = Screener(gated._model, dataclasses.replace(gated.bank, brain=no_brain))
    screening = strict.screen(as_scan(phantom))
    assert not screening.is_brain
    assert screening.not_brain_reason == "This does not look like an MRI of a brain: no head was asked."
    assert UNGATED not in screening.warnings
    for finding in screening.findings:
        assert not finding.applicable
        assert finding.to_json()["probabilities"] is None


def test_a_head_is_refused_by_its_own_ground_alone(gated, phantom):
    bank = gated.bank
    assert bank is not None
    all_brain = dataclasses.replace(bank.brain, threshold=-1e9)
    grounds = dict.fromkeys(bank.thresholds, DistanceThreshold(9.0, 0.0)) | {"ms": DistanceThreshold(-9.0, 0.0)}
    all_kinds = {key: dataclasses.replace(rule, threshold=-1e9) for key, rule in bank.kinds.items()}
    open_bank = dataclasses.replace(bank, brain=all_brain, kinds=all_kinds, thresholds=grounds)
    findings = Screener(gated._model, open_bank).screen(as_scan(phantom)).findings
    assert [finding.disease for finding in findings if not finding.applicable] == ["ms"]
    refused = next(finding for finding in findings if not finding.applicable)
    assert refused.reason is not None
    assert refused.reason.startswith("This head learned from axial T2 slices")
    assert refused.status == "indeterminate"


def test_a_screening_keeps_what_the_scan_says_of_itself(gated, phantom):
    scan = dataclasses.replace(as_scan(phantom), spacing_mm=(4.0, 1.0, 1.0), orientation="SPL", modality="MR")
    screening = gated.screen(scan)
    assert (screening.spacing_mm, screening.orientation, screening.modality, screening.source) == (
        (4.0, 1.0, 1.0),
        "SPL",
        "MR",
        "PNG",
    )
    assert screening.features.shape == (1, SMALL_ENCODER.feature_dim)
