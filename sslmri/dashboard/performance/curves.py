"""Curves of the performance page: ROC, precision and recall, and whether probabilities mean what they say."""

import pandas as pd
import plotly.graph_objects as go

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.dashboard.text import proportion
from sslmri.diseases import Disease, class_title
from sslmri.models.metrics import CaseMetrics

_HEIGHT = 400
_DIAGONAL = {"color": theme.MISSING, "dash": "dash", "width": 1}
_LARGEST = 28  # pixels across the marker of the bin with the most cases


def roc(curves: pd.DataFrame, disease: Disease, metrics: CaseMetrics) -> go.Figure:
    """Returns the ROC curve of each class against the rest, from ``evidence.curves``."""
    columns = ("false_positive_rate", "true_positive_rate")
    figure = _class_curves(curves, disease, metrics, ("area", "auroc"), columns, ("1 - specificity", "sensitivity"))
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, layer="below", line=_DIAGONAL)
    return figure


def precision_recall(curves: pd.DataFrame, disease: Disease, metrics: CaseMetrics) -> go.Figure:
    """Returns the precision-recall curve of each class against the rest, from ``evidence.curves``."""
    columns, area = ("true_positive_rate", "precision"), ("average precision", "average_precision")
    return _class_curves(curves, disease, metrics, area, columns, ("recall", "precision"))


def reliability(table: pd.DataFrame) -> go.Figure:
    """Returns how often the most probable class is right for each height of its probability.

    Args:
        table: from ``tables.reliability``.
    """
    figure = go.Figure()
    name = "perfect calibration"
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name=name, line=_DIAGONAL, hoverinfo="skip")
    figure.add_scatter(
        x=table["probability"],
        y=table["accuracy"],
        mode="lines+markers",
        name="observed (marker area: number of slices)",
        cliponaxis=False,
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


def _class_curves(
    curves: pd.DataFrame,
    disease: Disease,
    metrics: CaseMetrics,
    area: tuple[str, str],
    columns: tuple[str, str],
    titles: tuple[str, str],
) -> go.Figure:
    """Returns the curve of each class, dotted where the area below it cannot be estimated.

    Args:
        curves: from ``evidence.curves``.
        disease: whose classes they are of.
        metrics: of the classes.
        area: what the area below a curve is called, and its attribute of a class's metrics.
        columns: of the curves, across and up.
        titles: of the axes.
    """
    figure, colours = go.Figure(), theme.class_colours(disease)
    hover = f"{titles[1]} %{{y:.2f}}, {titles[0]} %{{x:.2f}}"
    for label, rows in curves.groupby("label", sort=False):
        value = getattr(metrics.per_class[str(label)], area[1]).value
        words = "not estimable" if value is None else proportion(value)
        figure.add_scatter(
            x=rows[columns[0]],
            y=rows[columns[1]],
            mode="lines",
            name=f"{class_title(str(label))}, {area[0]} {words}",
            line={"color": colours[str(label)], "width": 2.5, "dash": "dot" if value is None else "solid"},
            customdata=rows[["threshold"]],
            hovertemplate=f"{hover}, at p = %{{customdata[0]:.2f}}<extra></extra>",
        )
    figure.update_xaxes(range=[-0.01, 1.01], title=titles[0], zeroline=False)
    figure.update_yaxes(range=[-0.01, 1.01], title=titles[1], zeroline=False)
    return layout(figure, _HEIGHT, showlegend=True)
