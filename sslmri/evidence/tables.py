"""The rows of the tables that both the terminal and the pages show of a classifier's controls."""

from collections.abc import Callable

from sslmri.evidence.shortcuts import CONTROLS
from sslmri.models.metrics import DiseaseControls, Estimate, Localisation, ShortcutMetrics


def shortcut_rows(result: DiseaseControls) -> dict[str, ShortcutMetrics]:
    """Returns the metrics of the model and of each control, by what it sees."""
    controls = {CONTROLS[name]: metrics for name, metrics in result.shortcuts.items()}
    return {"full slice (this model)": result.model, **controls}


def localisation_rows(found: Localisation) -> dict[str, Estimate | float]:
    """Returns the pointing game and its energy for true and predicted class, random classifiers and a random point."""
    peak, energy, random = "peak inside the lesion", "fraction of the map inside the lesion", found.random_head
    return {
        f"map of the true class, {peak}": found.true.pointing,
        f"map of the true class, {energy}": found.true.energy,
        f"map of the predicted class, {peak}": found.predicted.pointing,
        f"map of the predicted class, {energy}": found.predicted.energy,
        f"{random.n_heads} random classifiers, {peak}": random.pointing,
        "random classifiers, rank correlation with the trained one's map": random.rank_correlation,
        "random point in the slice": found.random_point.slice,
        "random point in the head": found.random_point.head,
    }


def cells(metric: Estimate | float | None, number: Callable[[float], str]) -> tuple[str, str]:
    """Returns a metric and its interval, or the raw value and why it cannot be estimated."""
    if not isinstance(metric, Estimate):
        return "-" if metric is None else number(metric), "-"
    if metric.value is None or metric.low is None or metric.high is None:
        return "-" if metric.raw is None else number(metric.raw), str(metric.reason)
    return number(metric.value), f"{number(metric.low)} to {number(metric.high)}"
