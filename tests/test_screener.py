"""Screening a scan: what a finding says follows from the slices and the cards."""

import dataclasses

import numpy as np
import pytest

from sslmri.diseases import DISEASES, Notice
from sslmri.errors import ScanError
from sslmri.evidence.verdict import Verdict, prediction_sets, verdicts
from sslmri.models.cards import Counts, Decisions
from sslmri.scans.slices import prepare_scan
from sslmri.screening.outcome import Entry, document
from sslmri.screening.screener import UNGATED, Screener
from tests.conftest import as_scan


@pytest.fixture(scope="module")
def screener(model_folder) -> Screener:
    return Screener.load(model_folder)


def test_one_finding_for_each_disease_with_probabilities_that_add_up(screener, phantom):
    summary = screener.screen(as_scan(phantom)).summary
    assert list(summary.findings) == [finding.disease for finding in summary.findings.values()] == list(DISEASES)
    for finding in summary.findings.values():
        assert list(finding.probabilities) == list(DISEASES[finding.disease].classes)
        assert sum(finding.probabilities.values()) == pytest.approx(1, abs=1e-9)
        assert finding.probability_any == pytest.approx(sum(list(finding.probabilities.values())[1:]))
        assert finding.coverage is None or 0 < finding.coverage <= 1


def test_a_volume_is_answered_by_the_mean_of_its_slices(screener, phantom):
    screening = screener.screen(as_scan(np.stack([phantom, phantom[::-1], phantom * 0.5 + 9, phantom[:, ::-1]])))
    summary = screening.summary
    for key, finding in summary.findings.items():
        by_slice = screening.arrays.slice_probabilities[key]
        assert np.allclose(list(finding.probabilities.values()), by_slice.mean(axis=0))
        best = list(finding.probabilities).index(finding.top_class)
        assert summary.key_index(key) == by_slice[:, best].argmax()
        assert finding.key_slice == summary.slice_numbers[summary.key_index(key)]


def test_a_scan_has_one_answer_alone_or_among_others(screener, phantom):
    preparation = screener.card.encoder.preparation
    scans = [as_scan(phantom * (1 + 0.1 * i) + np.roll(phantom, 7 * i, axis=0)) for i in range(5)]
    together = screener.screen_slices([prepare_scan(scan, preparation) for scan in scans])
    for scan, among in zip(scans, together, strict=True):
        for key, alone in screener.screen(scan).summary.findings.items():
            other = among.summary.findings[key]
            assert np.allclose(list(alone.probabilities.values()), list(other.probabilities.values()), atol=1e-5)


def test_the_verdict_follows_from_both_thresholds_and_the_most_probable_class():
    cases = np.array([[0.71, 0.29, 0], [0.7, 0.3, 0], [0.31, 0.69, 0], [0.3, 0.7, 0], [0.35, 0.25, 0.4]])
    found = verdicts(cases, Decisions((0.0,) * 3, 1.0, 0.3, 0.7, {}))
    assert found == ["not flagged", "inconclusive", "inconclusive", "flagged", "inconclusive"]
    high = Decisions((0.0,) * 3, 1.0, 0.9, 0.9, {})
    assert verdicts(cases[2:3], high) == [Verdict.INCONCLUSIVE]  # below both, yet the disease is more probable


def test_an_empty_set_is_shown_as_evaluated_and_not_as_the_most_probable_class(screener, phantom):
    head = screener.card.heads["tumours"]
    card = dataclasses.replace(head, set_thresholds=dict.fromkeys(head.classes, 0.99))
    heads = {**screener.card.heads, "tumours": card}
    strict = Screener(dataclasses.replace(screener._model, card=dataclasses.replace(screener.card, heads=heads)))
    screening = strict.screen(as_scan(phantom))
    (answer,) = screening.arrays.slice_probabilities["tumours"]
    assert not prediction_sets(answer[None], card.set_thresholds).any()
    assert screening.summary.findings["tumours"].prediction_set == ()


def test_maps_have_a_value_for_every_slice_class_and_location(screener, phantom):
    screening = screener.screen(as_scan(phantom))
    for key, finding in screening.summary.findings.items():
        maps = screening.arrays.saliency[key]
        assert maps.shape[:2] == (1, len(finding.probabilities))
        assert (maps >= 0).all()
        scale = screener.card.heads[key].saliency_scale
        assert finding.peak == pytest.approx(
            maps[0, list(finding.probabilities).index(finding.top_class)].max() / scale, rel=0.2
        )


def without(screener: Screener, disease: str, *labels: str) -> Screener:
    """Returns a screener whose head of a disease says that it learned none of the labels."""
    head = screener.card.heads[disease]
    counts = {
        label: {**splits, "train": Counts(0, 0) if label in labels else Counts(3, 9)}
        for label, splits in head.counts.items()
    }
    heads = {**screener.card.heads, disease: dataclasses.replace(head, counts=counts)}
    card = dataclasses.replace(screener.card, heads=heads)
    return Screener(dataclasses.replace(screener._model, card=card))


def test_a_class_without_training_example_is_in_a_warning_of_its_disease(screener, phantom):
    other = without(screener, "ms", "multiple_sclerosis")
    notice = Notice("ms", "Multiple sclerosis cannot be predicted: no training example.")
    assert notice in other.screen(as_scan(phantom)).summary.warnings


@pytest.mark.parametrize(
    ("untrained", "reason"),
    [
        (["no_tumour"], "Trained without any example of no tumour, so it cannot exclude disease."),
        (
            ["glioma", "meningioma", "pituitary"],
            "Trained on examples of no tumour only, so it cannot recognise disease.",
        ),
        (["glioma", "pituitary"], None),
    ],
)
def test_a_classifier_trained_on_one_side_only_is_not_assessed(screener, phantom, untrained, reason):
    summary = without(screener, "tumours", *untrained).screen(as_scan(phantom)).summary
    finding = summary.findings["tumours"]
    assert finding.is_assessed == (reason is None)
    assert finding.reason == reason
    written = next(f for f in document(Entry(1, summary), "", {})["findings"] if f["disease"] == "tumours")
    assert (written["verdict"], written["reason"]) == (finding.verdict, reason)
    numbers = ("probability_any", "probabilities", "top_class", "prediction_set", "coverage", "peak", "peak_xy")
    assert finding.is_assessed or [written[name] for name in (*numbers, "key_slice")] == [None] * 8
    assert set(summary.findings) - set(summary.assessed) <= {"tumours"}


@pytest.mark.parametrize(
    ("empty", "n_slices", "numbers", "warning"),
    [
        ((), 10, (3, 4, 5, 6, 7, 8), "Analysed slices 3 to 8 of 10."),
        ((2, 4), 10, (4, 6, 7, 8), "Analysed 4 of 10 slices, between slices 4 and 8."),
        ((), 2, (1,), "Analysed slice 1 of 2."),
        ((), 1, (1,), None),
    ],
)
def test_a_volume_says_which_of_its_slices_were_screened(screener, phantom, empty, n_slices, numbers, warning):
    volume = np.stack([phantom * (index not in empty) for index in range(n_slices)])
    summary = screener.screen(as_scan(volume)).summary
    assert summary.slice_numbers == numbers
    assert summary.n_file_slices == n_slices
    assert [own for own in summary.warnings if "Analysed" in own.text] == ([Notice(None, warning)] if warning else [])


def test_an_empty_image_is_refused(screener):
    with pytest.raises(ScanError, match="The image is blank"):
        screener.screen(as_scan(np.zeros((64, 64))))


def test_without_a_bank_every_classifier_answers_and_a_warning_says_so(screener, phantom):
    summary = screener.screen(as_scan(phantom)).summary
    assert screener.bank is None
    assert Notice(None, UNGATED) in summary.warnings
    assert (summary.is_brain_mri, summary.reason) == (None, None)


@pytest.fixture(scope="module")
def gated(gated_folder) -> Screener:
    return Screener.load(gated_folder)


def test_what_is_not_brain_mri_gets_no_answer_from_any_classifier(gated, phantom):
    no_brain = dataclasses.replace(gated.bank.brain_svm, threshold=1e9)
    strict = Screener(gated._model, dataclasses.replace(gated.bank, brain_svm=no_brain))
    summary = strict.screen(as_scan(phantom)).summary
    assert summary.is_brain_mri is False
    assert summary.reason == "Not recognised as brain MRI. No classifier was run."
    assert Notice(None, UNGATED) not in summary.warnings
    assert not summary.assessed
    assert {finding["probabilities"] for finding in document(Entry(1, summary), "", {})["findings"]} == {None}


def test_a_classifier_is_not_assessed_by_its_own_rule_alone(gated, phantom):
    bank = gated.bank
    assert bank is not None
    all_brain = dataclasses.replace(bank.brain_svm, threshold=-1e9)
    svms = {
        disease: dataclasses.replace(svm, threshold=1e9 if disease == "ms" else -1e9)
        for disease, svm in bank.domain_svms.items()
    }
    open_bank = dataclasses.replace(bank, brain_svm=all_brain, domain_svms=svms)
    summary = Screener(gated._model, open_bank).screen(as_scan(phantom)).summary
    assert summary.is_brain_mri is True
    assert set(summary.findings) - set(summary.assessed) == {"ms"}
    assert summary.findings["ms"].verdict == Verdict.NOT_ASSESSED
    assert summary.findings["ms"].reason is not None
    assert summary.findings["ms"].reason.startswith("Trained on axial T2")
    known = {"spacing_mm": (4.0, 1.0, 1.0), "orientation": "LIP"}
    sagittal = Screener(gated._model, open_bank).screen(as_scan(phantom, **known)).summary
    assert str(sagittal.findings["ms"].reason) == f"{summary.findings['ms'].reason} This slice is sagittal."


def test_a_screening_keeps_what_the_scan_says_of_itself(gated, phantom):
    scan = as_scan(phantom, spacing_mm=(4.0, 1.0, 1.0), orientation="SPL", modality="MR")
    screening = gated.screen(scan)
    summary = screening.summary
    known = (summary.spacing_mm, summary.orientation, summary.modality, summary.source)
    assert known == ((4.0, 1.0, 1.0), "SPL", "MR", "PNG")
    assert screening.arrays.features.shape == (1, gated.card.encoder.architecture.feature_dim)
