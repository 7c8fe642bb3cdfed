"""The simulated patients, screened once the server has its model. They are nobody's data: all sessions share them."""

import threading
from functools import cache
from typing import TYPE_CHECKING

from sslmri.cohorts.patients import EXAMPLE, PATIENTS, make_patient
from sslmri.dashboard.server import queue
from sslmri.diseases import DISEASES
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import ModelCard
from sslmri.screening.card_lines import is_settled, shortcut_line
from sslmri.screening.maps import colour_table
from sslmri.screening.outcome import Finding, Screening, ScreeningSummary

if TYPE_CHECKING:
    from sslmri.screening.screener import Screener

load_patient = cache(make_patient)
stopping = threading.Event()  # set when the server stops
_screened: dict[tuple[str, str], Screening] = {}


def screen_examples(screener: "Screener") -> None:
    """Screens each simulated patient that was not screened with this model yet, until the server stops.

    Before, it loads what the first page with a result would wait for: the libraries of the colours and of a sentence.
    """
    colour_table()
    shortcut_line(None)
    for patient in (EXAMPLE, *PATIENTS):
        if stopping.is_set():
            return
        if find_example(screener.card, patient) is None:
            scan, _ = load_patient(patient)
            with queue.MODEL.acquire(lambda ahead: None):
                _screened[screener.card.sha256, patient] = screener.screen(scan)


def find_example(card: ModelCard, patient: str) -> Screening | None:
    """Returns the screening of a simulated patient with a model, None where it has not been made."""
    return _screened.get((card.sha256, patient))


def truth_line(patient: str, summary: ScreeningSummary) -> str:
    """Returns what a simulated patient has, and how the model did."""
    simulated = PATIENTS[patient]
    disease = DISEASES[simulated.disease]
    if simulated.disease not in summary.findings:
        model = f"no classifier of {disease.title}"
    elif simulated.label == disease.reference:
        verdicts = {finding.verdict for finding in summary.assessed.values()}
        model = "inconclusive" if Verdict.INCONCLUSIVE in verdicts else "right, nothing flagged"
        model = "false alarm" if Verdict.FLAGGED in verdicts else model
    else:
        model = _judged(summary.findings[simulated.disease], simulated.label)
    return f"Truth: {simulated.title}. Model: {model}."


def _judged(finding: Finding, label: str) -> str:
    disease = DISEASES[finding.disease]
    if finding.verdict is not Verdict.FLAGGED:
        return {Verdict.NOT_FLAGGED: "missed"}.get(finding.verdict, str(finding.verdict))
    if len(disease.classes) == 2:
        return "right"
    kind = "stage" if disease.is_ordinal else "type"
    answer = ("right" if finding.prediction_set == (label,) else "wrong") if is_settled(finding) else "not settled"
    return f"flagged, right; {kind} {answer}"
