"""The labelled training cases that are nearest to the scan in the encoder's features."""

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from sslmri.dashboard.screening.tiles import draw_tile
from sslmri.dashboard.text import escape_markdown
from sslmri.dashboard.training_images import data_folder, find_image
from sslmri.diseases import DISEASES, class_title
from sslmri.screening.outcome import Finding, Screening

if TYPE_CHECKING:
    from sslmri.screening.screener import Screener
    from sslmri.screening.similar import SimilarCase

_WIDTH = 104  # of a case; five stand in a row below the findings
_HELP = (
    "The nearest training cases in the encoder's features, one per group. They show which training images the encoder "
    "considers similar; they are not a second opinion."
)


def draw_similar(screener: "Screener", screening: Screening, finding: Finding | None) -> None:
    """Draws the nearest labelled cases of the disease in view, or that there is no close match."""
    if finding is None:
        return
    bank, disease = screener.bank, DISEASES[finding.disease]
    st.markdown(f"**Similar cases: {disease.title}**", help=_HELP)
    if bank is None:
        st.caption("This model has no training cases to compare with.")
        return
    from sslmri.screening.similar import similar_cases

    arrays, limit = screening.arrays.of(finding), bank.close_match.get(finding.disease, 0.0)
    cases = similar_cases(bank, arrays.features, finding.disease)
    if not any(case.distance <= limit for case in cases):
        st.markdown("No close match among the training cases.")
    preparation = screener.card.encoder.preparation
    with st.container(horizontal=True, gap="xsmall"):
        for number, similar in enumerate(cases):
            image = find_image(similar.case.path, preparation)
            label = class_title(similar.case.label)
            with st.container(width=_WIDTH, gap="xxsmall"):
                if image is None:
                    st.markdown(label)
                elif draw_tile(image, label, f"similar-{number}", _WIDTH):
                    _compare(similar, image, arrays.slices[similar.nearest])
                st.caption(f"distance {similar.distance:.2f}, {escape_markdown(similar.case.cohort)}")
    reference = class_title(disease.reference)
    where = "" if data_folder() else " Images of these cases are shown where the training data are on this server."
    st.caption(
        f"Cosine distance; close is below {limit:.2f}. Labels are those of the cohort: a case labelled {reference} "
        f"may show another disease.{where}"
    )


def _compare(similar: "SimilarCase", image: bytes, slice_: np.ndarray) -> None:
    """Opens a case next to the scan's nearest slice."""
    title = f"Labelled {class_title(similar.case.label)} in {similar.case.cohort}, distance {similar.distance:.2f}"

    @st.dialog(escape_markdown(title), width="large")
    def draw() -> None:
        left, right = st.columns(2)
        left.image(slice_, "This scan", width="stretch")
        right.image(image, "Training case", width="stretch")

    draw()
