"""What pages are made of: charts and tables with titles and downloads, notes, and evidence that may be damaged."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pandas as pd
import streamlit as st

from sslmri.dashboard.text import escape_markdown, proportion
from sslmri.errors import ModelError
from sslmri.files import neutralised

if TYPE_CHECKING:  # the Screening page, which is opened first, draws no chart
    import plotly.graph_objects as go

_P = ParamSpec("_P")
_T = TypeVar("_T")


def try_read(find: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
    """Returns what ``find`` finds; where that cannot be used, draws one line that says why and returns None."""
    try:
        return find(*args, **kwargs)
    except ModelError as error:
        st.caption(escape_markdown(str(error)))
        return None


def draw_chart(title: str, figure: "go.Figure", table: pd.DataFrame, key: str, note: str = "", level: int = 2) -> None:
    """Draws a chart, its title with one line on how to read it, and a button that saves its numbers as ``key``.csv.

    Keys are unique on the page. A heading is of level 2 on the page, 3 in a section.
    """
    draw_title(title, table, key, note, level)
    quiet = {"displayModeBar": False}
    # its height is kept free while the browser loads what draws it
    st.plotly_chart(figure, height=int(figure.layout.height), config=quiet, key=f"chart-{key}", alt=title)


def draw_table(title: str, table: pd.DataFrame, key: str, note: str = "", level: int = 2) -> None:
    """Draws a table with a title and a button that downloads it, arguments as for ``draw_chart``."""
    draw_title(title, table, key, note, level)
    st.table(table.map(_cell).rename(columns=escape_markdown), hide_index=True, alt=title)


def _cell(value: object) -> str:
    """Returns a value as a table of Markdown shows it."""
    if isinstance(value, float):
        return proportion(value)
    return f"{value:,}" if isinstance(value, int) else escape_markdown(str(value))


def draw_title(title: str, table: pd.DataFrame, key: str, note: str = "", level: int = 2) -> None:
    """Draws a title with its note, and the button that downloads the table below it as CSV."""
    with st.container(horizontal=True, vertical_alignment="center"):
        draw = st.header if level == 2 else st.subheader
        draw(title, anchor=False, help=note or None)
        content, name = partial(to_csv, table), f"{key}.csv"  # written once it is clicked
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
