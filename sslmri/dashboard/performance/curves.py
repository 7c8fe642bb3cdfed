"""Curves of the performance page: precision and recall, and whether probabilities mean what they say."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.dashboard.text import proportion
from sslmri.diseases import Disease, class_title

_HEIGHT = 400
_LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
_LARGEST = 28  # pixels across the marker of the bin with the most cases


def precision_recall(curves: pd.DataFrame, disease: Disease, areas: Mapping[str, float | None]) -> go.Figure:
    """Returns the precision-recall curve of each class against the rest, from ``evidence.curves``."""
    colours = theme.class_colours(disease)
    figure = go.Figure()
    for label, own in curves.groupby("label", sort=False):
        area = areas.get(str(label))
        words = f"average precision {proportion(area)}" if area is not None else "average precision not estimable"
        figure.add_scatter(
            x=own["true_positive_rate"],
            y=own["precision"],
            mode="lines",
            name=f"{class_title(str(label))}, {words}",
            line={"color": colours[str(label)], "width": 2.5, "dash": "solid" if area is not None else "dot"},
            customdata=own[["threshold"]],
            hovertemplate="precision %{y:.2f}, recall %{x:.2f}, at p = %{customdata[0]:.2f}<extra></extra>",
        )
    figure.update_xaxes(range=[-0.01, 1.01], title="recall", zeroline=False)
    figure.update_yaxes(range=[-0.01, 1.01], title="precision", zeroline=False)
    return layout(figure, _HEIGHT, showlegend=True, legend=_LEGEND)


def reliability(table: pd.DataFrame) -> go.Figure:
    """Returns how often the most probable class is right for each height of its probability.

    Args:
        table: from ``tables.reliability``.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="perfect calibration",
        line={"color": theme.MISSING, "dash": "dash", "width": 1},
        hoverinfo="skip",
    )
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
    return layout(figure, _HEIGHT, showlegend=True, legend=_LEGEND)
