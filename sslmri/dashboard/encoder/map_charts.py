"""The charts of the encoder page: losses and scores by epoch, and a map of features."""

from html import escape
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.dashboard.encoder.features import class_names
from sslmri.diseases import DISEASES, class_title

DISEASE, CLASS, COHORT = "Disease", "Class", "Cohort"
MAP_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "toImage"],
}
_SYMBOLS = ("circle", "diamond", "square", "x")  # where there are more cohorts than hues
_HEIGHT = 540


def by_epoch(history: pd.DataFrame, colours: dict[str, str], title: str) -> go.Figure:
    """Returns a line by epoch for each column of a history, one row per epoch, that has a colour."""
    names = [name for name in colours if name in history]
    figure = px.line(
        history.melt("epoch", names, "series", title).dropna(),
        x="epoch",
        y=title,
        color="series",
        line_dash="series",
        markers=True,
        render_mode="svg",
        color_discrete_map=colours,
        hover_data={title: ":.3g"},
    )
    figure.update_xaxes(rangemode="tozero", zeroline=False)
    figure.update_yaxes(rangemode="tozero")
    return layout(figure, 260, showlegend=len(names) > 1)


def feature_map(points: pd.DataFrame, by: str, selected: list[int], nearest: list[int]) -> go.Figure:
    """Returns the map of slices, coloured by ``DISEASE``, ``CLASS`` (of one disease) or ``COHORT``.

    Points are of ``case_table``, with columns ``x``, ``y`` and ``row``, the row in the bank. Of the bank rows selected
    a single one is ringed with its nearest; of several the others fade.
    """
    parts, colours = _parts(points, by)
    figure = px.scatter(
        points.assign(part=parts, hover=_hover(points)),
        x="x",
        y="y",
        color="part",
        symbol="part",
        hover_name="hover",
        custom_data=["row"],
        render_mode="svg",
        category_orders={"part": list(colours)},
        color_discrete_map=colours,
        symbol_map={part: _SYMBOLS[number // 4 % len(_SYMBOLS)] for number, part in enumerate(colours)},
    )
    hover = "%{hovertext}<extra></extra>"
    figure.update_traces(marker={"size": 6, "opacity": 0.75}, unselected_marker_opacity=0.15, hovertemplate=hover)
    if len(selected) > 1:
        figure.for_each_trace(
            lambda trace: trace.update(selectedpoints=np.flatnonzero(np.isin(trace.customdata[:, 0], selected)))
        )
    if len(selected) == 1:
        for rows, name, symbol, size in ((selected, "selected", "diamond", 15), (nearest, "nearest", "circle", 12)):
            ringed = points[points["row"].isin(rows)]
            marker = {"symbol": f"{symbol}-open", "size": size, "color": theme.ink(), "line": {"width": 2}}
            figure.add_scatter(x=ringed["x"], y=ringed["y"], mode="markers", name=name, hoverinfo="skip", marker=marker)
    figure.update_layout(dragmode="pan", clickmode="event+select", hovermode="closest")
    layout(figure, _HEIGHT, legend={"y": -0.09, "yanchor": "top"})
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(showticklabels=False, showgrid=False, zeroline=False, fixedrange=False, title_text=None)
    return figure


def _parts(points: pd.DataFrame, by: str) -> tuple[pd.Series, dict[str, str]]:
    """Returns the part of the map that each slice belongs to, and the colour of each part in their order."""
    if by == COHORT:  # a cohort's name comes from a file; Plotly shows &quot; as it is
        cohorts = points["cohort"].map(lambda name: escape(name, quote=False))
        return cohorts, dict(zip(sorted(cohorts.unique()), cycle(theme.HUES), strict=False))
    if by == DISEASE:
        titles = {key: disease.title for key, disease in DISEASES.items()}
        return points["disease"].map(titles), theme.disease_colours()
    disease = DISEASES[points["disease"].iloc[0]]
    return points["label"].map(class_title), {class_title(k): v for k, v in theme.class_colours(disease).items()}


def _hover(points: pd.DataFrame) -> list[str]:
    """Returns the hover text of each slice; names come from files, so none of their characters is read as markup."""
    numbers = ["" if number is None else f", slice {number}" for number in points["slice"]]
    groups = "group " + points["group"] + numbers
    parts = zip(class_names(points), points["cohort"], groups, points["split"], strict=True)
    return ["<br>".join(escape(part, quote=False) for part in row) for row in parts]
