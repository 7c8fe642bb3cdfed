"""The tables that ``evaluate``, ``controls`` and ``label-efficiency`` print."""

from collections.abc import Iterable, Iterator, Mapping

from sslmri.diseases import DISEASES
from sslmri.evidence.efficiency import BASELINE, MEASURES, PIXELS, RANDOM, SIMCLR
from sslmri.evidence.tables import cells, localisation_rows, shortcut_rows
from sslmri.models.evidence import Controls, LabelEfficiency, Point
from sslmri.models.key_measures import baseline_titles, key_measures
from sslmri.models.metrics import DiseaseMetrics, Estimate
from sslmri.text import markdown_table


def report_metrics(results: Mapping[str, DiseaseMetrics]) -> str:
    """Returns the table of an evaluation: each metric with its interval, baselines, groups and slices; then notes."""
    titles = baseline_titles(results.values())
    columns = ("task", "measure", "model", "95 % interval", *titles.values(), "groups", "slices")
    rows = [row for key, result in results.items() for row in _metric_rows(DISEASES[key].title, result, titles)]
    return "\n".join([markdown_table(columns, rows), *_notes(results)])


def report_controls(evidence: Controls) -> str:
    """Returns the tables of the controls: shortcuts, false alarms and localisation, and what they mean."""
    messages = [
        f"{DISEASES[key].title}: {message}"
        for key, result in evidence.diseases.items()
        for message in [*result.messages, *(result.localisation.messages if result.localisation else ())]
    ]
    if evidence.same_source:
        messages.append(f"{DISEASES[evidence.same_source.disease].title}: {evidence.same_source.message}")
    tables = (_shortcut_table(evidence), _alarm_table(evidence), _localisation_table(evidence))
    return "\n\n".join((*tables, "\n".join(messages)))


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


def _metric_rows(title: str, result: DiseaseMetrics, baselines: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yields the rows of one disease: all classes, then the types or the later stages where it has them."""
    for row in key_measures(result):
        values = [_number(getattr(result.baselines.get(name), row.baseline, None)) for name in baselines]
        yield title, row.measure, *cells(row.estimate, _number), *values, str(row.n_groups), str(row.n_slices)


def _notes(results: Mapping[str, DiseaseMetrics]) -> list[str]:
    notes = [f"- {DISEASES[key].title}: {note}" for key, result in results.items() for note in result.notes]
    return ["", *notes] if notes else []


def _shortcut_table(evidence: Controls) -> str:
    rows: list[tuple[str, ...]] = []
    for key, result in evidence.diseases.items():
        title = DISEASES[key].title
        for name, metrics in shortcut_rows(result).items():
            accuracy, auroc = cells(metrics.balanced_accuracy, _number), _number(metrics.auroc.raw)
            rows.append((title, name, *accuracy, auroc, metrics.verdict or "-"))
        rows.append((title, "nothing: chance", _number(result.chance), "-", "0.500", "-"))
    columns = ("task", "input", "balanced accuracy", "95 % interval", "AUROC any disease", "verdict")
    return markdown_table(columns, rows)


def _alarm_table(evidence: Controls) -> str:
    rates = [
        (DISEASES[key].title, cohort, rate)
        for key, result in evidence.diseases.items()
        for cohort, rate in result.healthy_flagged.items()
    ]
    rates.append(("any classifier", "all cohorts", evidence.family_wise))
    rows = [(*names, *cells(rate.rate, _number), str(rate.n_groups), str(rate.n_slices)) for *names, rate in rates]
    return markdown_table(("classifier", "healthy slices of", "flagged", "95 % interval", "groups", "slices"), rows)


def _localisation_table(evidence: Controls) -> str:
    rows = [
        (DISEASES[key].title, name, *cells(metric, _number), str(found.n_groups), str(found.n_slices))
        for key, result in evidence.diseases.items()
        if (found := result.localisation)
        for name, metric in localisation_rows(found).items()
    ]
    return markdown_table(("classifier", "measure", "value", "95 % interval", "groups", "slices"), rows)


def _key(point: Point, encoder: str) -> tuple[str, str, int, str]:
    return point.measure, point.regime, point.labels, encoder


def _estimate(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return "not run"
    if estimate.value is None:
        return f"{estimate.raw:{sign}.3f}, not estimable"
    return f"{estimate.value:{sign}.3f} ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
