"""Measures a model again and compares with its stored results, which stay as they are."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS
from sslmri.errors import ModelError
from sslmri.models.evidence import Metrics, read_evidence
from sslmri.models.metrics import DiseaseMetrics
from sslmri.training.measure import answer_split, measure
from sslmri.training.options import RunOptions
from sslmri.training.report import report_metrics
from sslmri.training.steps import open_run

TOLERANCE = 5e-4  # half a unit of the last printed digit: another number of threads sums in another order
_SHOWN = 5


def run_reproduce(options: RunOptions) -> str:
    """Returns the printed results of the run's model, measured again, and that they equal the stored ones.

    Raises:
        SslmriError: the data or the model is at fault.
        ModelError: a result differs from the stored one; naming the first.
    """
    model, cohort = open_run(options)
    folder = model.card.folder / EVIDENCE_FOLDERS[options.protocol]
    stored = read_evidence(folder, Metrics)
    if stored is None:
        raise ModelError(f"Expected metrics in {folder}, got none: run `python train.py evaluate` first.")
    results = measure(answer_split(model, cohort.store), cohort.store, options.protocol)[0]
    tested = {key: result for key, result in stored.diseases.items() if key in results}
    n_values, differing = _differing(tested, results)
    if differing:
        raise ModelError(
            f"Expected the {n_values} values of {folder / Metrics.FILE}, got {len(differing)} others: "
            f"{'; '.join(differing[:_SHOWN])}. "
            "Name the data and the preparation of the training, or evaluate again."
        )
    return f"{report_metrics(results)}\n\nMeasured again: all {n_values} values as stored."


def _differing(stored: Mapping[str, DiseaseMetrics], results: Mapping[str, DiseaseMetrics]) -> tuple[int, list[str]]:
    """Returns how many values there are, and a line on each that differs beyond rounding."""
    before, after = (
        dict(_values({key: asdict(result) for key, result in each.items()}, "")) for each in (stored, results)
    )
    names = sorted(before.keys() | after.keys())
    differing = [name for name in names if not _is_close(before.get(name, "none"), after.get(name, "none"))]
    return len(names), [f"{name} {before.get(name)} -> {after.get(name)}" for name in differing]


def _is_close(stored: Any, result: Any) -> bool:
    if isinstance(stored, float) and isinstance(result, float):
        return math.isclose(stored, result, rel_tol=0.0, abs_tol=TOLERANCE)
    return bool(stored == result)


def _values(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yields every number, text and gap of nested results with the path that leads to it."""
    if isinstance(content, dict | tuple):
        inner = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in inner:
            yield from _values(value, f"{name}/{key}")
    else:
        yield name.removeprefix("/"), content
