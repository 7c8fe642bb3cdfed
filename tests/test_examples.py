"""The simulated patients that the server screens when it starts, and what is said of their truth."""

from types import SimpleNamespace

import pytest

from sslmri.cohorts.patients import EXAMPLE, PATIENTS
from sslmri.dashboard.screening import examples
from sslmri.diseases import DISEASES
from sslmri.evidence.verdict import Verdict
from sslmri.screening.outcome import Finding
from tests.test_card_lines import summary_of

FLAGGED, NOT_FLAGGED = Verdict.FLAGGED, Verdict.NOT_FLAGGED


def finding(disease: str, verdict: Verdict, likeliest: str) -> Finding:
    classes = DISEASES[disease].classes
    probabilities = {label: 0.7 if label == likeliest else 0.3 / (len(classes) - 1) for label in classes}
    return Finding(disease, verdict, None, 0.6, 0.4, probabilities, None, 1, None, 0.0, None)


@pytest.mark.parametrize(
    ("patient", "found", "said"),
    [
        ("healthy", finding("tumours", NOT_FLAGGED, "no_tumour"), "right, nothing flagged"),
        ("healthy", finding("ms", FLAGGED, "multiple_sclerosis"), "false alarm"),
        ("glioma", finding("tumours", FLAGGED, "glioma"), "any tumour, right; type right"),
        ("glioma", finding("tumours", FLAGGED, "meningioma"), "any tumour, right; type wrong"),
        ("dementia", finding("alzheimers", FLAGGED, "moderate_demented"), "any dementia, right; stage wrong"),
        ("ms", finding("ms", FLAGGED, "multiple_sclerosis"), "right"),
        ("ms", finding("ms", NOT_FLAGGED, "normal"), "missed"),
        ("ms", finding("ms", Verdict.INCONCLUSIVE, "normal"), "inconclusive"),
        ("ms", finding("ms", Verdict.NOT_ASSESSED, "normal"), "not assessed"),
    ],
)
def test_a_simulated_patient_says_what_it_has_and_how_the_model_did(patient: str, found: Finding, said: str) -> None:
    line = examples.truth_line(patient, summary_of(found))
    assert line == f"Truth: {PATIENTS[patient].title}, simulated. Model: {said}."


def test_each_patient_is_screened_once_with_a_model_and_none_after_a_stop(monkeypatch) -> None:
    screened: list[str] = []
    monkeypatch.setattr(examples, "_screened", {})
    monkeypatch.setattr(examples, "load", lambda patient: (patient, None))
    monkeypatch.setattr(examples, "screen_example", lambda screener, scan: screened.append(scan) or f"of {scan}")
    screener = SimpleNamespace(card=SimpleNamespace(sha256="a"))
    examples.screen_examples(screener)
    examples.screen_examples(screener)
    assert screened[0] == EXAMPLE
    assert sorted(screened) == sorted(PATIENTS)
    assert examples.find_example(screener.card, "ms") == "of ms"
    assert examples.find_example(SimpleNamespace(sha256="b"), "ms") is None
    monkeypatch.setattr(examples.stopping, "is_set", lambda: True)
    examples.screen_examples(SimpleNamespace(card=SimpleNamespace(sha256="b")))
    assert len(screened) == len(PATIENTS)
