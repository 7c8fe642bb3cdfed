"""The input of the screening page: files from the user, a scan from the Cohort page, or a simulated patient."""

from collections.abc import Sequence

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from sslmri.dashboard.screening import gallery
from sslmri.dashboard.screening.state import MAX_SCANS
from sslmri.dashboard.screening.uploads import FileUpload, PatientUpload, Upload, join_series
from sslmri.dashboard.server.upload_quota import MAX_SESSION_BYTES
from sslmri.dashboard.text import escape_markdown

HANDED_OVER = "handed_over"


def ask_for_scans() -> list[Upload]:
    """Returns the scans given, or the chosen simulated patient where there is none."""
    left, right = st.columns([11, 9], gap="large", vertical_alignment="bottom")
    with left:
        # no list of extensions: the content decides, and a refusal says what it is
        files = st.file_uploader(
            "Drop scans: DICOM, NIfTI, PNG, JPEG, TIFF or zip",
            accept_multiple_files=True,
            help="A DICOM series can be uploaded as a zip or as all its files at once. Files stay in the memory of "
            f"this session on the server, at most {MAX_SESSION_BYTES >> 20} MB; nothing is written to disk or sent on.",
        )
    handed_over: Upload | None = st.session_state.get(HANDED_OVER)
    with right:
        patient = gallery.choose_patient(is_needed=not files and handed_over is None)
    if handed_over:
        _draw_handed_over(handed_over)
    uploads = [*([handed_over] if handed_over else []), *join_series(_files_of(files))]
    if len(uploads) > MAX_SCANS:
        st.warning(
            f"Only the first {MAX_SCANS} of {len(uploads)} scans are screened. Remove some to screen the others."
        )
    return uploads[:MAX_SCANS] or ([PatientUpload(patient)] if patient else [])


def _files_of(files: Sequence[UploadedFile]) -> list[FileUpload]:
    """Returns files as uploads; those already known to this session are not hashed again."""
    known: dict[str, FileUpload] = st.session_state.get("uploads", {})
    present = {file.file_id: known.get(file.file_id) or FileUpload(file.name, file.getvalue()) for file in files}
    st.session_state["uploads"] = present
    return list(present.values())


def _draw_handed_over(upload: Upload) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Opened from Cohort: {escape_markdown(upload.name)}", width="content")
        st.button("Close", type="tertiary", on_click=_close_handed_over)


def _close_handed_over() -> None:
    st.session_state.pop(HANDED_OVER, None)
