"""What a user gives the pages: files, loose files that are one scan, or a simulated patient."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import PurePosixPath

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from sslmri.cohorts.patients import PATIENTS
from sslmri.dashboard.screening.examples import load_patient
from sslmri.dashboard.server.upload_quota import MAX_SESSION_BYTES
from sslmri.dashboard.text import escape_markdown
from sslmri.scans import count_scans, read_files, read_headers, read_scan, series_key
from sslmri.scans.file_type import FORMATS, SOURCES, file_type
from sslmri.scans.group_files import group_files
from sslmri.scans.limits import MAX_BYTES
from sslmri.scans.scan import DicomHeaders, Scan, SeriesKey
from sslmri.scans.volume_files import plain_name, voxel_names
from sslmri.text import count

MAX_SCANS = 8  # at once on the Screening page
_ABOUT_FOLDERS = "With all folders in it, such as a disc; what is no scan is left out."
_ABOUT_FILES = (
    f"{FORMATS}, of at most {MAX_BYTES >> 20} MB. DICOM series can be uploaded as a zip or as all their files at once, "
    "a header and its voxels too. Files stay in the memory of this session on the server, at most "
    f"{MAX_SESSION_BYTES >> 20} MB; nothing is written to disk or sent on."
)
_FILES, _FOLDER = "files", "files-of-folder"  # keys of the widgets
HANDED_OVER = "handed_over"  # in the session: the upload that the Cohort page opened
CHOSEN = "patient"  # in the session: the simulated patient that is open
_UPLOADS = "uploads"  # in the session: the files of the uploader, by their ids


@dataclass(frozen=True)
class Upload:
    """One scan: of a file, of loose files, or of a simulated patient. Its hash is that of all its content."""

    name: str
    sha256: str
    read: Callable[[], Scan]
    n_files: int = 1
    n_bytes: int = 0
    patient: str | None = None
    read_headers: Callable[[], DicomHeaders] | None = None  # of a simulated patient none


@dataclass(frozen=True)
class FileUpload:
    """One file."""

    name: str
    data: bytes

    @cached_property
    def sha256(self) -> str:
        """Hash of the content."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def series(self) -> SeriesKey | None:
        """What tells to which DICOM series the file belongs; None for any other file."""
        return series_key(self.data)

    @cached_property
    def scans(self) -> tuple[Upload, ...]:
        """The file, or each series of a zip file that holds several."""
        n, size, files = count_scans(self.data), len(self.data), [(self.name, self.data)]
        if n == 1:
            read, headers = partial(read_scan, self.data, self.name), partial(read_headers, files)
            return (Upload(self.name, self.sha256, read, n_bytes=size, read_headers=headers),)
        return tuple(
            Upload(
                f"{self.name}, series {number} of {n}",
                hashlib.sha256(f"{self.sha256}, series {number}".encode()).hexdigest(),
                partial(read_scan, self.data, self.name, number),
                n_bytes=size,
                read_headers=partial(read_headers, files, number),
            )
            for number in range(1, n + 1)
        )


def patient_upload(patient: str) -> Upload:
    """Returns a simulated patient."""
    name, sha256 = f"Simulated patient, {PATIENTS[patient].title}", hashlib.sha256(patient.encode()).hexdigest()
    return Upload(name, sha256, lambda: load_patient(patient)[0], patient=patient)


def joined(files: Sequence[FileUpload], name: str | None = None) -> Upload:
    """Returns loose files that are one scan, sorted by their hashes: however the browser orders them, one hash."""
    parts = sorted(files, key=lambda part: part.sha256)
    header = next((part.name for part in parts if voxel_names(part.name) and part.series is None), None)
    contents = [(part.name, part.data) for part in parts]
    return Upload(
        name or header or f"DICOM series of {count(len(parts), 'file')}",
        hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest(),
        partial(read_files, contents),
        len(parts),
        sum(len(part.data) for part in parts),
        read_headers=partial(read_headers, contents),
    )


def join_series(files: Sequence[FileUpload]) -> list[Upload]:
    """Returns files in their order, loose files that are one scan as one upload, each series of a zip as one."""
    scans: list[Upload] = []
    for parts in group_files(files, lambda file: file.series, lambda file: file.name):
        scans += parts[0].scans if len(parts) == 1 else [joined(parts)]
    return scans


def is_open() -> bool:
    """Returns whether the session has a file or a simulated patient, before what asks for them is drawn."""
    return any(st.session_state.get(key) for key in (HANDED_OVER, CHOSEN, _FILES, _FOLDER, _UPLOADS))


def ask_for_scans() -> list[Upload]:
    """Returns the scans given, or the chosen simulated patient where there is none; folded where there are some."""
    opened = is_open()
    with st.expander("Open another scan") if opened else st.container(key="uploader"):
        columns = [st.container(), st.container()] if opened else st.columns([4, 1], vertical_alignment="center")
        left, right = columns
        with right:
            is_folder = st.toggle("Upload a folder", key="folder", help=_ABOUT_FOLDERS)
        with left:
            # no list of extensions: the content decides, and a refusal says what it is
            files = st.file_uploader(
                "Drop scans: DICOM, NIfTI, other volumes, images or zip",
                accept_multiple_files="directory" if is_folder else True,
                key=_FOLDER if is_folder else _FILES,
                on_change=_close_removed,
                help=_ABOUT_FILES,
            )
    handed_over: Upload | None = st.session_state.get(HANDED_OVER)
    given = _files_of(files, is_folder)
    if handed_over:
        draw_open(f"Opened from Cohort: {escape_markdown(handed_over.name)}", HANDED_OVER)
    if any(not isinstance(file, UploadedFile) for key in (_FILES, _FOLDER) for file in st.session_state.get(key) or ()):
        st.warning("The server was restarted and no longer has the files that stand here. Upload them again.")
    if given and not files:
        draw_open(f"Still open: {count(len(given), 'file')}", _UPLOADS)
    uploads = [*([handed_over] if handed_over else []), *join_series(given)]
    if len(uploads) > MAX_SCANS:
        st.warning(
            f"Only the first {MAX_SCANS} of {len(uploads)} scans are screened. Remove some to screen the others."
        )
    if uploads:
        st.session_state.pop(CHOSEN, None)
    patient: str | None = st.session_state.get(CHOSEN)
    return [patient_upload(patient)] if patient else uploads[:MAX_SCANS]


def _files_of(files: Sequence[UploadedFile], is_folder: bool) -> list[FileUpload]:
    """Returns files as uploads; those already known to this session are not hashed again.

    The uploader loses its files when another page is drawn: then they are those of before, until they are closed.
    """
    known: dict[str, FileUpload] = st.session_state.get(_UPLOADS, {})
    if not files:
        return list(known.values())
    present = {file.file_id: known.get(file.file_id) or FileUpload(file.name, file.getvalue()) for file in files}
    if is_folder:
        scans = without_others(list(present.values()))
        present = {key: file for key, file in present.items() if file in scans}
    st.session_state[_UPLOADS] = present
    return list(present.values())


def _close_removed() -> None:
    """Closes the files where their user removed the last of them."""
    if not (st.session_state.get(_FILES) or st.session_state.get(_FOLDER)):
        st.session_state.pop(_UPLOADS, None)


def without_others(files: Sequence[FileUpload]) -> list[FileUpload]:
    """Returns the files of a folder that may hold scans, hidden ones left out, and says how many others there are."""
    paired = {name for file in files for name in voxel_names(file.name)}
    scans = [
        file
        for file in files
        if not PurePosixPath(file.name).name.startswith(".")
        and (file_type(file.data) in SOURCES or plain_name(file.name) in paired)
    ]
    if len(scans) < len(files):
        st.caption(f"{count(len(files) - len(scans), 'other file')} left out.")
    return scans


def draw_open(what: str, key: str) -> None:
    """Draws what is open besides the uploader's files, with a button that drops it from the session."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(what, width="content")
        st.button("Close", key=f"close-{key}", type="tertiary", on_click=lambda: st.session_state.pop(key, None))
