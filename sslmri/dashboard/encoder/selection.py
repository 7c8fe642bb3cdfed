"""The points selected on the encoder page's map: kept for the session, with their neighbours or a summary of them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from sslmri.dashboard.encoder.features import N_NEIGHBOURS, named, neighbour_table, neighbours, selection_table
from sslmri.dashboard.section import draw_table

if TYPE_CHECKING:
    from sslmri.models.bank import FeatureBank

MAP_KEY = "encoder-map"
SELECTED = "encoder-selected"


def selected_rows(shown: pd.Series) -> list[int]:
    """Returns the bank rows selected on the map, as far as they are among those shown."""
    return [row for row in st.session_state.get(SELECTED, []) if row in set(shown)]


def keep_selection() -> None:
    """Keeps the bank rows of the points selected: the map is drawn again with them, and forgets its selection."""
    points: list[dict[str, Any]] = st.session_state[MAP_KEY]["selection"]["points"]
    data = [point["customdata"] for point in points if point.get("customdata")]  # the rings around points have none
    rows = [int(row[0] if isinstance(row, list) else row["0"]) for row in data]
    if rows:  # the map drawn again reports that nothing is selected on it
        st.session_state[SELECTED] = rows


def draw_selection(bank: "FeatureBank", table: pd.DataFrame, selected: list[int]) -> list[int]:
    """Draws the neighbours of one selected point, or a summary of several; returns the neighbours' rows."""
    if not selected:
        st.markdown("**Nearest neighbours**")
        st.caption(
            f"Click a point of the map to list its {N_NEIGHBOURS} nearest slices, by distance in the full features "
            "and not on the map."
        )
        return []
    nearest: list[int] = []
    if len(selected) == 1:
        nearest = _draw_neighbours(bank, table, selected[0])
    else:
        draw_table(
            f"{len(selected):,} slices selected", selection_table(table, np.array(selected)), "encoder-selection"
        )
    st.button("Clear selection", on_click=st.session_state.pop, args=(SELECTED,))
    return nearest


def _draw_neighbours(bank: "FeatureBank", table: pd.DataFrame, row: int) -> list[int]:
    case = table.iloc[row]
    st.markdown(f"**{named(case['disease'], case['label'])}**")
    st.text(f"{case['cohort']}, group {case['group']}, slice {case['slice']}, {case['split']}")
    is_other = st.checkbox("Neighbours of other groups only", help="Slices of one subject lie close together.")
    rows, distances = neighbours(bank.features, table, row, is_other)
    draw_table(
        f"{len(rows)} nearest slices",
        neighbour_table(table, rows, distances, row),
        "encoder-neighbours",
        "Cosine distance in the bank's features: 0 is the same direction, 1 unrelated, 2 opposite.",
    )
    return rows.tolist()
