"""The tables that ``evaluate``, ``controls`` and ``label-efficiency`` print."""

from collections.abc import Mapping

import pandas as pd

from sslmri.diseases import DISEASES
from sslmri.evidence.efficiency import ENCODER_TITLES, MEASURES
from sslmri.evidence.tables import alarms_table, cells, localisation_table, shortcut_rows
from sslmri.models.evidence import Controls, LabelEfficiency, SequenceMetrics
from sslmri.models.metrics import DiseaseControls, DiseaseMetrics
from sslmri.models.model_card import RESULTS, results_table, tables_markdown
from sslmri.text import markdown_table


def report_metrics(results: Mapping[str, DiseaseMetrics]) -> str:
    """Returns the table of an evaluation, as the model card has it; then notes."""
    notes = [f"- {DISEASES[key].title}: {note}" for key, result in results.items() for note in result.notes]
    return "\n".join([tables_markdown({RESULTS: results_table(results)}), "", *notes])


def report_controls(evidence: Controls) -> str:
    """Returns the tables of the controls: shortcuts, false alarms and localisation, and what they mean."""
    tables, messages = {}, []
    for key, result in evidence.diseases.items():
        title, localisation = DISEASES[key].title, result.localisation
        tables[f"{title}: shortcuts"] = _shortcut_table(result)
        tables[f"{title}: healthy slices that are flagged"] = alarms_table(result, evidence.family_wise).astype(str)
        if localisation:
            tables[f"{title}: where the maps point"] = localisation_table(localisation)
        found = [*result.messages, *(localisation.messages if localisation else ())]
        messages += [f"{title}: {message}" for message in found]
    if evidence.same_source:
        messages.append(f"{DISEASES[evidence.same_source.disease].title}: {evidence.same_source.message}")
    return "\n\n".join((tables_markdown(tables), "\n".join(messages)))


def report_efficiency(evidence: LabelEfficiency) -> str:
    """Returns the table of label efficiency: each point of the curves, then how far SimCLR is above the others."""
    rows = []
    for key, result in evidence.diseases.items():
        points = [(ENCODER_TITLES[point.encoder], point) for point in result.curves]
        for name, point in [*points, *((f"SimCLR above {each.against}", each) for each in result.differences)]:
            measure = MEASURES[point.measure].format(unit=result.unit)
            rows.append((DISEASES[key].title, measure, point.regime, str(point.labels), name, *cells(point.estimate)))
    columns = ("task", "measure", "regime", "labels", "encoder", "value", "95 % interval")
    return markdown_table(columns, rows)


def report_sequences(evidence: SequenceMetrics) -> str:
    """Returns the confusion matrix of the sequences, truth in rows, and how many slices are right."""
    rows = [(name, *map(str, counts)) for name, counts in zip(evidence.names, evidence.confusion, strict=True)]
    same = f"; where several are from the same scanners {evidence.same_source.rate}" if evidence.same_source else ""
    return f"{markdown_table(('truth', *evidence.names), rows)}\n\nAccuracy {evidence.accuracy.rate}{same}."


def _shortcut_table(result: DiseaseControls) -> pd.DataFrame:
    rows = [
        (name, *cells(metrics.balanced_accuracy), cells(metrics.auroc)[0], metrics.verdict or "-")
        for name, metrics in shortcut_rows(result).items()
    ]
    rows.append(("nothing: chance", *cells(result.chance), "0.50", "-"))
    return pd.DataFrame(rows, columns=["input", "balanced accuracy", "95 % interval", "AUROC any disease", "verdict"])
