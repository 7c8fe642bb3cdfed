"""The tables of the cohort page: one row a scan and disease, and how many scans got which answer."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from sslmri.dashboard.cohort.session import Row
from sslmri.dashboard.text import in_order
from sslmri.dashboard.theme import STATUSES
from sslmri.diseases import DISEASES, class_title
from sslmri.screening.report.report_data import Refusal

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding

NOT_APPLICABLE, REFUSED = "does not apply", "refused"
ALL_STATUSES = (*STATUSES, NOT_APPLICABLE, REFUSED)
_COLUMNS = ("scan", "file", "disease", "status", "class", "probability", "any disease", "90 % set", "note")


def findings_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Returns one row for each scan and disease, and one for each file that was refused.

    ``disease`` and ``class`` are titles; a head that does not apply has no class and no number.
    """
    cells = [cell for row in rows for cell in _cells(row)]
    return pd.DataFrame(cells, columns=list(_COLUMNS)).astype({"probability": float, "any disease": float})


def filtered(table: pd.DataFrame, statuses: Sequence[str], diseases: Sequence[str]) -> pd.DataFrame:
    """Returns the rows of these statuses and titles of diseases; no status or no disease stands for all."""
    kept = table[table["status"].isin(statuses or ALL_STATUSES)]
    return kept[kept["disease"].isin(diseases)] if diseases else kept


def status_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Returns how many scans have which status, by disease: columns ``disease``, ``status``, ``scans``."""
    return _counts(table[table["status"] != REFUSED], "status")


def class_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Returns how many scans a head gave which class, where it applies: ``disease``, ``class``, ``scans``."""
    return _counts(table[table["class"] != ""], "class")


def _counts(table: pd.DataFrame, column: str) -> pd.DataFrame:
    counted: pd.DataFrame = table.groupby(["disease", column], sort=False).size().reset_index(name="scans")
    return counted


def _cells(row: Row) -> list[dict[str, Any]]:
    shared = {"scan": row.number, "file": row.name, "class": "", "90 % set": ""}
    if isinstance(row.scan, Refusal):
        return [shared | {"disease": "", "status": REFUSED, "note": row.scan.reason}]
    warnings = row.scan.screening.warnings
    found = {finding.disease: finding for finding in row.scan.screening.findings}
    return [shared | {"disease": DISEASES[key].title} | _answer(found[key], warnings) for key in in_order(found)]


def _of(disease: str, warnings: Sequence[str]) -> str:
    """Returns the warnings that are about a disease, or about none."""
    others = tuple(f"{other.title}:" for other in DISEASES.values() if other.key != disease)
    return " ".join(warning for warning in warnings if not warning.startswith(others))


def _answer(finding: "Finding", warnings: Sequence[str]) -> dict[str, Any]:
    if not finding.applicable:
        return {"status": NOT_APPLICABLE, "note": finding.reason}
    every = len(finding.prediction_set) == len(finding.probabilities)
    return {
        "status": finding.status,
        "class": class_title(finding.predicted),
        "probability": finding.probabilities[finding.predicted],
        "any disease": 1 - finding.probabilities[DISEASES[finding.disease].reference],
        "90 % set": "every class" if every else ", ".join(map(class_title, finding.prediction_set)),
        "note": _of(finding.disease, warnings),
    }
