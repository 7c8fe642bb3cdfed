"""Images of the data that the model was trained and tested on, where they are on this server: nobody's uploads."""

import os
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from sslmri.dashboard.text import escape_markdown
from sslmri.errors import ScanError
from sslmri.scans import read_scan
from sslmri.scans.slices import Preparation, to_slices
from sslmri.screening.report.images import jpeg

DATA_FOLDER = "SSLMRI_TRAINING_DATA"  # names the folder of the manifest that the model was trained on
_NOWHERE = "/nowhere"
_SIDE = 128  # pixels
_MAX_IMAGES = 200
_ELSEWHERE = "Images are shown where the training data are on this server."


def data_folder() -> Path | None:
    """Returns the folder of the training manifest, None where it is not on this server."""
    folder = Path(os.environ.get(DATA_FOLDER) or _NOWHERE)
    return folder if folder.is_dir() else None


@st.cache_data(scope="session", max_entries=_MAX_IMAGES, show_spinner=False)
def find_image(name: str, _preparation: Preparation, is_example: bool = False) -> bytes | None:
    """Returns a prepared slice as JPEG by its path in the training manifest, None where it is not on this server.

    Of a file of several slices the name does not say which is meant: only an example may be the middle one.
    """
    path = Path(data_folder() or _NOWHERE, name)
    try:
        slices = to_slices(read_scan(path.read_bytes(), path.name), _preparation)
    except (ScanError, OSError):
        return None
    return jpeg(slices[len(slices) // 2], _SIDE) if is_example or len(slices) == 1 else None


def draw_images(
    cases: Sequence[tuple[str, str]], preparation: Preparation, width: int = _SIDE, is_example: bool = False
) -> None:
    """Draws prepared slices in rows; unreadable files are left out.

    A case is a path, in the training manifest or absolute, and a description. Of an example the middle slice stands for
    a file of several, which is left out otherwise, and the description is only read out.
    """
    with st.container(horizontal=True, gap="small"):
        for name, description in cases:
            image = find_image(name, preparation, is_example)
            if image:
                with st.container(width=width, gap="xxsmall"):
                    st.image(image, width=width, alt=description)
                    if not is_example:
                        st.caption(escape_markdown(description))
    if data_folder() is None and not any(Path(name).is_absolute() for name, _ in cases):
        st.caption(_ELSEWHERE)
