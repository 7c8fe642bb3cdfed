"""The tables of the cohort page: one row per scan and disease, and how many scans got which verdict."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from sslmri.diseases import DISEASES, Notice, class_title
from sslmri.evidence.verdict import Verdict
from sslmri.screening.messages import reason_line
from sslmri.screening.outcome import Entry, Finding, Refusal, notice_line

REFUSED = "refused"
ALL_VERDICTS = (*map(str, Verdict), REFUSED)
_COLUMNS = ("Scan", "File", "Disease", "Verdict", "Any disease", "Top class", "Probability", "90 % set", "Note")


def findings_table(entries: Iterable[Entry], names: Mapping[int, str]) -> pd.DataFrame:
    """Returns one row for each scan and disease, and one for each file that was refused.

    Diseases and classes are titles; a classifier that was not assessed has no class and no number.
    """
    cells = [cell for entry in entries for cell in _cells(entry, names[entry.number])]
    return pd.DataFrame(cells, columns=list(_COLUMNS)).astype({"Probability": float, "Any disease": float})


def filtered(table: pd.DataFrame, verdicts: Sequence[str], diseases: Sequence[str]) -> pd.DataFrame:
    """Returns the rows of these verdicts and titles of diseases; none stands for all."""
    kept = table[table["Verdict"].isin(verdicts or ALL_VERDICTS)]
    return kept[kept["Disease"].isin(diseases)] if diseases else kept


def verdict_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Returns how many scans have which verdict, by disease: columns ``Disease``, ``Verdict``, ``Scans``."""
    return _counts(table[table["Verdict"] != REFUSED], "Verdict")


def class_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Returns how many assessed scans have which top class: ``Disease``, ``Top class``, ``Scans``."""
    return _counts(table[table["Top class"] != ""], "Top class")


def _counts(table: pd.DataFrame, column: str) -> pd.DataFrame:
    counted: pd.DataFrame = table.groupby(["Disease", column], sort=False).size().reset_index(name="Scans")
    return counted


def _cells(entry: Entry, name: str) -> list[dict[str, Any]]:
    shared = {"Scan": entry.number, "File": name, "Top class": "", "90 % set": ""}
    outcome = entry.outcome
    if isinstance(outcome, Refusal):
        return [shared | {"Disease": "", "Verdict": REFUSED, "Note": outcome.reason}]
    return [
        shared | {"Disease": DISEASES[key].title, "Verdict": str(finding.verdict)} | _answer(finding, outcome.warnings)
        for key, finding in outcome.findings.items()
    ]


def _answer(finding: Finding, warnings: Sequence[Notice]) -> dict[str, Any]:
    if not finding.is_assessed:
        return {"Note": reason_line(finding)}
    members = finding.prediction_set
    return {
        "Any disease": finding.probability_any,
        "Top class": class_title(finding.top_class),
        "Probability": finding.probabilities[finding.top_class],
        "90 % set": "" if members is None else ", ".join(map(class_title, members)) or "empty",
        "Note": " ".join(notice_line(warning) for warning in warnings if warning.disease in (None, finding.disease)),
    }
