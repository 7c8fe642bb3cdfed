"""The tables that both the terminal and the pages show of a classifier's controls."""

import pandas as pd

from sslmri.evidence.shortcuts import CONTROLS
from sslmri.models.metrics import DiseaseControls, Estimate, Localisation, Rate, ShortcutMetrics
from sslmri.text import proportion


def shortcut_rows(result: DiseaseControls) -> dict[str, ShortcutMetrics]:
    """Returns the metrics of the model and of each control, by what it sees."""
    controls = {CONTROLS[name]: metrics for name, metrics in result.shortcuts.items()}
    return {"full slice (this model)": result.model, **controls}


def alarms_table(result: DiseaseControls, family_wise: Rate) -> pd.DataFrame:
    """Returns the fraction of healthy slices flagged: by this classifier for each cohort, and by any for all."""
    rates = {**result.healthy_flagged, "all cohorts, any classifier": family_wise}
    rows = [(name, *cells(flagged.rate), flagged.n_groups, flagged.n_slices) for name, flagged in rates.items()]
    return pd.DataFrame(rows, columns=["cohort", "flagged", "95 % interval", "groups", "slices"])


def localisation_table(found: Localisation) -> pd.DataFrame:
    """Returns the pointing game and its energy for true and predicted class, random classifiers and a random point."""
    peak, energy, random = "peak inside the lesion", "fraction of the map inside the lesion", found.random_head
    rows: dict[str, Estimate | float] = {
        f"map of the true class, {peak}": found.true.pointing,
        f"map of the true class, {energy}": found.true.energy,
        f"map of the predicted class, {peak}": found.predicted.pointing,
        f"map of the predicted class, {energy}": found.predicted.energy,
        f"{random.n_heads} random classifiers, {peak}": random.pointing,
        "random classifiers, rank correlation with the trained one's map": random.rank_correlation,
        "random point in the slice": found.random_point.slice,
        "random point in the head": found.random_point.head,
    }
    table = [(name, *cells(metric)) for name, metric in rows.items()]
    return pd.DataFrame(table, columns=["measure", "value", "95 % interval"])


def cells(metric: Estimate | float | None) -> tuple[str, str]:
    """Returns a metric and its interval, or the raw value and why it cannot be estimated."""
    if not isinstance(metric, Estimate):
        return "-" if metric is None else proportion(metric), "-"
    if metric.value is None or metric.low is None or metric.high is None:
        return "-" if metric.raw is None else proportion(metric.raw), str(metric.reason)
    return proportion(metric.value), f"{proportion(metric.low)} to {proportion(metric.high)}"
