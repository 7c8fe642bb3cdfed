"""The charts of the encoder page: a map of features, and what nearest neighbours have in common."""

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

DISEASE, CLASS, COHORT = "Disease", "Class", "Cohort"
MAP_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "toImage"],
}
_SYMBOLS = ("circle", "diamond", "square", "x")  # where there are more cohorts than hues
_HEIGHT = 540
_BAR_ROW = 44


def feature_map(points: pd.DataFrame, by: str, selected: list[int], nearest: list[int]) -> go.Figure:
    """Returns the map of slices, coloured by ``by``.

    Args:
        points: one row per slice, of ``case_table`` with its columns ``x``, ``y`` and ``row``, its row in the bank.
        by: ``DISEASE``, ``CLASS`` (of one disease) or ``COHORT``.
        selected: bank rows selected; one is ringed with its neighbours, of several the others fade.
        nearest: bank rows of the neighbours of the one that is selected.
    """
    figure = go.Figure()
    for name, part, colour, symbol in _parts(points, by):
        is_selected = np.flatnonzero(part["row"].isin(selected)) if len(selected) > 1 else None
        figure.add_scatter(
            x=part["x"],
            y=part["y"],
            mode="markers",
            name=escape(name, quote=False),  # a cohort's comes from a file; Plotly shows &quot; as it is
            customdata=part[["row"]],
            text=[_hover(case) for case in part.itertuples()],
            hovertemplate="%{text}<extra></extra>",
            marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.75},
            selectedpoints=is_selected,
            unselected={"marker": {"opacity": 0.15}},
        )
    if len(selected) == 1:
        for rows, name, symbol, size in ((selected, "selected", "diamond", 15), (nearest, "nearest", "circle", 12)):
            ringed = points[points["row"].isin(rows)]
            marker = {"symbol": f"{symbol}-open", "size": size, "color": theme.ink(), "line": {"width": 2}}
            figure.add_scatter(x=ringed["x"], y=ringed["y"], mode="markers", name=name, hoverinfo="skip", marker=marker)
    figure.update_layout(dragmode="pan", clickmode="event+select", hovermode="closest")
    layout(figure, _HEIGHT, legend={"y": -0.02, "yanchor": "top", "title": None})
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(showticklabels=False, showgrid=False, zeroline=False, fixedrange=False)
    return figure


def agreement(table: pd.DataFrame) -> go.Figure:
    """Returns a bar for each property that neighbours may have in common, with a tick at chance.

    Args:
        table: from ``neighbour_agreement``.
    """
    names = [f"same {name}" for name in table["in common"]]
    figure = go.Figure()
    figure.add_bar(
        x=table["fraction"],
        y=names,
        orientation="h",
        name="nearest neighbours",
        marker={"color": theme.accent()},
        width=0.55,
        text=[f"{value:.2f}" for value in table["fraction"]],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure.add_scatter(
        x=table["chance"],
        y=names,
        mode="markers",
        name="random pairs",
        marker={"symbol": "line-ns-open", "size": 18, "color": theme.ink(), "line": {"width": 2}},
        hovertemplate="%{y}, random pairs: %{x:.2f}<extra></extra>",
    )
    figure.update_xaxes(range=[0, 1.1], tickvals=[0, 0.25, 0.5, 0.75, 1], title="mean fraction of the five nearest")
    figure.update_yaxes(autorange="reversed")
    return layout(figure, 96 + _BAR_ROW * len(table), showlegend=True)


def _parts(points: pd.DataFrame, by: str) -> Iterator[tuple[str, pd.DataFrame, str, str]]:
    """Yields name, slices, colour and symbol of each part of the map."""
    if by == COHORT:
        hues = theme.cycle()
        for position, cohort in enumerate(sorted(points["cohort"].unique())):
            yield cohort, points[points["cohort"] == cohort], next(hues), _SYMBOLS[position // 4 % len(_SYMBOLS)]
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
    """Returns the hover text of a slice; names come from files, so none of their characters is read as markup."""
    number = "" if case.slice is None else f", slice {case.slice}"
    parts = (named(case.disease, case.label), case.cohort, f"group {case.group}{number}", case.split)
    return "<br>".join(escape(str(part), quote=False) for part in parts)
