"""The figures of the encoder page: a map of features, and what neighbours share."""

from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.dashboard.encoder.features import named
from sslmri.dashboard.text import in_order
from sslmri.diseases import DISEASES, class_title

DISEASE, CLASS, COHORT, GROUP = "Disease", "Class", "Cohort", "Group"
MAP_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "toImage"],
}
_SYMBOLS = ("circle", "diamond", "square", "x")  # a second sign where cohorts are more than hues
_HEIGHT = 540
_BAR_ROW = 44


def feature_map(points: pd.DataFrame, by: str, chosen: list[int], near: list[int]) -> go.Figure:
    """Returns the map of slices, coloured by what ``by`` says.

    Args:
        points: one row a slice, of ``case_table`` with its columns ``x``, ``y`` and ``row``, its row in the bank.
        by: ``DISEASE``, ``CLASS`` (of one disease), ``COHORT`` or ``GROUP``, which has no colours: hover says it.
        chosen: bank rows chosen; one is ringed with its neighbours, of several the others fade.
        near: bank rows of the neighbours of the one that is chosen.
    """
    figure = go.Figure()
    for name, own, colour, symbol in _parts(points, by):
        is_chosen = np.flatnonzero(own["row"].isin(chosen)) if len(chosen) > 1 else None
        figure.add_scatter(
            x=own["x"],
            y=own["y"],
            mode="markers",
            name=escape(name, quote=False),  # a cohort's comes from a file; Plotly shows &quot; as it is
            customdata=own[["row"]],
            text=[_hover(case) for case in own.itertuples()],
            hovertemplate="%{text}<extra></extra>",
            marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.75},
            selectedpoints=is_chosen,
            unselected={"marker": {"opacity": 0.15}},
        )
    if len(chosen) == 1:
        _add_rings(figure, points, chosen, "chosen", "diamond-open", 15)
        _add_rings(figure, points, near, "its nearest", "circle-open", 12)
    figure.update_layout(dragmode="pan", clickmode="event+select", hovermode="closest")
    layout(figure, _HEIGHT, legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0, "title": None})
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, fixedrange=False)
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, fixedrange=False)
    return figure


def shares(table: pd.DataFrame) -> go.Figure:
    """Returns a bar for each property that neighbours may share, with a tick at chance, from ``neighbour_shares``."""
    names = [f"same {name}" for name in table["shared"]]
    figure = go.Figure()
    figure.add_bar(
        x=table["share"],
        y=names,
        orientation="h",
        name="nearest neighbours",
        marker={"color": theme.accent()},
        width=0.55,
        text=[f"{value:.2f}" for value in table["share"]],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure.add_scatter(
        x=table["chance"],
        y=names,
        mode="markers",
        name="drawn at random",
        marker={"symbol": "line-ns-open", "size": 18, "color": theme.ink(), "line": {"width": 2}},
        hovertemplate="%{y}, drawn at random: %{x:.2f}<extra></extra>",
    )
    figure.update_xaxes(range=[0, 1.1], tickvals=[0, 0.25, 0.5, 0.75, 1], title="mean share of the five nearest")
    figure.update_yaxes(autorange="reversed")
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    return layout(figure, 96 + _BAR_ROW * len(table), showlegend=True, legend=legend)


def _parts(points: pd.DataFrame, by: str) -> Iterator[tuple[str, pd.DataFrame, str, str]]:
    """Yields name, slices, colour and symbol of each part of the map."""
    if by == GROUP:
        yield "slices", points, theme.REFERENCE, "circle"
    elif by == COHORT:
        hues = theme.cycle()
        for place, cohort in enumerate(sorted(points["cohort"].unique())):
            yield cohort, points[points["cohort"] == cohort], next(hues), _SYMBOLS[place // 4 % len(_SYMBOLS)]
    elif by == DISEASE:
        for key, (colour, _) in theme.disease_lines(in_order(points["disease"])).items():
            yield DISEASES[key].title, points[points["disease"] == key], colour, "circle"
        rest = points[~points["disease"].isin(list(DISEASES))]
        if len(rest):
            yield "not labelled", rest, theme.MISSING, "circle"
    else:
        disease = DISEASES[points["disease"].iloc[0]]
        for label, colour in theme.class_colours(disease).items():
            yield class_title(label), points[points["label"] == label], colour, "circle"


def _hover(case: Any) -> str:
    """Returns what hover says of a slice; names come from files, so no sign of theirs is read as markup."""
    where = f"group {case.group}, slice {case.slice}" if case.slice is not None else f"group {case.group}"
    parts = (named(case.disease, case.label), case.cohort, where, case.split)
    return "<br>".join(escape(str(part), quote=False) for part in parts)


def _add_rings(figure: go.Figure, points: pd.DataFrame, rows: list[int], name: str, symbol: str, size: int) -> None:
    """Rings the slices of these bank rows, as far as the map shows them."""
    own = points[points["row"].isin(rows)]
    figure.add_scatter(
        x=own["x"],
        y=own["y"],
        mode="markers",
        name=name,
        hoverinfo="skip",
        marker={"symbol": symbol, "size": size, "color": theme.ink(), "line": {"width": 2}},
    )
