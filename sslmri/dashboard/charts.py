"""The charts of the screening and performance pages. Each takes plain data and returns a Plotly figure."""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sslmri.dashboard import theme
from sslmri.dashboard.text import in_order, percent
from sslmri.diseases import DISEASES, Disease, class_title
from sslmri.models.key_measures import BASELINE_TITLES

if TYPE_CHECKING:
    pass

QUIET: dict[str, Any] = {"displayModeBar": False}
MEASURES = {"precision": "Precision", "recall": "Recall", "f1": "F1"}
_BASELINE_SYMBOLS = {
    "majority": "line-ns-open",
    "nearest_neighbour": "x-thin-open",
    "pca_logistic": "diamond-open",
    "age": "circle-open",
    "dark_fraction": "triangle-up-open",
}
HATCH = {"shape": "/", "size": 6, "fgopacity": 0.6}
_ROW = 24
_FONT_SIZE = 13


def layout(figure: go.Figure, height: int, **settings: Any) -> go.Figure:
    """Returns the figure with the given height, the common margins and the common place of the legend."""
    margin = {"l": 8, "r": 12, "t": 8, "b": 8} | settings.pop("margin", {})
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0} | settings.pop("legend", {})
    font = {"size": _FONT_SIZE, "color": theme.ink()}
    figure.update_layout(height=height, margin=margin, legend={"font": font} | legend, font=font, **settings)
    figure.update_layout(hoverlabel={"namelength": -1})
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(automargin=True, fixedrange=True, tickfont=font, title_font=font)
    return figure


def headline(table: pd.DataFrame) -> go.Figure:
    """Returns each measure with its interval and its baselines, from ``tables.headline``."""
    colours = [theme.accent()] * len(table)
    figure = estimates(table, "measure", "this model, 95 % interval", colours, "accuracy or AUROC")
    for baseline, title in BASELINE_TITLES.items():
        if table[baseline].isna().all():
            continue
        figure.add_scatter(
            x=table[baseline],
            y=table["measure"],
            mode="markers",
            name=f"baseline: {title}",
            marker={"symbol": _BASELINE_SYMBOLS[baseline], "size": 11, "color": theme.REFERENCE, "line": {"width": 2}},
            hovertemplate=f"{title}: %{{x:.2f}}<extra></extra>",
        )
    return layout(figure, 44 * len(table) + 90)


def estimates(table: pd.DataFrame, by: str, name: str, colours: Sequence[str], title: str) -> go.Figure:
    """Returns each value between 0 and 1 with its interval, and the raw value where none can be estimated.

    Args:
        table: one row per value, with the columns of an ``Estimate``.
        by: column that names the rows.
        name: of the values in the legend.
        colours: of the rows.
        title: of the axis.
    """
    is_known = table["value"].notna()
    known, unknown = table[is_known], table[~is_known & table["raw"].notna()]
    figure = go.Figure()
    figure.add_scatter(
        x=known["value"],
        y=known[by],
        error_x={
            "array": known["high"] - known["value"],
            "arrayminus": known["value"] - known["low"],
            "color": theme.ink(),
            "width": 5,
        },
        mode="markers",
        name=name,
        marker={"size": 11, "color": list(compress(colours, is_known))},
        customdata=known[["low", "high"]],
        hovertemplate="%{x:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra></extra>",
    )
    if len(unknown):
        figure.add_scatter(
            x=unknown["raw"],
            y=unknown[by],
            mode="markers",
            name="not estimable, raw value",
            marker={"size": 11, "color": theme.MISSING, "symbol": "circle-open", "line": {"width": 2}},
            customdata=unknown[["reason"]],
            hovertemplate="raw %{x:.2f}: %{customdata[0]}<extra></extra>",
        )
    figure.update_xaxes(range=[-0.02, 1.02], dtick=0.2, title=title, zeroline=False)
    for name in table[by]:  # above its line: to its left, long names would leave no room on a phone
        figure.add_annotation(x=0, y=name, text=name, xanchor="left", yshift=12, showarrow=False)
    rows = list(table[by])[::-1]
    figure.update_yaxes(categoryorder="array", categoryarray=rows, showgrid=True, showticklabels=False)
    return figure


def confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> go.Figure:
    """Returns a confusion matrix: counts and fractions of the row; rows are the truth."""
    matrix = np.asarray(counts, dtype=float)
    sums = matrix.sum(axis=1, keepdims=True)
    fractions = np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0)
    text = [
        [f"<b>{n:.0f}</b><br>{percent(s)}" for n, s in zip(*row, strict=True)]
        for row in zip(matrix, fractions, strict=True)
    ]
    titles = [_narrow(label) for label in labels]
    figure = go.Figure(
        go.Heatmap(
            z=fractions,
            x=titles,
            y=[f"{title} " for title in titles],
            text=text,
            texttemplate="%{text}",
            textfont={"size": 12},
            zmin=0,
            zmax=1,
            colorscale=[[0, theme.faint()], [1, theme.accent()]],
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="truth %{y}<br>predicted %{x}<br>%{z:.0%} of the row<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", title="truth", showgrid=False)
    figure.update_xaxes(title="predicted", showgrid=False, tickangle=0)
    return layout(figure, 70 * len(titles) + 90)


def class_bars(table: pd.DataFrame, disease: Disease) -> go.Figure:
    """Returns precision, recall and F1 of each class with intervals, from ``tables.per_class``."""
    colours = theme.class_colours(disease)
    figure = make_subplots(cols=3, shared_yaxes=True, subplot_titles=list(MEASURES.values()), horizontal_spacing=0.06)
    for column, measure in enumerate(MEASURES, start=1):
        for trace in _measure_bars(table[table["measure"] == measure], colours):
            figure.add_trace(trace, row=1, col=column)
    figure.update_annotations(font_size=_FONT_SIZE)
    figure.update_xaxes(range=[0, 1.45], tickvals=[0, 0.5, 1], zeroline=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return layout(figure, 48 * len(disease.classes) + 90, showlegend=False, bargap=0.45, margin={"t": 30})


def _measure_bars(rows: pd.DataFrame, colours: Mapping[str, str]) -> tuple[go.Bar, go.Scatter]:
    """Returns the bars of one measure with their intervals, and their values as text to the right of them."""
    is_known, labels = rows["value"].notna(), [_narrow(label) for label in rows["label"]]
    shown = rows["value"].fillna(rows["raw"]).fillna(0.0)
    colour = [colours[label] if known else theme.MISSING for label, known in zip(rows["label"], is_known, strict=True)]
    words = [
        f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f})" if known else f"not estimable: {row.reason}"
        for row, known in zip(rows.itertuples(), is_known, strict=True)
    ]
    bars = go.Bar(
        x=shown,
        y=labels,
        orientation="h",
        marker={
            "color": colour,
            "opacity": [1.0 if known else 0.5 for known in is_known],
            "pattern": {**HATCH, "shape": ["" if known else "/" for known in is_known]},
        },
        error_x={
            "array": rows["high"] - rows["value"],
            "arrayminus": rows["value"] - rows["low"],
            "color": theme.ink(),
            "thickness": 1.5,
            "width": 4,
        },
        customdata=words,
        hovertemplate="%{y}: %{customdata}<extra></extra>",
    )
    values = [f"{value:.2f}{'' if known else '*'}" for value, known in zip(shown, is_known, strict=True)]
    text: dict[str, Any] = {"mode": "text", "text": values, "textposition": "middle right", "cliponaxis": False}
    return bars, go.Scatter(x=[1.05] * len(rows), y=labels, hoverinfo="skip", **text)


def loss_line(table: pd.DataFrame, title: str) -> go.Figure:
    """Returns the loss by epoch, from ``tables.history``."""
    figure = go.Figure(
        go.Scatter(
            x=table["epoch"],
            y=table["loss"],
            mode="lines+markers",
            line={"color": theme.accent(), "width": 2},
            hovertemplate="epoch %{x}: %{y:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="epoch", rangemode="tozero", zeroline=False)
    figure.update_yaxes(title=title, rangemode="tozero")
    return layout(figure, 260, showlegend=False)


def disease_lines(table: pd.DataFrame, title: str) -> go.Figure:
    """Returns one line a disease by epoch; columns of the table other than ``epoch`` and ``loss`` are disease keys."""
    looks = theme.disease_lines(in_order(table.columns))
    figure = go.Figure()
    for key, (colour, dash) in looks.items():
        rows = table[["epoch", key]].dropna()
        figure.add_scatter(
            x=rows["epoch"],
            y=rows[key],
            mode="lines+markers",
            name=DISEASES[key].title,
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate=f"{DISEASES[key].title}, epoch %{{x}}: %{{y:.2f}}<extra></extra>",
        )
    figure.update_xaxes(title="epoch", rangemode="tozero", zeroline=False)
    figure.update_yaxes(title=title, range=[0, 1.02])
    return layout(figure, 260, showlegend=True)


def _narrow(label: str) -> str:
    """Returns a class's title with a line for each word, for axes with little room."""
    return class_title(label).replace(" ", "<br>")
