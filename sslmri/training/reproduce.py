"""Measures a model anew and compares with the figures that are kept beside it, which stay as they are."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from sslmri.cohorts.splits import EVIDENCE_FOLDERS
from sslmri.errors import ModelError
from sslmri.models.evidence import Metrics, read_evidence
from sslmri.models.metrics import DiseaseMetrics
from sslmri.training.data import RunOptions
from sslmri.training.report import report_metrics
from sslmri.training.steps import measured

TOLERANCE = 5e-4  # half a unit of the last digit that is printed: other threads sum in another order
_SHOWN = 5


def run_reproduce(options: RunOptions) -> str:
    """Returns the printed metrics of the run's model, measured again, and how many of them equal the stored ones.

    Raises:
        SslmriError: the data or the model is at fault.
        ModelError: what is printed is not what the stored metrics print, or a metric differs; naming the first.
    """
    folder = options.run / EVIDENCE_FOLDERS[options.protocol]
    stored = read_evidence(folder, Metrics)
    if stored is None:
        raise ModelError(f"Expected metrics in {folder}, got none: run `python train.py evaluate` first.")
    results = measured(options)[2]
    n_equal, n_metrics, other = compare(*(json.loads(json.dumps(_plain(own))) for own in (stored.diseases, results)))
    if other or report_metrics(stored.diseases) != report_metrics(results):
        named = "; ".join(other[:_SHOWN]) or "a metric that rounds to another last digit"
        raise ModelError(
            f"Expected the {n_metrics} values of {folder / Metrics.FILE}, got {max(1, len(other))} others: {named}. "
            "Name the data and the preparation of the training, or evaluate again."
        )
    return f"{report_metrics(results)}\n\nMeasured again: all {n_metrics} values as stored, {n_equal} of them exactly."


def _plain(results: Mapping[str, DiseaseMetrics]) -> dict[str, Any]:
    return {key: asdict(result) for key, result in results.items()}


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
