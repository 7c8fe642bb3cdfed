"""Does pre-training help? The label-efficiency curves of a model, on the performance page."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.dashboard.model_evidence import EVIDENCE
from sslmri.dashboard.section import draw_chart, draw_notes
from sslmri.dashboard.text import count, escape_markdown
from sslmri.diseases import Disease
from sslmri.errors import ModelError
from sslmri.evidence.efficiency import (
    ENCODER_TITLES,
    FINETUNE,
    FLOOR,
    MEASURES,
    PIXELS,
    PROBE,
    RANDOM,
    SIMCLR,
    read_label_efficiency,
)
from sslmri.models.cards import ModelCard

_COLUMNS = ["labels", "value", "low", "high", "raw", "reason"]
_REGIME_TITLES = {PROBE: "linear probe", FINETUNE: "fine-tuned", FLOOR: ""}
_DASHES = {PROBE: "solid", FINETUNE: "dash", FLOOR: "dot"}
_SYMBOLS = {SIMCLR: "circle", RANDOM: "square", PIXELS: "diamond-open"}
_SHIFT = 1.035  # between the points of two curves at one budget, so that their intervals can be told apart
_HEIGHT = 340
_NOT_MEASURED = (
    "Whether pre-training helps has not been measured for this model yet: run `python train.py label-efficiency`, "
    "then load this page again."
)
_OF_ANOTHER = (
    "The label efficiency beside this model is of another pre-training: run `python train.py label-efficiency` again."
)


def draw_label_efficiency(card: ModelCard, disease: Disease) -> None:
    """Draws what each encoder reaches by labels a class, and how far SimCLR is above the others; or why not."""
    st.subheader("Does pre-training help?")
    try:
        content = read_label_efficiency(card.folder / EVIDENCE)
    except ModelError as error:
        st.caption(escape_markdown(str(error)))
        return
    if content is None:
        st.caption(_NOT_MEASURED)
        return
    if (content["encoder_created"], content["groups_sha256"]) != (card.encoder.created, card.encoder.groups_sha256):
        st.caption(_OF_ANOTHER)
        return
    result = content["diseases"].get(disease.key)
    if result is None:
        st.caption(f"{disease.title} was not measured: it is not on both the training and the test side.")
        return
    _draw_result(content, result, disease)


def _draw_result(content: Mapping[str, Any], result: Mapping[str, Any], disease: Disease) -> None:
    there = {row["measure"] for row in result["curves"]}
    titles = {name: title.format(unit=result["unit"]) for name, title in MEASURES.items() if name in there}
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
    tested = f"Tested on {count(result['n_groups'], 'group')} with {count(result['n_slices'], 'slice')}"
    left, right = st.columns(2, gap="large")
    with left:
        draw_chart(
            f"{titles[measure]}, by labels a class",
            efficiency_curves(curves, titles[measure]),
            curves,
            f"label-efficiency-{measure}-{disease.key}",
            f"{tested}, protocol {content['protocol']}. Grey and hollow: not estimable from so few groups.",
        )
    with right:
        draw_chart(
            f"{titles[measure]}: SimCLR minus the others",
            efficiency_differences(gains),
            gains,
            f"label-efficiency-gain-{measure}-{disease.key}",
            f"{tested}, on the same labels and the same resamples. Pre-training helps where the interval is above 0.",
        )
    draw_notes([*_reasons(curves), *result["notes"], *content["notes"]])


def curve_table(result: Mapping[str, Any], measure: str) -> pd.DataFrame:
    """Returns one row a point of the curves of a measure: encoder, regime, labels a class, figure and interval."""
    return _table(result["curves"], measure, ["encoder", "regime"])


def difference_table(result: Mapping[str, Any], measure: str) -> pd.DataFrame:
    """Returns one row a difference of a measure: against which encoder, regime, labels, figure and interval."""
    return _table(result["differences"], measure, ["against", "regime"])


def efficiency_curves(table: pd.DataFrame, title: str) -> go.Figure:
    """Returns a line with intervals for each encoder and regime, labels a class on a logarithmic axis."""
    colours = {SIMCLR: theme.accent(), RANDOM: theme.REFERENCE, PIXELS: theme.ink()}
    figure = _lines(table, "encoder", colours, ENCODER_TITLES)
    figure.update_yaxes(title=title, range=[0, 1.02])
    return figure


def efficiency_differences(table: pd.DataFrame) -> go.Figure:
    """Returns a line with intervals for what SimCLR is compared with, and the line of no difference."""
    colours = {RANDOM: theme.accent(), PIXELS: theme.ink()}
    figure = _lines(table, "against", colours, {own: f"against {ENCODER_TITLES[own]}" for own in (RANDOM, PIXELS)})
    figure.add_hline(y=0, line={"color": theme.MISSING, "width": 1})
    figure.update_yaxes(title="difference", zeroline=False)
    return figure


def _lines(table: pd.DataFrame, by: str, colours: Mapping[str, str], titles: Mapping[str, str]) -> go.Figure:
    figure = go.Figure()
    runs = list(table.groupby([by, "regime"], sort=False))
    for place, ((name, regime), own) in enumerate(runs):
        shifted = own["labels"] * _SHIFT ** (place - (len(runs) - 1) / 2)
        known = own["value"].notna()
        regime_title = _REGIME_TITLES[str(regime)]
        full = titles[str(name)] + (f", {regime_title}" if regime_title else "")
        colour = colours[str(name)] if known.all() else theme.MISSING
        figure.add_scatter(
            x=shifted,
            y=own["raw"],
            error_y={
                "array": (own["high"] - own["value"]).fillna(0),
                "arrayminus": (own["value"] - own["low"]).fillna(0),
                "thickness": 1.5,
                "width": 4,
            },
            mode="lines+markers",
            name=full,
            line={"color": colour, "dash": _DASHES[str(regime)], "width": 2},
            marker={"symbol": _SYMBOLS[str(name)] if known.all() else "circle-open", "size": 8},
            customdata=own[["labels", "low", "high"]],
            hovertemplate=f"{full}, %{{customdata[0]}} labels: %{{y:.2f}}"
            + (" (%{customdata[1]:.2f} to %{customdata[2]:.2f})" if known.all() else ", not estimable")
            + "<extra></extra>",
        )
    budgets = sorted(table["labels"].unique().tolist())
    figure.update_xaxes(type="log", title="labelled slices a class", tickvals=budgets, ticktext=list(map(str, budgets)))
    return layout(figure, _HEIGHT, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})


def _table(rows: Sequence[Mapping[str, Any]], measure: str, names: list[str]) -> pd.DataFrame:
    own = [{name: row[name] for name in [*names, *_COLUMNS]} for row in rows if row["measure"] == measure]
    table = pd.DataFrame(own, columns=[*names, *_COLUMNS]).astype(dict.fromkeys(["value", "low", "high", "raw"], float))
    order = {name: place for place, name in enumerate((*ENCODER_TITLES, *_REGIME_TITLES))}
    return table.sort_values([*names, "labels"], key=lambda column: column.map(order).fillna(column), ignore_index=True)


def _reasons(table: pd.DataFrame) -> list[str]:
    """Returns why figures of a table are not estimable, each reason once."""
    return [f"{reason[0].upper()}{reason[1:]}." for reason in table["reason"].dropna().unique()]
