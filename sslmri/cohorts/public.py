"""Turns the folders of the public datasets, as downloaded, into manifests."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from sslmri.cohorts.alzheimers_6400 import group_6400
from sslmri.cohorts.cohort import Cohort, Folder
from sslmri.cohorts.manifest import MANIFEST_COLUMNS, check_names
from sslmri.cohorts.registry import BIDS, COHORTS, UNKNOWN
from sslmri.diseases import DISEASES, is_own
from sslmri.errors import ManifestError
from sslmri.files import neutralised
from sslmri.scans.file_type import natural_order

DOWNLOADS: dict[str, Cohort] = {key: cohort for key, cohort in COHORTS.items() if cohort.layout}
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
_FROM_MATLAB = (
    "write the image of each .mat file as PNG, in MATLAB with imwrite(mat2gray(cjdata.image), ...) or in Python with "
    "h5py, into a folder with the name of its class (cjdata.label: 1 meningioma, 2 glioma, 3 pituitary)"
)
_BLOCK = 20  # adjacent images taken for one person where no file name says who it is
_PERSON_FOLDER = re.compile(r"(subject|sub|patient|person|case)?[0-9]+")
_CONTRASTS = {"t1": "T1", "t2": "T2", "flair": "FLAIR", "t1post": "T1ce", "t1ce": "T1ce"}

_Row = tuple[PurePosixPath, str, str, str]  # file, group, slice, contrast


def build_manifest(folder: Path, cohort: str) -> pd.DataFrame:
    """Returns the manifest of a downloaded dataset: rows sorted by path, paths relative to ``folder``.

    A file's class is that of the nearest folder above it whose name says one. Files that are not images, hidden files
    and the folders a cohort skips are left out.

    Raises:
        ManifestError: the cohort has no download, the folder does not look like it, or a name is not in UTF-8.
    """
    known = _download(cohort)
    rows = [
        {
            "path": _as_written(file),
            "cohort": cohort,
            "disease": known.disease if kind.label else "",
            "label": kind.label,
            "group": group,
            "slice": number,
            "contrast": contrast,
            "use": kind.use,
        }
        for kind, files in _files_by_kind(folder, cohort, known).items()
        for file, group, number, contrast in _grouped(folder, kind.label, files, known)
    ]
    table = pd.DataFrame(rows).reindex(columns=list(MANIFEST_COLUMNS), fill_value="")
    return table.sort_values("path", ignore_index=True)


def list_checksum(paths: Iterable[str]) -> str:
    """Returns 12 hexadecimal digits of the SHA-256 of the sorted paths: docs/data.md has those of complete sets."""
    return hashlib.sha256("\n".join(sorted(paths)).encode()).hexdigest()[:12]


def _download(key: str) -> Cohort:
    """Returns how a download is read; that of a disease of one's own has a folder for each class."""
    if is_own(key):
        labels = DISEASES[key].classes
        folders = tuple(Folder(f"^{_plain(label)}$", label) for label in labels)
        return Cohort(key, "", layout=f"the folders {' and '.join(labels)}", folders=folders, groups="neighbours")
    if key not in DOWNLOADS:
        known = ", ".join([*DOWNLOADS, BIDS])
        raise ManifestError(f"Expected a cohort out of {known}, got {key!r}: choose one of these.")
    return DOWNLOADS[key]


def _files_by_kind(folder: Path, key: str, cohort: Cohort) -> dict[Folder, list[PurePosixPath]]:
    """Returns the images of each kind in natural order, refusing folders that name no class and missing classes."""
    by_folder: dict[Folder, list[PurePosixPath]] = {}
    for file in _images(folder, key, cohort.skip):
        kind = _kind_of(file, cohort)
        if kind is None:
            raise ManifestError(
                f"Expected {cohort.layout} for {key}, got {file} in none of them: rename its folder or move it away."
            )
        by_folder.setdefault(kind, []).append(file)
    labels = {kind.label for kind in by_folder}
    missing = [kind.label for kind in cohort.folders if kind.label not in labels | cohort.may_lack]
    if missing:
        raise ManifestError(
            f"Expected {cohort.layout} for {key}, got no image of {', '.join(missing)} under {folder}: download "
            "the whole dataset and give its top folder."
        )
    return {kind: sorted(by_folder[kind], key=_order) for kind in cohort.folders if kind in by_folder}


def _images(folder: Path, key: str, skip: str) -> list[PurePosixPath]:
    if not folder.is_dir():
        raise ManifestError(f"Expected a folder at {folder}, got none: give the folder of {key}.")
    files = [PurePosixPath(file.relative_to(folder).as_posix()) for file in folder.rglob("*") if file.is_file()]
    files = [file for file in files if not any(part.startswith((".", "__MACOSX")) for part in file.parts)]
    images = [
        file
        for file in files
        if file.suffix.lower() in _IMAGE_SUFFIXES
        and not any(re.fullmatch(skip, _plain(part)) for part in file.parts[:-1])
    ]
    if not images:
        suffixes = sorted({file.suffix or "suffix-less" for file in files})
        got = f"only {', '.join(suffixes[:5])} files" if files else "no files"
        how = _FROM_MATLAB if ".mat" in suffixes else f"give the unpacked image version of {key}"
        raise ManifestError(f"Expected images ({', '.join(sorted(_IMAGE_SUFFIXES))}) under {folder}, got {got}: {how}.")
    check_names(map(str, images))
    return images


def _kind_of(file: PurePosixPath, cohort: Cohort) -> Folder | None:
    """Returns what the nearest folder above the file says that it is, or None where no folder does."""
    names = [_plain(part) for part in reversed(file.parts[:-1])] or [""]
    return next((kind for name in names for kind in cohort.folders if re.search(kind.pattern, name)), None)


def _as_written(file: PurePosixPath) -> str:
    """Returns a path as a manifest has it: behind ``./`` where a spreadsheet would take it for a formula."""
    return str(file) if neutralised(str(file)) == str(file) else f"./{file}"


def _plain(name: str) -> str:
    """Returns a folder name without case, spaces and punctuation: ``Very mild Dementia`` as ``verymilddementia``."""
    return re.sub(r"[\W_]", "", name.lower())


def _order(file: PurePosixPath) -> tuple[str, list[tuple[int, str]], str]:
    """Returns a key that sorts ``non``, ``non_2``, ``non_10`` in this order within a folder."""
    return str(file.parent), natural_order(file.stem.lower()), file.name


def _grouped(folder: Path, label: str, files: list[PurePosixPath], cohort: Cohort) -> Iterator[_Row]:
    """Yields file, group, slice number and contrast of each file of a class, by the cohort's rule for groups."""
    if cohort.groups == "6400":
        for file, group, number in group_6400(folder, label, files):
            yield file, group, number, cohort.contrast
    elif cohort.groups == "neighbours":
        yield from _by_neighbours(label, files, cohort.contrast)
    elif cohort.groups == "image":
        yield from ((file, f"{UNKNOWN}{file}", "", cohort.contrast) for file in files)
    elif cohort.groups == "class":
        yield from ((file, label, str(number), cohort.contrast) for number, file in enumerate(files))
    else:
        yield from (_by_name(file, cohort) for file in files)


def _by_name(file: PurePosixPath, cohort: Cohort) -> _Row:
    """Returns the subject, slice and contrast in a file's name: all sessions and repeats of a person are one group."""
    match = re.fullmatch(cohort.groups, file.stem, re.IGNORECASE)
    if match is None:
        raise ManifestError(f"Expected {cohort.layout}, got {file}: restore the names, they hold the subject.")
    parts = match.groupdict()
    contrast = _CONTRASTS.get(parts.get("contrast", "").lower(), cohort.contrast)
    return file, parts["subject"].upper(), str(int(parts["slice"])), contrast


def _by_neighbours(label: str, files: list[PurePosixPath], contrast: str) -> Iterator[_Row]:
    """Yields the person's folder where there is one (``Subject1``), and otherwise blocks of adjacent files.

    Where subjects are unknown, 20 adjacent files of a folder are one group, named like
    ``unknown-glioma-Training_glioma-007``. Such groups are an approximation: a person at the edge of a block, or in two
    folders (axial and sagittal, Training and Testing), is in two groups, so results on them are optimistic.
    """
    seen: Counter[PurePosixPath] = Counter()
    for file in files:
        number = seen[file.parent]
        seen[file.parent] += 1
        folders = file.parts[:-1]
        person = next((part for part in folders if _PERSON_FOLDER.fullmatch(_plain(part))), None)
        block = f"{UNKNOWN}{label}-{'_'.join(folders)}-{number // _BLOCK:03d}"
        yield file, f"{label}-{person}" if person else block, str(number), contrast
