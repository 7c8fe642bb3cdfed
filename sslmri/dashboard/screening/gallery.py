"""The gallery of simulated patients on the screening page: one card each, marked as simulated.

The cards' thumbnails are stored next to this file; ``python -m sslmri.dashboard.screening.gallery`` draws them again.
"""

import io
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from sslmri.cohorts.patients import PATIENTS, make_patient
from sslmri.scans.scan import Scan

ABOUT = (
    "Simulated, not real patients. Built from an average brain and selected as the examples this model handles best. "
    "They show how the page works, not how accurate the model is; some are misclassified."
)
_CHOSEN = "patient"
_FOLDER = Path(__file__).parent / "thumbnails"
_SIDE = 112  # pixels
_CARD_WIDTH = 138  # seven of them stand in a row of a wide page


@st.cache_data(max_entries=8, show_spinner="Making the simulated patient")
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
        format_func=title_of,
        key=_CHOSEN,
        placeholder="Choose a simulated patient",
        disabled=not is_needed,
        help=f"{ABOUT} Remove your files to choose one.",
    )
    return chosen if is_needed else None


def draw_gallery() -> None:
    """Draws a card for each patient, whose button opens it."""
    with st.container(horizontal=True, gap="small"):
        for key in PATIENTS:
            with st.container(border=True, width=_CARD_WIDTH, key=f"patient-{key}"):
                st.image(stored_thumbnail(key), width="stretch", alt=f"Simulated patient, {title_of(key)}")
                st.button(title_of(key), key=f"open-{key}", on_click=_open, args=(key,), width="stretch")
                st.caption("simulated", text_alignment="center")
    st.caption(ABOUT)


def _open(key: str) -> None:
    st.session_state[_CHOSEN] = key


def title_of(key: str) -> str:
    """Returns the title of a patient."""
    return PATIENTS[key].title


@st.cache_data(show_spinner=False)
def stored_thumbnail(key: str) -> bytes:
    """Returns the thumbnail of a patient, a PNG."""
    return (_FOLDER / f"{key}.png").read_bytes()


def thumbnail_of(scan: Scan, mask: np.ndarray) -> bytes:
    """Returns the slice in which the lesion is largest, else the middle one, as a small PNG."""
    areas = mask.sum(axis=(1, 2))
    index = int(areas.argmax()) if areas.any() else len(mask) // 2
    image = Image.fromarray(np.rint(np.clip(scan.voxels[index], 0, 255)).astype(np.uint8))
    buffer = io.BytesIO()
    image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS).save(buffer, format="PNG")
    return buffer.getvalue()


def main() -> None:
    """Draws all thumbnails again."""
    _FOLDER.mkdir(exist_ok=True)
    for key in PATIENTS:
        (_FOLDER / f"{key}.png").write_bytes(thumbnail_of(*make_patient(key)))


if __name__ == "__main__":
    main()
