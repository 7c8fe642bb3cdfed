"""The gallery of simulated patients on the screening page: one card each, marked as simulated.

The cards' thumbnails are stored next to this file; ``python -m tests.harness.thumbnails`` draws them again.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import streamlit as st

from sslmri.cohorts.patients import PATIENTS, make_patient
from sslmri.dashboard.screening.tiles import draw_tile
from sslmri.scans.scan import Scan

ABOUT = (
    "Simulated, not real patients. Built from an average brain and selected as examples that this model flags. "
    "They show how the page works, not how accurate the model is: some are misclassified, and in the image style of "
    "the tumours a simulated head without one is flagged too."
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


def draw_gallery() -> None:
    """Draws a card for each patient; a click anywhere on it opens the patient."""
    st.markdown("**Simulated patients**")
    st.caption(ABOUT)
    with st.container(horizontal=True, gap="small"):
        for key, patient in PATIENTS.items():
            draw_tile(THUMBNAILS / f"{key}.png", patient.title, f"open-{key}", _CARD_WIDTH, _open, (key,))


def _open(key: str) -> None:
    st.session_state[CHOSEN] = key
