"""The tables that ``evaluate``, ``controls`` and ``label-efficiency`` print."""

from collections.abc import Iterator, Mapping

from sslmri.diseases import DISEASES
from sslmri.evidence.efficiency import BASELINE, MEASURES, PIXELS, RANDOM, SIMCLR
from sslmri.evidence.shortcuts import CONTROLS
from sslmri.models.evidence import Controls, LabelEfficiency, Point
from sslmri.models.metrics import DiseaseMetrics, Estimate
from sslmri.text import markdown_table

_BASELINES = ("nearest_neighbour", "pca_logistic", "majority")
_COLUMNS = ("task", "measure", "model", "95 % interval", "1-NN on pixels", "PCA + LR", "majority", "groups", "slices")


def report_metrics(results: Mapping[str, DiseaseMetrics]) -> str:
    """Returns the table of an evaluation: each metric with its interval, baselines, groups and slices; then notes."""
    rows = [row for key, result in results.items() for row in _metric_rows(DISEASES[key].title, result)]
    return "\n".join([markdown_table(_COLUMNS, rows), *_notes(results)])


def report_controls(evidence: Controls) -> str:
    """Returns the tables of the controls: shortcuts, false alarms and localisation, and what they mean."""
    shortcuts = ("task", "input", "balanced accuracy", "95 % interval", "AUROC any disease", "verdict")
    alarms = ("classifier", "healthy slices of", "flagged", "95 % interval", "groups", "slices")
    maps = ("classifier", "measure", "value", "95 % interval", "groups", "slices")
    messages = [
        f"{DISEASES[key].title}: {message}"
        for key, result in evidence.diseases.items()
        for message in [*result.messages, *(result.localisation.messages if result.localisation else ())]
    ]
    if evidence.same_source:
        messages.append(f"{DISEASES[evidence.same_source.disease].title}: {evidence.same_source.message}")
    parts = [
        markdown_table(shortcuts, list(_shortcut_rows(evidence))),
        markdown_table(alarms, _alarm_rows(evidence)),
        markdown_table(maps, list(_map_rows(evidence))),
        "\n".join(messages),
    ]
    return "\n\n".join(parts)


def report_efficiency(evidence: LabelEfficiency) -> str:
    """Returns the table of label efficiency, one row per disease, measure, regime and labels per class."""
    rows = []
    for key, result in evidence.diseases.items():
        curves = {_key(point, point.encoder): point.estimate for point in result.curves}
        gains = {_key(point, point.against): point.estimate for point in result.differences}
        for (measure, regime, labels, encoder), value in curves.items():
            if encoder != SIMCLR:
                continue
            estimates = [
                _estimate(value),
                _estimate(curves.get((measure, regime, labels, RANDOM))),
                _estimate(curves.get((measure, BASELINE, labels, PIXELS))),
                *(_estimate(gains.get((measure, regime, labels, other)), "+") for other in (RANDOM, PIXELS)),
            ]
            name = MEASURES[measure].format(unit=result.unit)
            rows.append((DISEASES[key].title, name, regime, str(labels), *estimates))
    encoders = ("SimCLR", "random", "pixels", "SimCLR - random", "SimCLR - pixels")
    columns = ("task", "measure", "regime", "labels", *encoders)
    return markdown_table(columns, rows)


def _metric_rows(title: str, result: DiseaseMetrics) -> Iterator[tuple[str, ...]]:
    """Yields the rows of one disease: all classes, then the types or the later stages where it has them."""
    unit, types, later = result.unit, result.types, result.later_stages
    counts = result.slices.n_groups, result.slices.n_cases
    rows = [
        (title, "accuracy, slices", result.slices.accuracy, "accuracy", counts),
        (title, "AUROC any disease, slices", result.slices.auroc, "auroc", counts),
        (title, f"AUROC any disease, {unit}s", result.groups.auroc, "group_auroc", counts),
    ]
    if types:
        name = f"{title}, reference class left out"
        rows.append((name, "accuracy, slices", types.accuracy, "types_accuracy", (types.n_groups, types.n_slices)))
    if later:
        name, counts = f"{title}, later stages against none", (later.n_groups, later.n_slices)
        rows.append((name, "AUROC, slices", later.auroc, "later_stages_auroc", counts))
        rows.append((name, f"AUROC, {unit}s", later.group_auroc, "group_later_stages_auroc", counts))
    for name, measure, value, baseline, (n_groups, n_slices) in rows:
        baselines = [_number(getattr(result.baselines[kind], baseline)) for kind in _BASELINES]
        yield name, measure, *_cells(value), *baselines, str(n_groups), str(n_slices)


def _notes(results: Mapping[str, DiseaseMetrics]) -> list[str]:
    notes = [f"- {DISEASES[key].title}: {note}" for key, result in results.items() for note in result.notes]
    return ["", *notes] if notes else []


def _shortcut_rows(evidence: Controls) -> Iterator[tuple[str, ...]]:
    for key, result in evidence.diseases.items():
        title = DISEASES[key].title
        inputs = {"full slice (this model)": result.model}
        inputs |= {CONTROLS[name]: metrics for name, metrics in result.shortcuts.items()}
        for name, metrics in inputs.items():
            auroc = _number(metrics.auroc.raw)
            yield title, name, *_cells(metrics.balanced_accuracy), auroc, metrics.verdict or "-"
        yield title, "nothing: chance", _number(result.chance), "-", "0.500", "-"


def _alarm_rows(evidence: Controls) -> list[tuple[str, ...]]:
    rows = [
        (DISEASES[key].title, cohort, rate)
        for key, result in evidence.diseases.items()
        for cohort, rate in result.healthy_flagged.items()
    ]
    rows.append(("any classifier", "all cohorts", evidence.family_wise))
    return [(*names, *_cells(rate.rate), str(rate.n_groups), str(rate.n_slices)) for *names, rate in rows]


def _map_rows(evidence: Controls) -> Iterator[tuple[str, ...]]:
    for key, result in evidence.diseases.items():
        localisation = result.localisation
        if localisation is None:
            continue
        title, counts = DISEASES[key].title, (str(localisation.n_groups), str(localisation.n_slices))
        for name, game in (("true", localisation.true), ("predicted", localisation.predicted)):
            yield title, f"pointing, map of the {name} class", *_cells(game.pointing), *counts
            yield title, f"energy, map of the {name} class", *_cells(game.energy), *counts
        yield title, "random classifiers, pointing", *_cells(localisation.random_head.pointing), *counts
        yield title, "random classifiers, rank correlation", *_cells(localisation.random_head.rank_correlation), *counts
        for name, value in (("slice", localisation.random_point.slice), ("head", localisation.random_point.head)):
            yield title, f"random point of the {name}", _number(value), "-", *counts


def _key(point: Point, encoder: str) -> tuple[str, str, int, str]:
    return point.measure, point.regime, point.labels, encoder


def _estimate(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return "not run"
    if estimate.value is None:
        return f"{estimate.raw:{sign}.3f}, not estimable"
    return f"{estimate.value:{sign}.3f} ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"


def _cells(estimate: Estimate) -> tuple[str, str]:
    """Returns a metric and its interval, or its raw value and why it cannot be estimated."""
    if estimate.value is None:
        return _number(estimate.raw), str(estimate.reason)
    return _number(estimate.value), f"{_number(estimate.low)} to {_number(estimate.high)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
