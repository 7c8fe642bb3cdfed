"""Does pre-training help? The label-efficiency curves of a model, on the performance page."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import streamlit as st

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout, with_intervals
from sslmri.dashboard.performance import tables
from sslmri.dashboard.section import draw_chart, draw_notes, try_read
from sslmri.dashboard.text import count
from sslmri.diseases import Disease
from sslmri.evidence.efficiency import ENCODER_TITLES, FINETUNE, MEASURES, PIXELS, PROBE, RANDOM, SIMCLR
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import DiseaseEfficiency, LabelEfficiency, find_evidence
from sslmri.text import capital

_REGIMES = {PROBE: (", linear probe", "solid"), FINETUNE: (", fine-tuned", "dash")}  # title, line
_BASELINE = ("", "dot")
_SYMBOLS = {SIMCLR: "circle", RANDOM: "square", PIXELS: "diamond-open"}
_SHIFT = 1.035  # between the points of two curves at one budget, so that their intervals can be distinguished
_HEIGHT = 340
_NOT_MEASURED = (
    "Whether pre-training helps has not been measured for this model yet: run `python train.py label-efficiency`, "
    "then load this page again."
)


def draw_label_efficiency(card: ModelCard, disease: Disease) -> None:
    """Draws what each encoder reaches by labels per class, and how far SimCLR is above the others; or why not."""
    evidence = try_read(find_evidence, card, LabelEfficiency)
    if evidence is None:
        st.caption(_NOT_MEASURED)
        return
    result = evidence.diseases.get(disease.key)
    if result is None:
        st.caption(f"{disease.title} was not measured: it is not in both the training and the test split.")
        return
    _draw_result(evidence, result, disease)


def _draw_result(evidence: LabelEfficiency, result: DiseaseEfficiency, disease: Disease) -> None:
    there = {point.measure for point in result.curves}
    titles = {name: title.format(unit=result.unit) for name, title in MEASURES.items() if name in there}
    measure = st.segmented_control(
        "Measure",
        list(titles),
        format_func=lambda name: titles[name],
        required=True,
        wrap=True,
        default=next(iter(titles)),
        key=f"efficiency-measure-{disease.key}",
    )
    curves = tables.efficiency(result.curves, measure, "encoder")
    gains = tables.efficiency(result.differences, measure, "against")
    st.markdown(" ".join(_conclusion(str(rival), table) for rival, table in gains.groupby("against", sort=False)))
    tested = f"Tested on {count(result.n_groups, 'group')} with {count(result.n_slices, 'slice')}"
    left, right = st.columns(2, gap="large")
    with left:
        draw_chart(
            f"{titles[measure]}, by labels per class",
            efficiency_curves(curves, titles[measure]),
            curves,
            f"label-efficiency-{measure}-{disease.key}",
            f"{tested}, {tables.SPLIT_TITLES[evidence.protocol]}. Grey and hollow: not estimable from so few groups.",
        )
    with right:
        draw_chart(
            f"{titles[measure]}: SimCLR minus the others",
            efficiency_differences(gains),
            gains,
            f"label-efficiency-gain-{measure}-{disease.key}",
            f"{tested}, on the same labels and the same resamples. Pre-training helps where the interval is above 0.",
        )
    reasons = [f"{capital(reason)}." for reason in curves["reason"].dropna().unique()]
    draw_notes([*reasons, *result.notes, *evidence.notes])


def _conclusion(rival: str, gains: pd.DataFrame) -> str:
    """Returns whether pre-training is better than a rival: where the interval of the difference is above 0."""
    labels = ", ".join(map(str, gains.loc[gains["low"] > 0, "labels"].unique()))
    gain = f"better with {labels} labels per class" if labels else "no measurable gain"
    return f"Pre-training against {ENCODER_TITLES[rival]}: **{gain}**."


def efficiency_curves(table: pd.DataFrame, title: str) -> go.Figure:
    """Returns a line with intervals for each encoder and regime, labels per class on a logarithmic axis."""
    colours = {SIMCLR: theme.accent(), RANDOM: theme.REFERENCE, PIXELS: theme.ink()}
    figure = _lines(table, "encoder", colours, ENCODER_TITLES, title)
    return figure.update_yaxes(range=[0, 1.02])


def efficiency_differences(table: pd.DataFrame) -> go.Figure:
    """Returns a line with intervals for what SimCLR is compared with, and the line of no difference."""
    colours = {RANDOM: theme.accent(), PIXELS: theme.ink()}
    titles = {name: f"against {title}" for name, title in ENCODER_TITLES.items()}
    figure = _lines(table, "against", colours, titles, "difference")
    figure.add_hline(y=0, line={"color": theme.MISSING, "width": 1})
    return figure.update_yaxes(zeroline=False)


def _lines(
    table: pd.DataFrame, by: str, colours: Mapping[str, str], titles: Mapping[str, str], title: str
) -> go.Figure:
    curve = table.groupby([by, "regime"], sort=False).ngroup()
    is_known = table["value"].notna().groupby(curve).transform("all")
    regimes = [_REGIMES.get(regime, _BASELINE) for regime in table["regime"]]
    names = table[by].map(titles) + pd.Series([suffix for suffix, _ in regimes], dtype=object)
    figure = px.line(
        with_intervals(table).assign(x=table["labels"] * _SHIFT ** (curve - curve.max() / 2), series=names),
        x="x",
        y="shown",
        color="series",
        line_dash="series",
        symbol="series",
        error_y="up",
        error_y_minus="down",
        markers=True,
        log_x=True,
        render_mode="svg",
        color_discrete_map=dict(zip(names, np.where(is_known, table[by].map(colours), theme.MISSING), strict=True)),
        line_dash_map=dict(zip(names, [dash for _, dash in regimes], strict=True)),
        symbol_map=dict(zip(names, np.where(is_known, table[by].map(_SYMBOLS), "circle-open"), strict=True)),
        hover_data={"x": False, "labels": True, "shown": ":.2f", "note": True},
        labels={"x": "labelled slices per class", "shown": title, "note": "95 % interval"},
    )
    figure.update_traces(marker_size=8, line_width=2, error_y={"thickness": 1.5, "width": 4})
    budgets = sorted(table["labels"].unique())
    figure.update_xaxes(tickvals=budgets, ticktext=list(map(str, budgets)))
    return layout(figure, _HEIGHT)
