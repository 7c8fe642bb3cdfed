"""Curves of the performance page: ROC, precision and recall, and whether probabilities mean what they say."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.dashboard.text import proportion
from sslmri.diseases import Disease, class_title

_HEIGHT = 400
_LARGEST = 28  # pixels across the marker of the bin with the most cases


def roc(curves: pd.DataFrame, disease: Disease, areas: Mapping[str, float | None]) -> go.Figure:
    """Returns the ROC curve of each class against the rest, from ``evidence.curves``."""
    figure = go.Figure()
    _add_diagonal(figure, showlegend=False)
    hover = "sensitivity %{y:.2f}, 1 - specificity %{x:.2f}"
    _add_classes(figure, curves, disease, areas, "area", "false_positive_rate", "true_positive_rate", hover)
    figure.update_xaxes(range=[-0.01, 1.01], title="1 - specificity", zeroline=False)
    figure.update_yaxes(range=[-0.01, 1.01], title="sensitivity", zeroline=False)
    return layout(figure, _HEIGHT)


def precision_recall(curves: pd.DataFrame, disease: Disease, areas: Mapping[str, float | None]) -> go.Figure:
    """Returns the precision-recall curve of each class against the rest, from ``evidence.curves``."""
    figure = go.Figure()
    hover = "precision %{y:.2f}, recall %{x:.2f}"
    _add_classes(figure, curves, disease, areas, "average precision", "true_positive_rate", "precision", hover)
    figure.update_xaxes(range=[-0.01, 1.01], title="recall", zeroline=False)
    figure.update_yaxes(range=[-0.01, 1.01], title="precision", zeroline=False)
    return layout(figure, _HEIGHT, showlegend=True)


def reliability(table: pd.DataFrame) -> go.Figure:
    """Returns how often the most probable class is right for each height of its probability.

    Args:
        table: from ``tables.reliability``.
    """
    figure = go.Figure()
    _add_diagonal(figure, name="perfect calibration")
    figure.add_scatter(
        x=table["probability"],
        y=table["accuracy"],
        mode="lines+markers",
        name="observed (marker area: number of slices)",
        line={"color": theme.accent(), "width": 1.5},
        marker={
            "color": theme.accent(),
            "size": table["n_cases"],
            "sizemode": "area",
            "sizeref": max(table["n_cases"].max(), 1) / _LARGEST**2 if len(table) else 1,
            "sizemin": 4,
            "opacity": 0.8,
        },
        customdata=table[["low", "high", "n_cases", "n_groups"]],
        hovertemplate="confidence %{x:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f}), accuracy %{y:.2f}<br>"
        "%{customdata[2]} slices of %{customdata[3]} groups<extra></extra>",
    )
    figure.update_xaxes(range=[-0.01, 1.03], title="confidence", zeroline=False)
    figure.update_yaxes(range=[-0.01, 1.03], title="accuracy", zeroline=False)
    return layout(figure, _HEIGHT, showlegend=True)


def _add_diagonal(figure: go.Figure, **settings: Any) -> None:
    line = {"color": theme.MISSING, "dash": "dash", "width": 1}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, hoverinfo="skip", **settings)


def _add_classes(
    figure: go.Figure,
    curves: pd.DataFrame,
    disease: Disease,
    areas: Mapping[str, float | None],
    title: str,
    x: str,
    y: str,
    hover: str,
) -> None:
    """Adds the curve of each class, dotted where the area below it cannot be estimated.

    Args:
        figure: to be added to.
        curves: from ``evidence.curves``.
        disease: whose classes they are of.
        areas: below the curves, by class.
        title: what the area is called.
        x, y: columns of the curves.
        hover: how a point is described.
    """
    colours = theme.class_colours(disease)
    for label, rows in curves.groupby("label", sort=False):
        area = areas.get(str(label))
        words = "not estimable" if area is None else proportion(area)
        figure.add_scatter(
            x=rows[x],
            y=rows[y],
            mode="lines",
            name=f"{class_title(str(label))}, {title} {words}",
            line={"color": colours[str(label)], "width": 2.5, "dash": "dot" if area is None else "solid"},
            customdata=rows[["threshold"]],
            hovertemplate=f"{hover}, at p = %{{customdata[0]:.2f}}<extra></extra>",
        )
