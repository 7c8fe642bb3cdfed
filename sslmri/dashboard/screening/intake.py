"""The input of the screening page: files from the user, a scan of the cohort page, or a simulated patient."""

from collections.abc import Sequence

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from sslmri.dashboard.screening import gallery
from sslmri.dashboard.screening.state import MAX_SCANS, Upload
from sslmri.dashboard.server.upload_quota import MAX_SESSION_BYTES
from sslmri.dashboard.text import count, escape_markdown

HANDED_OVER = "handed_over"


def ask_for_scans() -> list[Upload]:
    """Returns the scans given, or the chosen simulated patient where there is none."""
    left, right = st.columns([11, 9], gap="large", vertical_alignment="bottom")
    with left:
        # no list of extensions: the content decides, and a refusal names what was found
        files = st.file_uploader(
            "Drop scans: DICOM, NIfTI, PNG, JPEG, TIFF or zip",
            accept_multiple_files=True,
            help="A DICOM series may come as a zip or as all its files at once. Files stay in this session's memory, "
            f"at most {MAX_SESSION_BYTES >> 20} MB, on the machine that runs this page; nothing is written or sent.",
        )
    handed_over: Upload | None = st.session_state.get(HANDED_OVER)
    with right:
        patient = gallery.choose_patient(is_needed=not files and handed_over is None)
    if handed_over:
        _draw_handed_over(handed_over)
    uploads = [*([handed_over] if handed_over else []), *join_series(_uploads_of(files))]
    if len(uploads) > MAX_SCANS:
        st.warning(f"The first {MAX_SCANS} of {len(uploads)} scans are screened; remove some to see the others.")
    return uploads[:MAX_SCANS] or ([_patient(patient)] if patient else [])


def _patient(key: str) -> Upload:
    return Upload(f"Simulated patient, {gallery.title_of(key)}", b"", patient=key)


def join_series(uploads: Sequence[Upload]) -> list[Upload]:
    """Returns uploads in their order, the loose files of one DICOM series as one."""
    groups: dict[str, list[Upload]] = {}
    for number, upload in enumerate(uploads):
        groups.setdefault(upload.series or f"file {number}", []).append(upload)
    return [own[0] if len(own) == 1 else _series(own) for own in groups.values()]


def _series(parts: Sequence[Upload]) -> Upload:
    ordered = tuple(sorted(parts, key=lambda part: part.sha256))  # however the browser orders them: one scan, one hash
    return Upload(f"DICOM series of {count(len(parts), 'file')}", b"", ordered)


def _uploads_of(files: Sequence[UploadedFile]) -> list[Upload]:
    """Returns files as uploads; those already seen by this session are not hashed again."""
    known: dict[str, Upload] = st.session_state.get("uploads", {})
    present = {file.file_id: known.get(file.file_id) or Upload(file.name, file.getvalue()) for file in files}
    st.session_state["uploads"] = present
    return list(present.values())


def _draw_handed_over(upload: Upload) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Opened from the Cohort page: {escape_markdown(upload.name)}", width="content")
        st.button("Close it", type="tertiary", on_click=_close_handed_over)


def _close_handed_over() -> None:
    st.session_state.pop(HANDED_OVER, None)
