"""What the charts of several pages have in common: margins, fonts, the legend, and values with their intervals."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from sslmri.dashboard import theme

HATCH = "/"
_RAW = "not estimable, raw value"
_FONT_SIZE = 13
_LINE = 54  # characters, of what stands above a mark: at this size they fit the width of a phone
_ABOVE = 6  # pixels, from the middle of a mark to what stands above it


def layout(figure: go.Figure, height: int, **settings: Any) -> go.Figure:
    """Returns the figure with the given height, the common margins and the common place of the legend."""
    margin = {"l": 8, "r": 12, "t": 8, "b": 8} | settings.pop("margin", {})
    font = {"size": _FONT_SIZE, "color": theme.ink()}
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": font, "title": {"text": ""}}
    legend |= settings.pop("legend", {})
    figure.update_layout(height=height, margin=margin, legend=legend, font=font, **settings)
    figure.update_layout(hoverlabel={"namelength": -1})
    figure.update_annotations(font=font)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(automargin=True, fixedrange=True, tickfont=font, title_font=font)
    return figure


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of estimates with what a chart draws of them.

    ``shown`` is the value or else the raw one, ``up`` and ``down`` reach from it to the ends of its interval, and
    ``note`` is the interval, or that there is none.
    """
    is_known, shown = table["value"].notna(), table["value"].fillna(table["raw"])
    low, high = (table[end].map("{:.2f}".format) for end in ("low", "high"))
    note = ("(" + low + " to " + high + ")").where(is_known, "(no interval)")
    return table.assign(shown=shown, up=table["high"] - table["value"], down=table["value"] - table["low"], note=note)


def estimates(
    table: pd.DataFrame, by: str, series: str | Sequence[str], colours: Mapping[str, str], title: str
) -> go.Figure:
    """Returns each value between 0 and 1 with its interval, and the raw value where none can be estimated.

    The table has one row per value, with the columns of an ``Estimate`` and a column ``by`` that names the rows.
    """
    drawn = with_intervals(table).assign(series=np.where(table["value"].notna(), series, _RAW))
    figure = px.scatter(
        drawn,
        x="shown",
        y=by,
        color="series",
        symbol="series",
        error_x="up",
        error_x_minus="down",
        color_discrete_map={**colours, _RAW: theme.MISSING},
        symbol_map={_RAW: "circle-open"},
        symbol_sequence=["circle"],
        hover_data={"series": False, "shown": ":.2f", "note": True},
        labels={"shown": title, "note": "95 % interval"},
    )
    figure.update_traces(marker_size=11, error_x={"color": theme.ink(), "width": 5})
    figure.update_xaxes(range=[-0.02, 1.02], dtick=0.2, zeroline=False)
    # above its mark: to its left, long names would leave no room on a phone
    texts = drawn[by] + ": " + drawn["shown"].map("{:.2f}".format) + " " + drawn["note"]
    spot = {"x": 0, "xanchor": "left", "yanchor": "bottom", "yshift": _ABOVE, "align": "left", "showarrow": False}
    for row, text in zip(drawn[by], texts.where(drawn["shown"].notna(), drawn[by]), strict=True):
        figure.add_annotation(y=row, text="<br>".join(textwrap.wrap(text, _LINE)), **spot)
    rows = list(table[by])[::-1]
    figure.update_yaxes(categoryorder="array", categoryarray=rows, showgrid=True, showticklabels=False, title=None)
    return figure.update_yaxes(range=[-0.5, len(rows)])
