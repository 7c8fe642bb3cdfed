"""Screening a scan: what a finding says follows from the slices and the cards."""

import dataclasses

import numpy as np
import pytest

from sslmri.diseases import DISEASES
from sslmri.errors import ScanError
from sslmri.scans.slices import numbered_slices
from sslmri.screening.screener import Screener, _status
from tests.conftest import as_scan


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
    assert all(other.applicable for other in findings if other is not finding)


@pytest.mark.parametrize(
    ("empty", "n_slices", "numbers", "warning"),
    [
        ((), 10, (3, 4, 5, 6, 7, 8), "Only slices 3 to 8 of 10 were screened."),
        ((2, 4), 10, (4, 6, 7, 8), "Only slices 4 to 8 of 10 were screened, less 1 without a head."),
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
