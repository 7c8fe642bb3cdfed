"""Does pre-training help? The label-efficiency curves of a model, on the performance page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.dashboard.section import draw_chart, draw_notes, try_read
from sslmri.dashboard.text import count
from sslmri.diseases import Disease
from sslmri.evidence.efficiency import BASELINE, ENCODER_TITLES, FINETUNE, MEASURES, PIXELS, PROBE, RANDOM, SIMCLR
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import DiseaseEfficiency, LabelEfficiency, Point, find_evidence

_COLUMNS = ["labels", "value", "low", "high", "raw", "reason"]
_REGIME_TITLES = {PROBE: "linear probe", FINETUNE: "fine-tuned", BASELINE: ""}
_DASHES = {PROBE: "solid", FINETUNE: "dash", BASELINE: "dot"}
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
    curves, gains = curve_table(result, measure), difference_table(result, measure)
    tested = f"Tested on {count(result.n_groups, 'group')} with {count(result.n_slices, 'slice')}"
    left, right = st.columns(2, gap="large")
    with left:
        draw_chart(
            f"{titles[measure]}, by labels per class",
            efficiency_curves(curves, titles[measure]),
            curves,
            f"label-efficiency-{measure}-{disease.key}",
            f"{tested}, protocol {evidence.protocol}. Grey and hollow: not estimable from so few groups.",
        )
    with right:
        draw_chart(
            f"{titles[measure]}: SimCLR minus the others",
            efficiency_differences(gains),
            gains,
            f"label-efficiency-gain-{measure}-{disease.key}",
            f"{tested}, on the same labels and the same resamples. Pre-training helps where the interval is above 0.",
        )
    draw_notes([*_reasons(curves), *result.notes, *evidence.notes])


def curve_table(result: DiseaseEfficiency, measure: str) -> pd.DataFrame:
    """Returns one row per point of the curves of a measure: encoder, regime, labels per class, value and interval."""
    return _table(result.curves, measure, ["encoder", "regime"])


def difference_table(result: DiseaseEfficiency, measure: str) -> pd.DataFrame:
    """Returns one row per difference of a measure: against which encoder, regime, labels, value and interval."""
    return _table(result.differences, measure, ["against", "regime"])


def efficiency_curves(table: pd.DataFrame, title: str) -> go.Figure:
    """Returns a line with intervals for each encoder and regime, labels per class on a logarithmic axis."""
    colours = {SIMCLR: theme.accent(), RANDOM: theme.REFERENCE, PIXELS: theme.ink()}
    figure = _lines(table, "encoder", colours, ENCODER_TITLES)
    figure.update_yaxes(title=title, range=[0, 1.02])
    return figure


def efficiency_differences(table: pd.DataFrame) -> go.Figure:
    """Returns a line with intervals for what SimCLR is compared with, and the line of no difference."""
    colours = {RANDOM: theme.accent(), PIXELS: theme.ink()}
    figure = _lines(table, "against", colours, {name: f"against {ENCODER_TITLES[name]}" for name in (RANDOM, PIXELS)})
    figure.add_hline(y=0, line={"color": theme.MISSING, "width": 1})
    figure.update_yaxes(title="difference", zeroline=False)
    return figure


def _lines(table: pd.DataFrame, by: str, colours: Mapping[str, str], titles: Mapping[str, str]) -> go.Figure:
    figure = go.Figure()
    runs = list(table.groupby([by, "regime"], sort=False))
    for position, ((name, regime), rows) in enumerate(runs):
        shifted = rows["labels"] * _SHIFT ** (position - (len(runs) - 1) / 2)
        known = rows["value"].notna()
        regime_title = _REGIME_TITLES[str(regime)]
        full = titles[str(name)] + (f", {regime_title}" if regime_title else "")
        colour = colours[str(name)] if known.all() else theme.MISSING
        figure.add_scatter(
            x=shifted,
            y=rows["raw"],
            error_y={
                "array": (rows["high"] - rows["value"]).fillna(0),
                "arrayminus": (rows["value"] - rows["low"]).fillna(0),
                "thickness": 1.5,
                "width": 4,
            },
            mode="lines+markers",
            name=full,
            line={"color": colour, "dash": _DASHES[str(regime)], "width": 2},
            marker={"symbol": _SYMBOLS[str(name)] if known.all() else "circle-open", "size": 8},
            customdata=rows[["labels", "low", "high"]],
            hovertemplate=f"{full}, %{{customdata[0]}} labels: %{{y:.2f}}"
            + (" (%{customdata[1]:.2f} to %{customdata[2]:.2f})" if known.all() else ", not estimable")
            + "<extra></extra>",
        )
    budgets = sorted(table["labels"].unique().tolist())
    figure.update_xaxes(
        type="log", title="labelled slices per class", tickvals=budgets, ticktext=list(map(str, budgets))
    )
    return layout(figure, _HEIGHT)


def _table(points: Sequence[Point], measure: str, names: list[str]) -> pd.DataFrame:
    rows = [
        {**{name: getattr(point, name) for name in [*names, "labels"]}, **asdict(point.estimate)}
        for point in points
        if point.measure == measure
    ]
    table = pd.DataFrame(rows, columns=[*names, *_COLUMNS]).astype(
        dict.fromkeys(["value", "low", "high", "raw"], float)
    )
    order = {name: position for position, name in enumerate((*ENCODER_TITLES, *_REGIME_TITLES))}
    return table.sort_values([*names, "labels"], key=lambda column: column.map(order).fillna(column), ignore_index=True)


def _reasons(table: pd.DataFrame) -> list[str]:
    """Returns why values of a table are not estimable, each reason once."""
    return [f"{reason[0].upper()}{reason[1:]}." for reason in table["reason"].dropna().unique()]
