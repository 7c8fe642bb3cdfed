"""The table of a reader study: how far readers agree with the model and with each other."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from sslmri.dashboard.text import in_order
from sslmri.diseases import DISEASES
from sslmri.evidence.agreement import agreement_of
from sslmri.evidence.tables import cells
from sslmri.evidence.verdict import finds_disease
from sslmri.screening.outcome import CANNOT_TELL, sees_disease
from sslmri.screening.register import Reading

COLUMNS = (
    *("Disease", "Reader", "Compared with", "Scans", "Left open"),
    *("Agreement", "95 % interval", "Kappa", "95 % interval of kappa"),
)
MODEL = "model"
_Pair = tuple[str | bool | None, str | bool | None]


def agreement_table(readings: Sequence[Reading]) -> pd.DataFrame:
    """Returns one row per disease and reader compared with the model, or with a reader of the same scans.

    With the model readers are compared on disease or none, with each other on the class, *other* included. ``Scans``
    are those compared; on those of ``Left open`` one of the two does not say. Readings are one per scan, disease and
    reader, all of one model.
    """
    rows = []
    for disease in in_order(one.disease for one in readings):
        by_reader: dict[str, dict[str, Reading]] = {}
        for one in readings:
            if one.disease == disease:
                by_reader.setdefault(one.initials, {})[one.scan_sha256] = one
        for reader, own in sorted(by_reader.items()):
            both = [(sees_disease(disease, one.reading), finds_disease(one.verdict)) for one in own.values()]
            rows.append(_row(disease, reader, MODEL, both))
        for reader, other in combinations(sorted(by_reader), 2):
            if pairs := _with_reader(by_reader[reader], by_reader[other]):
                rows.append(_row(disease, reader, other, pairs))
    return pd.DataFrame(rows, columns=COLUMNS)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table of ``agreement_table`` in columns so few that they fit a phone, intervals next to values."""
    text = table.astype(str)
    columns = {
        "Disease": text["Disease"],
        "Readers": text["Reader"] + ", " + text["Compared with"],
        "Scans": text["Scans"] + " of " + (table["Scans"] + table["Left open"]).astype(str),
        "Agreement": text["Agreement"] + " (" + text["95 % interval"] + ")",
        "Kappa": text["Kappa"] + " (" + text["95 % interval of kappa"] + ")",
    }
    return pd.DataFrame(columns)


def _with_reader(readings: dict[str, Reading], others: dict[str, Reading]) -> list[_Pair]:
    """Returns what two readers see on the scans that both read, None where one cannot tell."""
    said = {key: one.reading if one.reading != CANNOT_TELL else None for key, one in readings.items()}
    return [
        (said[key], other.reading if other.reading != CANNOT_TELL else None)
        for key, other in others.items()
        if key in said
    ]


def _row(disease: str, reader: str, other: str, pairs: Sequence[_Pair]) -> tuple[str | int, ...]:
    compared = [pair for pair in pairs if None not in pair]
    if compared:
        first, second = (np.array(side) for side in zip(*compared, strict=True))
        agreement, kappa = agreement_of(first, second)
        values = (*cells(agreement), *cells(kappa))
    else:
        values = ("-", "nothing to compare", "-", "nothing to compare")
    return (DISEASES[disease].title, reader, other, len(compared), len(pairs) - len(compared), *values)
