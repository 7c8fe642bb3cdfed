"""The points chosen on the encoder page's map: kept for the session, with their neighbours or what they are made of."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from sslmri.dashboard.encoder.features import N_NEIGHBOURS, named, neighbour_table, neighbours, selection_table
from sslmri.dashboard.section import draw_table

if TYPE_CHECKING:
    from sslmri.models.bank import FeatureBank

MAP_KEY = "encoder-map"
CHOSEN = "encoder-chosen"


def chosen_rows(shown: pd.Series) -> list[int]:
    """Returns the bank rows chosen on the map, as far as they are among those shown."""
    return [row for row in st.session_state.get(CHOSEN, []) if row in set(shown)]


def keep_choice() -> None:
    """Keeps the bank rows of the points chosen: the map is drawn anew with them, and forgets its own selection."""
    selected: list[dict[str, Any]] = st.session_state[MAP_KEY]["selection"]["points"]
    rows = [row for point in selected if (row := _row_of(point)) is not None]
    if rows:  # the map drawn anew reports that nothing is selected on it
        st.session_state[CHOSEN] = rows


def _row_of(point: dict[str, Any]) -> int | None:
    """Returns the bank row of a point; the rings around points have none."""
    data = point.get("customdata")
    return int(data[0] if isinstance(data, list) else data["0"]) if data else None


def draw_choice(bank: "FeatureBank", table: pd.DataFrame, chosen: list[int]) -> list[int]:
    """Draws the neighbours of one chosen point, or what several are made of; returns the neighbours' rows."""
    if not chosen:
        st.markdown("**Nearest neighbours**")
        st.caption(
            f"Click a point of the map: its {N_NEIGHBOURS} nearest slices are listed here, by distance in the full "
            "features and not on the map."
        )
        return []
    near: list[int] = []
    if len(chosen) == 1:
        near = _draw_neighbours(bank, table, chosen[0])
    else:
        draw_table(f"{len(chosen):,} slices chosen", selection_table(table, np.array(chosen)), "encoder-selection")
    st.button("Choose none", on_click=_forget_choice)
    return near


def _draw_neighbours(bank: "FeatureBank", table: pd.DataFrame, row: int) -> list[int]:
    case = table.iloc[row]
    st.markdown(f"**{named(case['disease'], case['label'])}**")
    st.text(f"{case['cohort']}, group {case['group']}, slice {case['slice']}, {case['split']}")
    is_other = st.checkbox("Neighbours of other groups only", help="Slices of one person lie close together.")
    rows, distances = neighbours(bank.features, table, row, is_other)
    draw_table(
        f"Its {len(rows)} nearest slices",
        neighbour_table(table, rows, distances, row),
        "encoder-neighbours",
        "Cosine distance in the bank's features: 0 is the same direction, 1 unrelated, 2 opposite.",
    )
    return rows.tolist()


def _forget_choice() -> None:
    st.session_state[CHOSEN] = []
