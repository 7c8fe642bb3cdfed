"""The charts of the cohort page: how many scans got which verdict and class."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sslmri.dashboard import theme
from sslmri.dashboard.charts import HATCH, layout
from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.verdict import Verdict

_ROW = 34


def verdict_bars(table: pd.DataFrame) -> go.Figure:
    """Returns the scans of each disease by verdict, from ``cohort_tables.verdict_counts``."""
    figure = go.Figure()
    hatched: dict[str, Any] = {"color": theme.faint(), "pattern": {**HATCH, "fgcolor": theme.MISSING}}
    for verdict in Verdict:
        marker = {"color": theme.STATUSES[verdict]} if verdict in theme.STATUSES else hatched
        _add_bar(figure, table[table["Verdict"] == verdict], verdict, marker)
    return _finish(figure, table)


def class_bars(table: pd.DataFrame) -> go.Figure:
    """Returns the scans of each disease by top class, from ``cohort_tables.class_counts``."""
    figure = go.Figure()
    for disease in DISEASES.values():
        for label, colour in theme.class_colours(disease).items():
            rows = table[(table["Disease"] == disease.title) & (table["Top class"] == class_title(label))]
            if len(rows):
                _add_bar(figure, rows, class_title(label), {"color": colour}, f"{class_title(label)} ")
    figure.update_layout(showlegend=False)
    return _finish(figure, table)


def _add_bar(figure: go.Figure, rows: pd.DataFrame, name: str, marker: dict[str, Any], before: str = "") -> None:
    figure.add_bar(
        x=rows["Scans"],
        y=rows["Disease"],
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
    titles = [disease.title for disease in DISEASES.values() if (table["Disease"] == disease.title).any()]
    figure.update_yaxes(categoryorder="array", categoryarray=titles[::-1], showgrid=False)
    figure.update_xaxes(title="Scans", rangemode="tozero", zeroline=False, tickformat="d")
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    return layout(figure, _ROW * len(titles) + 90, barmode="stack", bargap=0.3, legend={"traceorder": "normal"})
