"""The charts of the Performance page. Each takes a table of ``tables``, or plain data, and returns a Plotly figure."""

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from sslmri.dashboard import theme
from sslmri.dashboard.charts import estimates, layout
from sslmri.dashboard.text import percent, proportion
from sslmri.diseases import Disease, class_title
from sslmri.models.key_measures import BASELINE_TITLES
from sslmri.models.metrics import CaseMetrics

_BASELINE_SYMBOLS = {
    "majority": "line-ns-open",
    "nearest_neighbour": "x-thin-open",
    "pca_logistic": "diamond-open",
    "age": "circle-open",
    "dark_fraction": "triangle-up-open",
}
_AREAS = {  # metric of a class -> its name, and columns of the curve with their titles, across and up
    "auroc": ("area", {"false_positive_rate": "1 - specificity", "true_positive_rate": "sensitivity"}),
    "average_precision": ("average precision", {"true_positive_rate": "recall", "precision": "precision"}),
}
_HEIGHT, _ROW = 400, 48
_LEGEND_ROW = 24  # on a phone the legend has a row for each trace
_DIAGONAL = {"x0": 0, "y0": 0, "x1": 1, "y1": 1, "layer": "below"}
_LARGEST = 14  # pixels, radius of the marker of the bin with the most cases


def headline(table: pd.DataFrame, encoder: str) -> go.Figure:
    """Returns each measure of an encoder's classifier with its interval and its baselines, from ``tables.headline``."""
    series = f"{encoder}, 95 % interval"
    figure = estimates(table, "measure", series, {series: theme.accent()}, "accuracy or AUROC")
    for baseline, title in BASELINE_TITLES.items():
        if table[baseline].notna().any():
            figure.add_scatter(
                x=table[baseline],
                y=table["measure"],
                mode="markers",
                name=f"baseline: {title}",
                marker={"symbol": _BASELINE_SYMBOLS[baseline], "size": 11, "color": theme.REFERENCE, "line_width": 2},
                hovertemplate=f"{title}: %{{x:.2f}}<extra></extra>",
            )
    return layout(figure, _ROW * len(table) + _LEGEND_ROW * len(figure.data) + 60)


def shortcuts(table: pd.DataFrame, chance: float) -> go.Figure:
    """Returns the balanced accuracy of the model and of each control, from ``tables.shortcuts``, with chance."""
    own, control = "full slice", "shortcut alone"
    series, colours = [own, *[control] * (len(table) - 1)], {own: theme.accent(), control: theme.REFERENCE}
    figure = estimates(table, "input", series, colours, "balanced accuracy, slices")
    figure.add_vline(x=chance, line={"color": theme.ink(), "dash": "dot", "width": 1}, annotation={"text": "chance"})
    return layout(figure, _ROW * len(table) + 80, showlegend=False, margin={"t": 24})


def confusion(counts: pd.DataFrame) -> go.Figure:
    """Returns a confusion matrix, classes by classes: counts and fractions of the row; rows are the truth."""
    matrix = counts.rename(index=_narrow, columns=_narrow)
    fractions = matrix.div(matrix.sum(axis=1).clip(lower=1), axis=0)
    figure = px.imshow(
        fractions,
        zmin=0,
        zmax=1,
        aspect="auto",
        color_continuous_scale=[theme.faint(), theme.faded(theme.accent(), 0.55)],
        labels={"x": "predicted", "y": "truth", "color": "fraction of the row"},
    )
    text = matrix.map("<b>{:,}</b><br>".format) + fractions.map(percent)
    font = {"size": 12, "color": theme.ink()}
    figure.update_traces(text=text, texttemplate="%{text}", textfont=font, xgap=2, ygap=2)
    figure.update_xaxes(showgrid=False, tickangle=0)
    figure.update_yaxes(showgrid=False)
    return layout(figure, 70 * len(matrix) + 90, coloraxis_showscale=False)


def classes(table: pd.DataFrame, disease: Disease) -> go.Figure:
    """Returns precision, recall and F1 of each class with intervals, from ``tables.per_class``."""
    colours = {class_title(label): colour for label, colour in theme.class_colours(disease).items()}
    titles = [class_title(label) for label in table["label"]]
    named = table.assign(name=pd.Series(titles) + ", " + table["measure"].str.removesuffix(" (sensitivity)"))
    return layout(estimates(named, "name", titles, colours, "value"), _ROW * len(table) + 80, showlegend=False)


def class_curves(curves: pd.DataFrame, disease: Disease, metrics: CaseMetrics, measure: str) -> go.Figure:
    """Returns the curve of each class against the rest, dotted where the area below it cannot be estimated.

    The measure is that area: ``auroc`` of the ROC, ``average_precision`` of precision against recall.
    """
    name, titles = _AREAS[measure]
    areas = {label: getattr(scores, measure).value for label, scores in metrics.per_class.items()}
    names = {
        label: f"{class_title(label)}, {name} {'not estimable' if area is None else proportion(area)}"
        for label, area in areas.items()
    }
    x, y = titles
    drawn = curves if measure == "auroc" else curves[curves[x] > 0]  # without a recall precision is 1 by convention
    figure = px.line(
        drawn.assign(curve=drawn["label"].map(names)),
        x=x,
        y=y,
        color="curve",
        line_dash="curve",
        render_mode="svg",
        color_discrete_map={names[label]: colour for label, colour in theme.class_colours(disease).items()},
        line_dash_map={names[label]: "dot" if area is None else "solid" for label, area in areas.items()},
        hover_data={x: ":.2f", y: ":.2f", "threshold": ":.2f"},
        labels=titles | {"curve": "class"},
    )
    if measure == "auroc":
        figure.add_shape(type="line", **_DIAGONAL, line={"color": theme.MISSING, "dash": "dash", "width": 1})
    figure.update_xaxes(range=[-0.01, 1.01], zeroline=False)
    figure.update_yaxes(range=[-0.01, 1.01], zeroline=False)
    return layout(figure, _HEIGHT)


def reliability(table: pd.DataFrame) -> go.Figure:
    """Returns the accuracy at each height of the highest probability, from the bins of a reliability curve."""
    figure = px.scatter(
        table,
        x="probability",
        y="accuracy",
        size="n_cases",
        size_max=2 * _LARGEST,
        hover_data={"probability": ":.2f", "accuracy": ":.2f", "n_groups": True},
        labels={"probability": "confidence", "n_cases": "slices", "n_groups": "groups"},
    )
    name = "observed (marker area: number of slices)"
    figure.update_traces(mode="lines+markers", name=name, showlegend=True, cliponaxis=False)
    figure.update_traces(marker={"color": theme.accent(), "sizemin": 4}, line={"color": theme.accent(), "width": 1.5})
    diagonal = {"color": theme.MISSING, "dash": "dash", "width": 1}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="perfect calibration", line=diagonal, hoverinfo="skip")
    figure.update_xaxes(range=[-0.01, 1.03], zeroline=False)
    figure.update_yaxes(range=[-0.01, 1.03], zeroline=False)
    return layout(figure, _HEIGHT)


def _narrow(label: str) -> str:
    """Returns a class's title with a line for each word, for axes with little room."""
    return class_title(label).replace(" ", "<br>")
