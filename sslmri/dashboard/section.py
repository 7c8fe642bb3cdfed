"""What pages are made of: charts and tables with titles and downloads, notes, and evidence that may be damaged."""

from collections.abc import Callable, Sequence
from typing import Literal, ParamSpec, TypeVar

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from sslmri.dashboard.charts import QUIET
from sslmri.dashboard.text import escape_markdown
from sslmri.errors import ModelError
from sslmri.files import neutralised

_LIST_WIDTHS = (100, 490)  # of names and their texts, in pixels before they are stretched: the texts need the space
_WHOLE = 24  # rows up to which a table is shown whole; longer ones scroll

_P = ParamSpec("_P")
_T = TypeVar("_T")


def try_read(find: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
    """Returns what ``find`` finds; where that cannot be used, draws one line that says why and returns None."""
    try:
        return find(*args, **kwargs)
    except ModelError as error:
        st.caption(escape_markdown(str(error)))
        return None


def draw_chart(title: str, figure: go.Figure, table: pd.DataFrame, key: str, note: str = "") -> None:
    """Draws a chart.

    Args:
        title: what the chart shows.
        figure: the chart.
        table: the numbers in it.
        key: name of the saved file, unique on the page.
        note: one line on how to read it.
    """
    draw_title(title, table, key, note)
    st.plotly_chart(figure, config=QUIET, key=f"chart-{key}", alt=title)


def draw_table(title: str, table: pd.DataFrame, key: str, note: str = "") -> None:
    """Draws a table with a title and a button that downloads it."""
    draw_title(title, table, key, note)
    is_list = len(table.columns) == len(_LIST_WIDTHS)
    sizes = zip(table.columns, _LIST_WIDTHS, strict=False)
    widths = {name: st.column_config.Column(width=width) for name, width in sizes} if is_list else None
    height: Literal["content", "auto"] = "content" if len(table) <= _WHOLE else "auto"
    st.dataframe(table, height=height, hide_index=True, column_config=widths, key=f"table-{key}", alt=title)


def draw_title(title: str, table: pd.DataFrame, key: str, note: str = "") -> None:
    """Draws a title with its note, and the button that downloads the table below it as CSV."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{title}**", help=note or None, width="content")
        st.space("stretch")
        content, name = to_csv(table), f"{key}.csv"
        st.download_button(
            "Download CSV", content, name, "text/csv", key=f"save-{key}", on_click="ignore", type="tertiary"
        )


def to_csv(frame: pd.DataFrame) -> bytes:
    """Returns a table as CSV; text that a spreadsheet would take for a formula is preceded by an apostrophe.

    A heading in two rows becomes one: ``train`` over ``groups`` is ``train groups``.
    """
    names = [" ".join(filter(None, name)) if isinstance(name, tuple) else name for name in frame.columns]
    safe = frame.map(neutralised).set_axis([neutralised(name) for name in names], axis=1)
    return safe.to_csv(index=False, lineterminator="\n").encode("utf-8")


def draw_notes(notes: Sequence[str]) -> None:
    """Draws plain sentences, one per line, small."""
    if notes:
        st.caption("  \n".join(escape_markdown(note) for note in notes))
