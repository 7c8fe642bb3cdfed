"""What a card says: one verdict that its headline, its threshold, its type and its prediction set agree with."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sslmri.diseases import DISEASES, Disease
from sslmri.evidence.verdict import Verdict, decisions_for, prediction_set, reconciled, verdicts
from sslmri.models.cards import HeadCard
from sslmri.models.folder import read_model_card
from sslmri.project import DEFAULT_MODEL
from sslmri.screening.card_lines import by_urgency, headline, type_line
from sslmri.screening.messages import probability_line, set_line
from sslmri.screening.outcome import Finding, ScreeningSummary
from sslmri.text import proportion

N_SIMULATED = 2000


@pytest.fixture(scope="module")
def heads() -> dict[str, HeadCard]:
    return read_model_card(DEFAULT_MODEL).heads


def finding_of(head: HeadCard, probabilities: np.ndarray, n_slices: int = 1) -> Finding:
    """Returns the finding of calibrated probabilities (C,), as the screener makes it."""
    decided = decisions_for(head, n_slices)
    members = prediction_set(probabilities, {label: decided.set_thresholds[label] for label in head.classes})
    (verdict,) = verdicts(probabilities[None], decided)
    return Finding(
        head.disease,
        reconciled(verdict, members, head.classes[0]),
        None,
        decided.threshold_high,
        decided.threshold_low,
        dict(zip(head.classes, map(float, probabilities), strict=True)),
        members,
        1,
        None,
        0.0,
        None,
    )


def summary_of(*findings: Finding) -> ScreeningSummary:
    by_disease = {finding.disease: finding for finding in findings}
    return ScreeningSummary(
        "0" * 64, "1" * 64, "2026-01-02T03:04:05+00:00", (1,), 1, None, None, None, "PNG", None, None, True, None,
        by_disease, (),
    )  # fmt: skip


def contradictions(finding: Finding) -> list[str]:
    """Returns in what the lines of a card contradict its verdict, by the written rule."""
    disease, found = DISEASES[finding.disease], []
    members, any_disease = finding.prediction_set, finding.probability_any
    said, kind = headline(summary_of(finding), ()), type_line(finding, None)
    if said.replace("*", "") != f"{disease.title} {finding.verdict} ({proportion(any_disease)}).":
        found.append("headline")
    if proportion(any_disease) not in probability_line(finding):
        found.append("probability")
    if finding.verdict is Verdict.FLAGGED:
        found += ["threshold"] if any_disease < finding.flagged_from else []
        found += ["set"] if members is not None and set(members) == {disease.reference} else []
    elif finding.verdict is Verdict.NOT_FLAGGED:
        found += ["threshold"] if any_disease >= finding.not_flagged_below else []
        found += ["class"] if finding.top_class != disease.reference else []
        found += ["set"] if members and disease.reference not in members else []
        found += ["type"] if kind is not None else []
    if kind and "not settled" not in kind:
        found += (
            ["type"] if finding.verdict is not Verdict.FLAGGED or members != (_likeliest(finding, disease),) else []
        )
    return found + (["empty set line"] if (set_line(finding) is None) != (members is None) else [])


def _likeliest(finding: Finding, disease: Disease) -> str:
    return max(disease.classes[1:], key=finding.probabilities.__getitem__)


@pytest.mark.parametrize("key", DISEASES)
@pytest.mark.parametrize("n_slices", [1, 20])
def test_no_line_of_a_card_contradicts_its_verdict_whatever_the_logits(heads, key: str, n_slices: int) -> None:
    rng = np.random.default_rng(list(DISEASES).index(key))
    logits = rng.normal(0, rng.uniform(0.2, 6, (N_SIMULATED, 1)), (N_SIMULATED, len(heads[key].classes)))
    seen = set()
    for probabilities in decisions_for(heads[key], n_slices).probabilities(logits):
        finding = finding_of(heads[key], probabilities, n_slices)
        seen.add(finding.verdict)
        assert contradictions(finding) == []
    assert {Verdict.FLAGGED, Verdict.INCONCLUSIVE} <= seen


@pytest.mark.parametrize("key", DISEASES)
def test_no_line_of_a_card_contradicts_its_verdict_on_the_test_slices_of_the_shipped_model(heads, key: str) -> None:
    table = pd.read_csv(DEFAULT_MODEL / "evidence" / f"predictions-{key}.csv")
    for probabilities in table[list(DISEASES[key].classes)].to_numpy():
        assert contradictions(finding_of(heads[key], probabilities)) == []


@pytest.mark.parametrize(
    ("verdict", "members", "expected"),
    [
        (Verdict.FLAGGED, ("normal",), Verdict.INCONCLUSIVE),
        (Verdict.FLAGGED, ("normal", "multiple_sclerosis"), Verdict.FLAGGED),
        (Verdict.FLAGGED, (), Verdict.FLAGGED),
        (Verdict.FLAGGED, None, Verdict.FLAGGED),
        (Verdict.NOT_FLAGGED, ("multiple_sclerosis",), Verdict.INCONCLUSIVE),
        (Verdict.NOT_FLAGGED, ("normal",), Verdict.NOT_FLAGGED),
        (Verdict.NOT_FLAGGED, (), Verdict.NOT_FLAGGED),
        (Verdict.INCONCLUSIVE, ("normal",), Verdict.INCONCLUSIVE),
    ],
)
def test_a_set_that_contradicts_the_verdict_makes_it_inconclusive(verdict, members, expected) -> None:
    assert reconciled(verdict, members, "normal") is expected


def test_the_headline_names_flagged_findings_first_and_folds_the_rest(heads) -> None:
    tumour = finding_of(heads["tumours"], np.array([0.04, 0.18, 0.03, 0.75]))
    sclerosis = replace(finding_of(heads["ms"], np.array([0.1, 0.9])), verdict=Verdict.INCONCLUSIVE)
    parkinsons = finding_of(heads["parkinsons"], np.array([0.2, 0.8]))
    dementia = finding_of(heads["alzheimers"], np.array([0.7, 0.1, 0.1, 0.1]))
    absent = replace(dementia, verdict=Verdict.NOT_ASSESSED, reason="FLAIR")
    summary = summary_of(absent, sclerosis, tumour, parkinsons)
    assert headline(summary, {"parkinsons"}) == (
        "**Tumour flagged (0.96).** Multiple sclerosis inconclusive (0.90). Insufficient evidence, not shown: "
        "Parkinson's disease. Not assessed: Alzheimer's stage."
    )
    order = [finding.disease for finding in by_urgency(summary.assessed.values(), {"tumours"})]
    assert order[-1] == "tumours"
    kind = type_line(tumour, None)
    assert kind is not None
    assert kind.startswith("Type")
    assert "pituitary tumour 0.75, glioma 0.18" in kind
