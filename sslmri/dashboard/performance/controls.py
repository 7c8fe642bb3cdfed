"""Shortcut controls, false alarms on other healthy scans, and where the maps of a classifier point."""

from dataclasses import asdict

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from sslmri.dashboard import charts, theme
from sslmri.dashboard.section import draw_chart, draw_notes, draw_table, try_read
from sslmri.dashboard.text import count, escape_markdown, proportion
from sslmri.diseases import Disease
from sslmri.evidence.shortcuts import CARRIES, CONTROLS
from sslmri.evidence.tables import cells, localisation_rows, shortcut_rows
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Controls, find_evidence
from sslmri.models.metrics import DiseaseControls, Localisation, Rate, SameSource
from sslmri.text import format_timestamp

_ROW = 44
_NOT_MEASURED = (
    "Shortcuts, false alarms and localisation were not measured for this classifier: run `python train.py controls`, "
    "then load this page again."
)


def draw_controls(card: ModelCard, disease: Disease) -> None:
    """Draws the stored controls of one disease, or says in a line why there are none."""
    controls = try_read(find_evidence, card, Controls)
    result = controls.diseases.get(disease.key) if controls else None
    if controls is None or result is None:
        st.caption(_NOT_MEASURED)
        return
    draw_verdict(card, disease)
    _draw_shortcuts(result, disease, controls.rule)
    left, right = st.columns(2, gap="large")
    with left:
        alarms = alarms_table(result, controls.family_wise)
        draw_table("Healthy slices of other cohorts that are flagged", alarms, f"alarms-{disease.key}")
    with right:
        _draw_localisation(result.localisation, disease)


def draw_verdict(card: ModelCard, disease: Disease) -> None:
    """Draws in a sentence what the stored controls say against the results of a disease, if anything."""
    controls = try_read(find_evidence, card, Controls)
    if controls is None or disease.key not in controls.diseases:
        return
    carrying = _carrying(controls.diseases[disease.key])
    if carrying:
        st.markdown(
            f"**A shortcut explains this result:** {', '.join(carrying)} alone do as well. It may not reflect "
            "the disease."
        )
    if controls.same_source and controls.same_source.disease == disease.key:
        _draw_same_source(controls.same_source)


def _carrying(result: DiseaseControls) -> list[str]:
    """Returns the shortcuts that alone do as well as the classifier."""
    return [CONTROLS[name] for name, metrics in result.shortcuts.items() if metrics.verdict == CARRIES]


def _draw_shortcuts(result: DiseaseControls, disease: Disease, rule: str) -> None:
    table = shortcut_table(result)
    figure = shortcut_chart(table, result.chance)
    title = f"{disease.title}: accuracy of shortcut-only classifiers"
    draw_chart(title, figure, table, f"shortcuts-{disease.key}", rule)
    draw_notes(result.messages)


def _draw_same_source(found: SameSource) -> None:
    st.markdown(
        f"**Same patients, same scanners.** {escape_markdown(found.message)}",
        help=f"{found.data}: {count(found.n_with, 'slice')} with and {count(found.n_without, 'slice')} without, of "
        f"{count(found.n_groups, 'patient')}; measured {format_timestamp(found.created)}. Where images with and "
        "without a tumour come from different sources, a classifier may recognise the source; here it cannot.",
    )


def _draw_localisation(found: Localisation | None, disease: Disease) -> None:
    if found is None:
        st.caption("No lesion annotations in the test set, so saliency localisation was not measured.")
        return
    note = (
        f"{count(found.n_slices, 'slice')} of {count(found.n_groups, 'group')} with an annotated lesion. Random "
        "classifiers have random weights on the same encoder."
    )
    draw_table("Where the maps point", localisation_table(found), f"maps-{disease.key}", note)
    draw_notes(found.messages)


def shortcut_table(result: DiseaseControls) -> pd.DataFrame:
    """Returns one row for the model and one for each control: balanced accuracy with its interval, and the verdict."""
    rows = [
        {"input": name, **asdict(metrics.balanced_accuracy), "verdict": metrics.verdict or ""}
        for name, metrics in shortcut_rows(result).items()
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(("value", "low", "high", "raw"), float))


def shortcut_chart(table: pd.DataFrame, chance: float) -> go.Figure:
    """Returns the balanced accuracy of the model and of each control, with chance, from ``shortcut_table``."""
    colours = [theme.accent(), *[theme.REFERENCE] * (len(table) - 1)]
    name = "balanced accuracy, 95 % interval"
    figure = charts.estimates(table, "input", name, colours, "balanced accuracy, slices")
    figure.add_vline(x=chance, line={"color": theme.ink(), "dash": "dot", "width": 1}, annotation={"text": "chance"})
    return charts.layout(figure, _ROW * len(table) + 80, showlegend=False, margin={"t": 24})


def alarms_table(result: DiseaseControls, family_wise: Rate) -> pd.DataFrame:
    """Returns the fraction of healthy slices flagged: by this classifier for each cohort, and by any for all."""
    rates = {**result.healthy_flagged, "all cohorts, any classifier": family_wise}
    rows = [
        (name, *cells(flagged.rate, proportion), flagged.n_groups, flagged.n_slices) for name, flagged in rates.items()
    ]
    return pd.DataFrame(rows, columns=["cohort", "flagged", "95 % interval", "groups", "slices"])


def localisation_table(found: Localisation) -> pd.DataFrame:
    """Returns what the maps point at, and what random classifiers and a random point do."""
    rows = [(name, *cells(metric, proportion)) for name, metric in localisation_rows(found).items()]
    return pd.DataFrame(rows, columns=["measure", "value", "95 % interval"])
