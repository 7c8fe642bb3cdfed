"""The same brain in any kind of file gets the same answer."""

import numpy as np
import pytest

from sslmri.cohorts.patients import make_patient
from sslmri.evidence.verdict import Verdict
from sslmri.project import DEFAULT_MODEL
from sslmri.screening.outcome import Finding
from sslmri.screening.screener import Screener
from tests.encodings import TOLERANCES, encodings
from tests.harness.parsing import parse_scan

PIXELS = np.zeros((8, 8), np.uint8)


@pytest.fixture(scope="module")
def screener() -> Screener:
    return Screener.load(DEFAULT_MODEL)  # a model trained briefly answers everything alike


def middle_of(patient: str) -> np.ndarray:
    scan, _ = make_patient(patient)
    return np.rint(scan.voxels[len(scan.voxels) // 2, 10:, 6:-20]).astype(np.uint8)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return encodings(middle_of("pituitary"))  # far from the bounds of every head's judgement


def findings_of(screener: Screener, data: bytes) -> list[Finding]:
    return list(screener.screen(parse_scan(data, "scan")).summary.findings.values())


@pytest.mark.parametrize("name", list(encodings(PIXELS)))
def test_every_head_answers_alike_whatever_the_file(name: str, screener: Screener, files: dict[str, bytes]) -> None:
    for plain, own in zip(findings_of(screener, files["PNG"]), findings_of(screener, files[name]), strict=True):
        assert (own.top_class, own.is_assessed) == (plain.top_class, plain.is_assessed)
        assert own.probabilities == pytest.approx(plain.probabilities, abs=TOLERANCES.get(name, 0.01))


def test_another_brain_gets_another_answer(screener: Screener, files: dict[str, bytes]) -> None:
    plain, other = findings_of(screener, files["PNG"]), findings_of(screener, encodings(middle_of("healthy"))["PNG"])
    pairs = zip(plain, other, strict=True)
    assert (
        max(abs(a.probabilities[label] - b.probabilities[label]) for a, b in pairs for label in a.probabilities) > 0.1
    )


@pytest.mark.parametrize(
    ("patient", "disease"), [("dementia", "alzheimers"), ("glioma", "tumours"), ("meningioma", "tumours")]
)
def test_a_flagged_simulated_patient_whose_map_glows_is_not_covered_by_0_percent(patient, disease, screener):
    """A focal map covers a few hundredths of the head."""
    finding = screener.screen(make_patient(patient)[0]).summary.findings[disease]
    assert finding.verdict == Verdict.FLAGGED
    assert finding.coverage is not None
    assert finding.coverage > 0.02
    assert finding.peak > 0.1
