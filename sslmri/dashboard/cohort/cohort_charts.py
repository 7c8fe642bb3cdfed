"""The figures of the cohort page: how many scans got which answer."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.dashboard.cohort.cohort_tables import NOT_APPLICABLE
from sslmri.diseases import DISEASES, class_title

_ROW = 34
_HATCH = {"shape": "/", "size": 6, "fgopacity": 0.6}


def status_bars(table: pd.DataFrame) -> go.Figure:
    """Returns the scans of each disease by status, from ``cohorttables.status_counts``."""
    figure = go.Figure()
    for status in (*theme.STATUSES, NOT_APPLICABLE):
        own = table[table["status"] == status]
        hatched: dict[str, Any] = {"color": theme.faint(), "pattern": {**_HATCH, "fgcolor": theme.MISSING}}
        marker = hatched if status == NOT_APPLICABLE else {"color": theme.STATUSES[status]}
        _add_bar(figure, own, status, marker)
    return _finish(figure, table)


def class_bars(table: pd.DataFrame) -> go.Figure:
    """Returns the scans of each disease by predicted class, from ``cohorttables.class_counts``."""
    figure = go.Figure()
    for disease in DISEASES.values():
        for label, colour in theme.class_colours(disease).items():
            own = table[(table["disease"] == disease.title) & (table["class"] == class_title(label))]
            if len(own):
                _add_bar(figure, own, class_title(label), {"color": colour}, f"{class_title(label)} ")
    figure.update_layout(showlegend=False)
    return _finish(figure, table)


def _add_bar(figure: go.Figure, own: pd.DataFrame, name: str, marker: dict[str, Any], before: str = "") -> None:
    figure.add_bar(
        x=own["scans"],
        y=own["disease"],
        name=name,
        orientation="h",
        marker=marker,
        texttemplate=f"{before}%{{x}}",
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        hovertemplate=f"%{{y}}, {name}: %{{x}} scans<extra></extra>",
    )


def _finish(figure: go.Figure, table: pd.DataFrame) -> go.Figure:
    titles = [disease.title for disease in DISEASES.values() if (table["disease"] == disease.title).any()]
    figure.update_yaxes(categoryorder="array", categoryarray=titles[::-1], showgrid=False)
    figure.update_xaxes(title="scans", rangemode="tozero", zeroline=False, tickformat="d")
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"}
    return layout(figure, _ROW * len(titles) + 90, barmode="stack", bargap=0.3, legend=legend)
