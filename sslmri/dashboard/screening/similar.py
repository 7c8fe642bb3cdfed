"""The labelled training cases that are nearest to the scan in the encoder's features."""

from typing import TYPE_CHECKING

import streamlit as st

from sslmri.dashboard.text import escape_markdown
from sslmri.dashboard.training_images import data_folder, find_image
from sslmri.diseases import DISEASES, class_title
from sslmri.scans.slices import Preparation
from sslmri.screening.outcome import Finding, Screening

if TYPE_CHECKING:
    from sslmri.screening.screener import Screener
    from sslmri.screening.similar import SimilarCase

N_CASES = 5
_WIDTH = 96


def draw_similar(screener: "Screener", screening: Screening, finding: Finding | None) -> None:
    """Draws the nearest labelled cases of the disease in view, or that there is no close match."""
    if finding is None:
        return
    bank = screener.bank
    st.markdown(f"**Similar cases: {DISEASES[finding.disease].title}**", help=_HELP)
    if bank is None:
        st.caption("This model has no training cases to compare with.")
        return
    from sslmri.screening.similar import similar_cases

    cases = similar_cases(bank, screening.arrays.of(finding).features, finding.disease, N_CASES)
    if not any(case.is_close for case in cases):
        st.markdown("No close match among the training cases.")
    preparation = screener.card.encoder.preparation
    with st.container(horizontal=True, gap="small"):
        for case in cases:
            _draw_case(case, preparation)
    if data_folder() is None:
        st.caption("Images of these cases are shown where the training data are on this server.")


_HELP = (
    "The nearest training cases in the encoder's features, one per group. They show which training images the encoder "
    "considers similar; they are not a second opinion."
)


def _draw_case(similar: "SimilarCase", preparation: Preparation) -> None:
    case = similar.case
    with st.container(width=_WIDTH + 24, gap="xxsmall"):
        image = find_image(case.path, preparation)
        if image:
            st.image(image, width=_WIDTH, alt=f"A training case of {class_title(case.label)}")
        st.markdown(f"{class_title(case.label)} **{similar.distance:.2f}**")
        st.caption(f"{escape_markdown(case.cohort)}{'' if similar.is_close else ', not close'}")
