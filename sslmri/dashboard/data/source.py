"""Which data the data page shows: those of the model, or those that the user names.

SSLMRI_DATA_ROOT is the folder below which data may be named; where it is missing none may, and without this setting
none where users sign in: the server's disk is not theirs.
"""

import os
from pathlib import Path

import streamlit as st

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.summary import summarise
from sslmri.dashboard.data.summary import Summary, as_tables
from sslmri.dashboard.server.signin import is_needed
from sslmri.dashboard.session_cache import keep
from sslmri.dashboard.training_images import data_folder
from sslmri.errors import ManifestError
from sslmri.scans.slices import Preparation

_MANIFEST = "manifest.csv"
_MAX_SUMMARIES = 4


def ask_for_data() -> str:
    """Returns the path that the user enters, empty for the training data of the model."""
    root = _root()
    if is_needed() if root is None else not root.is_dir():
        return ""
    path: str = st.text_input(
        "Data source",
        placeholder="Leave empty for the training data, or enter a path on the server",
        help="A manifest.csv with the columns path, cohort, disease, label and group, or a folder that contains one. "
        "Files are read on the server; nothing is written or sent.",
    )
    return path.strip()


def training_records() -> list[Record]:
    """Returns the records of the training data, none where they are not on this server or were changed."""
    folder = data_folder()
    try:
        return _read(folder / _MANIFEST) if folder else []
    except ManifestError:
        return []


def read_named(path: str, preparation: Preparation) -> tuple[Summary, list[Record]]:
    """Returns the summary of a named manifest, with progress, and its records; this session keeps both.

    Raises:
        ManifestError: the manifest cannot be used.
    """
    manifest = manifest_at(path)
    records = _read(manifest)
    progress = st.progress(0.0, "Reading files")

    def show(done: int, total: int) -> None:
        progress.progress(done / total, f"Reading file {done:,} of {total:,}")

    summary = keep(
        "summaries", _stamp(manifest), _MAX_SUMMARIES, lambda: as_tables(summarise(records, preparation, show))
    )
    progress.empty()
    return summary, records


def _read(manifest: Path) -> list[Record]:
    return keep("records", _stamp(manifest), 1, lambda: assign_splits(read_manifest(manifest)))


def _stamp(manifest: Path) -> str:
    return f"{manifest}/{manifest.stat().st_mtime_ns if manifest.is_file() else None}"


def manifest_at(text: str) -> Path:
    """Returns the manifest that a path names, or that is in the folder it names.

    Raises:
        ManifestError: it is not below the folder of ``SSLMRI_DATA_ROOT``, or no path.
    """
    root = _root()
    try:
        path = Path(text).expanduser() if root is None else (root / text).resolve()
        if root is not None and not path.is_relative_to(root):
            raise ManifestError(f"The path must be inside the server's data folder ({root}).")
        return path / _MANIFEST if path.is_dir() else path
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, or with a NUL, or of no user's home
        raise ManifestError("This is not a path. Enter the path of a manifest.csv or of its folder.") from error


def _root() -> Path | None:
    """Returns the folder below which data may be named, or None for any."""
    named = os.environ.get("SSLMRI_DATA_ROOT")
    return Path(named).resolve() if named else None
