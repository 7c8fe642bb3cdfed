"""The input of the screening page: files from the user, or a simulated sample made on the spot."""

import streamlit as st

from sslmri.dashboard.state import MAX_SCANS, Upload
from sslmri.diseases import DISEASES, class_title

_SEED = 20260


def ask_for_scans() -> list[Upload]:
    """Returns the files given, or the chosen sample where there is no file."""
    left, right = st.columns([11, 9], gap="large", vertical_alignment="bottom")
    with left:
        # no list of extensions: the content decides, and a refusal names what was found
        files = st.file_uploader(
            "Drop scans: PNG, JPEG or TIFF",
            accept_multiple_files=True,
            help="Files stay in this session's memory on the machine that runs this page; nothing is written or sent.",
        )
    with right:
        samples = [(disease.key, label) for disease in DISEASES.values() for label in disease.classes]
        sample = st.selectbox(
            "Or a simulated sample",
            samples,
            index=None,
            format_func=_sample_title,
            placeholder="Choose a made-up person",
            disabled=bool(files),
            help="Made by this program from an average brain; no patient. Remove your files to choose one.",
        )
    if len(files) > MAX_SCANS:
        st.warning(f"The first {MAX_SCANS} of {len(files)} files are screened; remove some to see the others.")
    uploads = [Upload(file.name, file.getvalue()) for file in files[:MAX_SCANS]]
    return uploads or ([make_sample(*sample)] if sample else [])


@st.cache_data(max_entries=32, show_spinner="Making the sample")
def make_sample(disease: str, label: str) -> Upload:
    """Returns the slice of a made-up person in which the finding is largest."""
    from sslmri.cohorts.simulated import finding_slices, simulate_subject, slice_png  # slow to load, seldom needed

    subject = simulate_subject(disease, label, _SEED)
    candidates = finding_slices(subject, 9)
    areas = subject.mask[candidates].sum(axis=(1, 2))
    index = candidates[int(areas.argmax())] if areas.any() else candidates[len(candidates) // 2]
    return Upload(f"Simulated sample, {_sample_title((disease, label))}", slice_png(subject, index))


def _sample_title(sample: tuple[str, str]) -> str:
    disease, label = sample
    return f"{DISEASES[disease].title}: {class_title(label)}"
