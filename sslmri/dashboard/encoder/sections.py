"""The map of the feature bank with the neighbours of a selection, as the encoder page draws it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from sslmri.dashboard.encoder import map_charts
from sslmri.dashboard.encoder.features import (
    ALL,
    N_NEIGHBOURS,
    PCA,
    TSNE,
    case_table,
    named,
    neighbour_agreement,
    neighbour_table,
    neighbours,
    pca_map,
    rows_of,
    selection_table,
    tsne_map,
    tsne_sample,
)
from sslmri.dashboard.encoder.map_charts import CLASS, COHORT, DISEASE
from sslmri.dashboard.section import draw_table, draw_title
from sslmri.dashboard.text import count, escape_markdown, in_order, percent
from sslmri.dashboard.training_images import draw_images
from sslmri.diseases import DISEASES, class_title
from sslmri.errors import ModelError
from sslmri.models.cards import ModelCard

if TYPE_CHECKING:
    from sslmri.models.bank import FeatureBank

MAP_KEY, SELECTED = "encoder-map", "encoder-selected"
_NO_BANK = (
    "This model has no feature bank, so there is no map of its features: run `python train.py bank`, then reload this "
    "page."
)
_TSNE_NOTE = (
    "t-SNE preserves neighbourhoods; distances between far points, and the size and the gaps of clusters, mean little."
)
_Result = TypeVar("_Result")


@st.cache_resource(max_entries=2, show_spinner="Loading the feature bank")
def _load_bank(model_sha256: str, _card: ModelCard) -> "FeatureBank | None":
    from sslmri.models.bank import FeatureBank

    return FeatureBank.of(_card)


@st.cache_data(max_entries=48, show_spinner="Computing from the features, once for this model: up to a minute")
def _once(model_sha256: str, disease: str, name: str, _compute: Callable[[], _Result]) -> _Result:
    """Returns what follows from the features alone. They are the model's, not a user's: all sessions share it."""
    return _compute()


def draw_map(card: ModelCard) -> None:
    """Draws the map of the bank's features with its selection, and what neighbours have in common."""
    try:
        bank = _load_bank(card.sha256, card)
    except ModelError as error:
        st.error(escape_markdown(str(error)))
        return
    if bank is None:
        st.info(_NO_BANK)
        return
    table = case_table(bank)
    disease, by, layout = _choose_view(table)
    rows = rows_of(table, disease)
    if len(rows) < N_NEIGHBOURS:
        st.info(f"A map needs at least {N_NEIGHBOURS} slices; this bank has {count(len(rows), 'slice')} here.")
        return
    points, note = _points(card, bank, table, rows, disease, layout)
    selected = selected_rows(points["row"])
    left, right = st.columns([3, 2], gap="large")
    with right:
        nearest = draw_selection(card, bank, table, selected)
        st.space("small")
        _draw_agreement(card, bank, table, rows, disease)
    with left:
        _draw_points(points, by, layout, selected, nearest, note)


def _choose_view(table: pd.DataFrame) -> tuple[str, str, str]:
    """Returns which slices are shown, what colours them, and the kind of map."""
    with st.container(horizontal=True, gap="large"):
        disease = st.segmented_control(
            "Slices",
            [ALL, *in_order(table["disease"])],
            format_func=lambda key: "All" if key == ALL else DISEASES[key].title,
            default=ALL,
            required=True,
            wrap=True,
        )
        options = [DISEASE if disease == ALL else CLASS, COHORT]
        by = st.segmented_control(
            "Colour",
            options,
            default=options[0],
            required=True,
            key=f"encoder-colour-{options[0]}",
        )
        layout = st.segmented_control("Map", [PCA, TSNE], default=PCA, required=True, help=_TSNE_NOTE)
    return disease, by, layout


def _points(
    card: ModelCard, bank: "FeatureBank", table: pd.DataFrame, rows: np.ndarray, disease: str, layout: str
) -> tuple[pd.DataFrame, str]:
    """Returns the points of the map, and one sentence on how to read it."""
    if layout == PCA:
        positions, fraction = _once(card.sha256, disease, PCA, lambda: pca_map(bank.features[rows]))
        note = (
            f"The two components explain {percent(fraction)} of the variance; neighbours on this plot may not be "
            "neighbours in feature space."
        )
    else:
        drawn = tsne_sample(len(rows))
        shown = f"{count(len(drawn), 'slice')} of {len(rows):,}, drawn at random. " if len(drawn) < len(rows) else ""
        rows = rows[drawn]
        positions = _once(card.sha256, disease, TSNE, lambda: tsne_map(bank.features[rows]))
        note = f"{shown}{_TSNE_NOTE}"
    return table.iloc[rows].assign(x=positions[:, 0], y=positions[:, 1], row=rows), note


def _draw_points(
    points: pd.DataFrame, by: str, layout: str, selected: list[int], nearest: list[int], note: str
) -> None:
    draw_title(f"{layout} of the features", points, f"encoder-map-{layout.lower()}", level=3)
    axes = {"xaxis_title_text": f"{layout} 1", "yaxis_title_text": f"{layout} 2"}
    st.plotly_chart(
        map_charts.feature_map(points, by, selected, nearest).update_layout(axes),
        config=map_charts.MAP_CONFIG,
        key=MAP_KEY,
        on_select=keep_selection,
        selection_mode=("points", "lasso"),
        alt=f"{layout} of the features, coloured by {by.lower()}",
    )
    st.caption(
        f"{escape_markdown(note)}  \nClick a point for its neighbours, or draw around several points with the lasso "
        "above the map."
    )


def _draw_agreement(card: ModelCard, bank: "FeatureBank", table: pd.DataFrame, rows: np.ndarray, disease: str) -> None:
    agreement = _once(
        card.sha256, disease, "agreement", lambda: neighbour_agreement(bank.features[rows], table.iloc[rows])
    )
    if agreement.empty:
        return
    draw_table(
        "What nearest neighbours have in common",
        agreement,
        f"encoder-neighbours-{disease}",
        f"Mean fractions of the {N_NEIGHBOURS} nearest, by distance in the full features. For cohort, disease and "
        f"class, slices of the same group are left out; for the group, only groups of more than {N_NEIGHBOURS} slices "
        "count.",
        level=3,
    )
    st.caption(
        "Above random pairs: the encoder groups these slices. Group: slices of one subject. Cohort: slices of one "
        "source, which may reflect its scanner and preparation rather than anatomy. Where a class comes from one "
        "cohort only, the two cannot be separated."
    )


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


def draw_selection(card: ModelCard, bank: "FeatureBank", table: pd.DataFrame, selected: list[int]) -> list[int]:
    """Draws the neighbours of one selected point, or a summary of several; returns the neighbours' rows."""
    if not selected:
        st.subheader("Nearest neighbours", anchor=False)
        st.caption(
            f"Click a point of the map to list its {N_NEIGHBOURS} nearest slices, by distance in the full features "
            "and not on the map."
        )
        return []
    nearest: list[int] = []
    if len(selected) == 1:
        nearest = _draw_neighbours(card, bank, table, selected[0])
    else:
        counts = selection_table(table, np.array(selected))
        draw_table(f"{len(selected):,} slices selected", counts, "encoder-selection", level=3)
    st.button("Clear selection", on_click=st.session_state.pop, args=(SELECTED,))
    return nearest


def _draw_neighbours(card: ModelCard, bank: "FeatureBank", table: pd.DataFrame, row: int) -> list[int]:
    case = table.iloc[row]
    st.markdown(f"**{named(case['disease'], case['label'])}**")
    st.text(f"{case['cohort']}, group {case['group']}, slice {case['slice']}, {case['split']}")
    is_other = st.checkbox("Neighbours of other groups only", help="Slices of one subject lie close together.")
    rows, distances = neighbours(bank.features, table, row, is_other)
    captions = ["selected", *(f"distance {distance:.2f}" for distance in distances)]
    cases = [
        (bank.cases[one].path, f"{class_title(bank.cases[one].label)}, {caption}")
        for one, caption in zip([row, *rows], captions, strict=True)
    ]
    draw_images(cases, card.encoder.preparation)
    draw_table(
        f"{len(rows)} nearest slices",
        neighbour_table(table, rows, distances, row),
        "encoder-neighbours",
        "Cosine distance in the bank's features: 0 is the same direction, 1 unrelated, 2 opposite.",
        level=3,
    )
    return rows.tolist()
