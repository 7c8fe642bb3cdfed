"""Measures a model anew and compares with the figures that are kept beside it, which stay as they are."""

import json
import math
from collections.abc import Iterator
from typing import Any

from sslmri.cohorts.splits import EVIDENCE_FOLDERS
from sslmri.errors import ModelError
from sslmri.evidence.evidence_io import METRICS_FILE, read_metrics
from sslmri.training.data import RunOptions
from sslmri.training.report import report
from sslmri.training.steps import measured

TOLERANCE = 5e-4  # half a unit of the last digit that is printed: other threads sum in another order
_SHOWN = 5


def run_reproduce(options: RunOptions) -> str:
    """Returns the printed figures of the run's model, measured anew, and how many of them are those that are kept.

    Raises:
        SslmriError: the data or the model is at fault.
        ModelError: what is printed is not what the kept figures print, or a figure is another; naming the first.
    """
    folder = options.run / EVIDENCE_FOLDERS[options.protocol]
    kept = read_metrics(folder)["diseases"]
    found = json.loads(json.dumps(measured(options)[2]))
    n_equal, n_figures, other = compare(kept, found)
    if other or report(kept) != report(found):
        named = "; ".join(other[:_SHOWN]) or "a figure that rounds to another last digit"
        raise ModelError(
            f"Expected the {n_figures} figures of {folder / METRICS_FILE}, got {max(1, len(other))} others: {named}. "
            "Name the data and the preparation of the training, or evaluate again."
        )
    return f"{report(found)}\n\nMeasured anew: all {n_figures} figures as kept, {n_equal} of them to the last bit."


def compare(kept: Any, found: Any) -> tuple[int, int, list[str]]:
    """Returns how many figures are equal, how many there are, and a line on each that differs beyond rounding."""
    before, after = dict(_figures(kept, "")), dict(_figures(found, ""))
    names = sorted(before.keys() | after.keys())
    other = [name for name in names if not _is_same(before.get(name, "none"), after.get(name, "none"))]
    n_equal = sum(before.get(name, "none") == after.get(name, "none") for name in names)
    return n_equal, len(names), [f"{name} {before.get(name)} -> {after.get(name)}" for name in other]


def _is_same(kept: Any, found: Any) -> bool:
    if isinstance(kept, float) and isinstance(found, float):
        return math.isclose(kept, found, rel_tol=0.0, abs_tol=TOLERANCE)
    return bool(kept == found)


def _figures(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yields every number, text and gap of nested JSON with the path that leads to it."""
    if isinstance(content, dict | list):
        inner = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in inner:
            yield from _figures(value, f"{name}/{key}")
    else:
        yield name.removeprefix("/"), content
