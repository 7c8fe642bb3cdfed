"""Evidence that lies next to a model, drawn as a line where it cannot be used."""

import json
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import streamlit as st

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS
from sslmri.dashboard.text import escape_markdown
from sslmri.errors import ModelError
from sslmri.models.cards import ModelCard

DATA_FILE = "data.json"
_SUMMARY_ROWS = {  # what each row of a summary's tables holds
    "classes": {"disease", "label", "split", "groups", "slices"},
    "sizes": {"cohort", "width", "height", "slices"},
    "intensity": {"disease", "label", "n_slices", "density", "quantiles", "contrast"},
    "formats": {"cohort", "format", "slices"},
    "use": {"cohort", "disease", "use", "slices", "groups", "unit"},
    "faults": {"disease", "text"},
}

_P = ParamSpec("_P")
_T = TypeVar("_T")


def try_read(find: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
    """Returns what ``find`` finds; where that cannot be used, draws one line that says why and returns None."""
    try:
        return find(*args, **kwargs)
    except ModelError as error:
        st.caption(escape_markdown(str(error)))
        return None


def find_summary(card: ModelCard) -> dict[str, Any] | None:
    """Returns the summary of the data that the model learned from, or None where there is none.

    Raises:
        ModelError: it is damaged, or of another version.
    """
    path = card.folder / EVIDENCE_FOLDERS[card.training.protocol] / DATA_FILE
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _check_summary(summary)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"Expected the summary of the data in {path}, got something else: run `python train.py evaluate` again."
        ) from error
    return summary


def _check_summary(summary: dict[str, Any]) -> None:
    for table, keys in _SUMMARY_ROWS.items():
        if not all(row.keys() >= keys for row in summary[table]):
            raise KeyError(table)
