"""The gallery of simulated patients on the screening page: one card each, marked as simulated.

The cards' thumbnails are stored next to this file; ``python -m tests.harness.thumbnails`` draws them again.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import streamlit as st

from sslmri.cohorts.patients import PATIENTS, make_patient
from sslmri.scans.scan import Scan

ABOUT = (
    "Simulated, not real patients. Built from an average brain and selected as examples that this model flags. "
    "They show how the page works, not how accurate the model is; some are misclassified."
)
CHOSEN = "patient"
THUMBNAILS = Path(__file__).parent / "thumbnails"
_CARD_WIDTH = 126  # four of them stand in a row next to the example


@lru_cache(maxsize=len(PATIENTS))
def load(key: str) -> tuple[Scan, np.ndarray]:
    """Returns a patient's scan, and the mask of the simulated lesion, bool of its voxels' shape (D, H, W).

    Raises:
        ManifestError: there is no such patient.
    """
    return make_patient(key)


def choose_patient(is_needed: bool) -> str | None:
    """Draws the choice of a patient by name, and returns the key of the one chosen, or None."""
    chosen: str | None = st.selectbox(
        "Or a simulated patient",
        list(PATIENTS),
        index=None,
        format_func=lambda key: PATIENTS[key].title,
        key=CHOSEN,
        placeholder="Choose a simulated patient" if is_needed else "Remove the files to choose one",
        disabled=not is_needed,
        help=ABOUT,
    )
    return chosen if is_needed else None


def draw_gallery() -> None:
    """Draws a card for each patient; a click anywhere on it opens the patient."""
    st.markdown("**Simulated patients**")
    st.caption(ABOUT)
    with st.container(horizontal=True, gap="small"):
        for key, patient in PATIENTS.items():
            with st.container(border=True, width=_CARD_WIDTH, key=f"patient-{key}"):
                st.image(THUMBNAILS / f"{key}.png", width="stretch", alt=f"Simulated patient, {patient.title}")
                st.button(patient.title, key=f"open-{key}", on_click=_open, args=(key,), width="stretch")


def _open(key: str) -> None:
    st.session_state[CHOSEN] = key
