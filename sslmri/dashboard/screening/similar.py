"""The labelled training cases that are nearest to the scan in the encoder's features."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

from sslmri.dashboard.session_cache import keep
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES, class_title
from sslmri.errors import ScanError
from sslmri.scans import read_scan
from sslmri.scans.slices import Preparation, to_slices
from sslmri.screening.outcome import Finding, Screening

if TYPE_CHECKING:
    from sslmri.models.bank import BankCase
    from sslmri.screening.screener import Screener
    from sslmri.screening.similar import SimilarCase

DATA_FOLDER = "SSLMRI_TRAINING_DATA"  # names the folder of the manifest that the model was trained on
N_CASES = 5
_MAX_THUMBNAILS = 60
_WIDTH = 96
_QUALITY = 95


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
    if not Path(os.environ.get(DATA_FOLDER) or "/nowhere").is_dir():
        st.caption("Images of these cases are shown where the training data are on this server.")


_HELP = (
    "The nearest training cases in the encoder's features, one per group. They show which training images the encoder "
    "considers similar; they are not a second opinion."
)


def _draw_case(similar: "SimilarCase", preparation: Preparation) -> None:
    case = similar.case
    with st.container(width=_WIDTH + 24, gap="xxsmall"):
        image = keep("thumbnails", case.path, _MAX_THUMBNAILS, lambda: case_image(case, preparation))
        if image:
            st.image(image, width=_WIDTH, alt=f"A training case of {class_title(case.label)}")
        st.markdown(f"{class_title(case.label)} **{similar.distance:.2f}**")
        st.caption(f"{escape_markdown(case.cohort)}{'' if similar.is_close else ', not close'}")


def case_image(case: "BankCase", preparation: Preparation) -> bytes | None:
    """Returns the prepared slice of a case as a small JPEG, or None where its data are not on this server.

    A file of several slices gives none: a case does not say which of them it is.
    """
    folder = os.environ.get(DATA_FOLDER)
    path = Path(folder or "", case.path)
    if not folder or not path.is_file():
        return None
    try:
        slices = to_slices(read_scan(path.read_bytes(), path.name), preparation)
    except ScanError:
        return None
    if len(slices) != 1:
        return None
    buffer = io.BytesIO()
    Image.fromarray(slices[0]).save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()
