"""Images of the data that the model was trained and tested on, where they are on this server: nobody's uploads."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from sslmri.dashboard.screening.similar import DATA_FOLDER
from sslmri.dashboard.session_cache import keep
from sslmri.dashboard.text import escape_markdown
from sslmri.errors import ScanError
from sslmri.scans import read_scan
from sslmri.scans.slices import Preparation, to_slices
from sslmri.screening.report.images import jpeg

_SIDE = 128  # pixels
_MAX_IMAGES = 200


def data_folder() -> Path | None:
    """Returns the folder of the training manifest, None where it is not on this server."""
    folder = Path(os.environ.get(DATA_FOLDER) or "/nowhere")
    return folder if folder.is_dir() else None


def draw_images(
    cases: Sequence[tuple[Path, str]], preparation: Preparation, width: int = _SIDE, has_captions: bool = True
) -> None:
    """Draws prepared slices in rows; files of several slices and unreadable ones are left out.

    Args:
        cases: path and description of each.
        preparation: of the slices.
        width: of an image, in pixels.
        has_captions: whether the description is written below the image, or only read out.
    """
    with st.container(horizontal=True, gap="small"):
        for path, description in cases:
            image = keep("training-images", str(path), _MAX_IMAGES, partial(_image, path, preparation))
            if image:
                with st.container(width=width, gap="xxsmall"):
                    st.image(image, width=width, alt=description)
                    if has_captions:
                        st.caption(escape_markdown(description))


def draw_training_images(cases: Sequence[tuple[str, str]], preparation: Preparation) -> None:
    """Draws slices of the training data, or says in a sentence where they would be shown.

    Args:
        cases: path in the manifest and description of each.
        preparation: of the slices.
    """
    folder = data_folder()
    if folder is None:
        st.caption("Images are shown where the training data are on this server.")
    else:
        draw_images([(folder / name, description) for name, description in cases], preparation)


def _image(path: Path, preparation: Preparation) -> bytes | None:
    try:
        slices = to_slices(read_scan(path.read_bytes(), path.name), preparation)
    except (ScanError, OSError):
        return None
    return jpeg(slices[0], _SIDE) if len(slices) == 1 else None
