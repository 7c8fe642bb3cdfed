"""Turns the folders of the public datasets, as people download them, into manifests."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from sslmri.cohorts.alzheimers_6400 import group_6400
from sslmri.cohorts.manifest import MANIFEST_COLUMNS, TRAIN_USE, UNKNOWN, check_names
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError
from sslmri.files import neutralised

_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
_BLOCK = 20  # neighbouring pictures taken for one person where no file name says who it is
_OASIS_NAME = re.compile(r"(OAS1_\d{4})_MR\d+_mpr-\d+_(\d+)", re.IGNORECASE)
_PERSON_FOLDER = re.compile(r"(subject|sub|patient|person|case)?[0-9]+")
_HEALTHY = r"control|(?<!ab)normal|healthy"

# The folder, a class and its files in natural order -> (file, group, slice) of those that are used.
Grouping = Callable[[Path, str, list[PurePosixPath]], Iterator[tuple[PurePosixPath, str, str]]]


def build_manifest(folder: Path, cohort: str) -> pd.DataFrame:
    """Returns the manifest of a downloaded dataset: rows sorted by path, paths relative to ``folder``.

    A file's class is that of the nearest folder above it whose name says one. Files that are no pictures, hidden files
    and the folders an adapter skips are left out.

    Raises:
        ManifestError: the cohort is unknown, the folder does not look like it, or a name is not in UTF-8.
    """
    if cohort not in ADAPTERS:
        raise ManifestError(f"Expected a cohort out of {', '.join(ADAPTERS)}, got {cohort!r}: choose one of these.")
    folder, adapter = Path(folder), ADAPTERS[cohort]
    rows = [
        (_as_written(file), cohort, adapter.disease, label, group, number, adapter.contrast, "", TRAIN_USE, "", "", "")
        for label, files in _files_by_label(folder, adapter).items()
        for file, group, number in adapter.grouping(folder, label, files)
    ]
    return pd.DataFrame(sorted(rows), columns=list(MANIFEST_COLUMNS))


def _files_by_label(folder: Path, adapter: "Adapter") -> dict[str, list[PurePosixPath]]:
    """Returns the pictures of each class in natural order, refusing folders that name no class and missing classes."""
    found: dict[str, list[PurePosixPath]] = {label: [] for label in DISEASES[adapter.disease].classes}
    for file in _pictures(folder, adapter):
        label = _label_of(file, adapter)
        if label is None:
            raise ManifestError(
                f"Expected {adapter.layout} for {adapter.title}, got {file} in none of them: rename its folder or "
                f"move it away."
            )
        found[label].append(file)
    missing = [label for label, files in found.items() if not files and label not in adapter.may_lack]
    if missing:
        raise ManifestError(
            f"Expected {adapter.layout} for {adapter.title}, got no picture of {', '.join(missing)} under {folder}: "
            f"download the whole dataset and give its top folder."
        )
    return {label: sorted(files, key=_natural_key) for label, files in found.items()}


def _pictures(folder: Path, adapter: "Adapter") -> list[PurePosixPath]:
    if not folder.is_dir():
        raise ManifestError(f"Expected a folder at {folder}, got none: give the folder of {adapter.title}.")
    files = [PurePosixPath(file.relative_to(folder).as_posix()) for file in folder.rglob("*") if file.is_file()]
    files = [file for file in files if not any(part.startswith((".", "__MACOSX")) for part in file.parts)]
    pictures = [
        file
        for file in files
        if file.suffix.lower() in _IMAGE_SUFFIXES
        and not (adapter.skip and any(re.fullmatch(adapter.skip, _plain(part)) for part in file.parts[:-1]))
    ]
    if not pictures:
        suffixes = sorted({file.suffix or "suffix-less" for file in files})
        got = f"only {', '.join(suffixes[:5])} files" if files else "no files"
        raise ManifestError(
            f"Expected pictures ({', '.join(sorted(_IMAGE_SUFFIXES))}) under {folder}, got {got}: give the unpacked "
            f"picture version of {adapter.title}."
        )
    check_names(map(str, pictures))
    return pictures


def _label_of(file: PurePosixPath, adapter: "Adapter") -> str | None:
    """Returns the class that the nearest folder above the file names, or None where no folder does."""
    names = [_plain(part) for part in reversed(file.parts[:-1])]
    return next((label for name in names for pattern, label in adapter.folders if re.search(pattern, name)), None)


def _as_written(file: PurePosixPath) -> str:
    """Returns a path as a manifest has it: behind ``./`` where a spreadsheet would take it for a formula."""
    return str(file) if neutralised(str(file)) == str(file) else f"./{file}"


def _plain(name: str) -> str:
    """Returns a folder name without case, spaces and punctuation: ``Very mild Dementia`` as ``verymilddementia``."""
    return re.sub(r"[\W_]", "", name.lower())


def _natural_key(file: PurePosixPath) -> tuple[str, list[str | int], str]:
    """Sorts ``non``, ``non_2``, ``non_10`` in this order within a folder."""
    parts = re.split(r"([0-9]+)", file.stem.lower())
    return str(file.parent), [int(part) if i % 2 else part for i, part in enumerate(parts)], file.name


def _group_oasis(_: Path, label: str, files: list[PurePosixPath]) -> Iterator[tuple[PurePosixPath, str, str]]:
    """Yields the subject in the file name: both sessions and all repeats of a person are one group."""
    for file in files:
        match = _OASIS_NAME.fullmatch(file.stem)
        if match is None:
            raise ManifestError(
                f"Expected file names like OAS1_0028_MR1_mpr-1_100.jpg, got {file} among {label}: restore the names, "
                f"they hold the subject."
            )
        yield file, match[1].upper(), match[2]


def _group_neighbours(_: Path, label: str, files: list[PurePosixPath]) -> Iterator[tuple[PurePosixPath, str, str]]:
    """Yields the person's folder where there is one (``Subject1``), and else blocks of neighbouring files.

    Where nothing says who is who, 20 neighbouring files of a folder are one group, named like
    ``unknown-glioma-Training_glioma-007``. Such groups are an approximation: a person at the edge of a block, or in two
    folders (axial and sagittal, Training and Testing), is in two groups, so figures on them are optimistic.
    """
    seen: Counter[PurePosixPath] = Counter()
    for file in files:
        number = seen[file.parent]
        seen[file.parent] += 1
        folders = file.parts[:-1]
        person = next((part for part in folders if _PERSON_FOLDER.fullmatch(_plain(part))), None)
        block = f"{UNKNOWN}{label}-{'_'.join(folders)}-{number // _BLOCK:03d}"
        yield file, f"{label}-{person}" if person else block, str(number)


@dataclass(frozen=True)
class Adapter:
    """How one public dataset is read.

    Attributes:
        title: name shown to people.
        disease: key of the disease its folders are classes of.
        layout: the folders expected, as an error says it.
        folders: (pattern searched in a folder name without case, spaces and punctuation, class); the first hit counts.
        grouping: the folder, a class and its files -> file, group and slice.
        contrast: the contrast of all pictures, where it is known.
        may_lack: classes that a version of the dataset may do without.
        skip: pattern of whole folder names that hold other pictures.
    """

    title: str
    disease: str
    layout: str
    folders: tuple[tuple[str, str], ...]
    grouping: Grouping
    contrast: str = ""
    may_lack: frozenset[str] = frozenset()
    skip: str = ""


_DEMENTIA_FOLDERS = (
    (r"^nondement", "non_demented"),
    (r"^verymilddement", "very_mild_demented"),
    (r"^milddement", "mild_demented"),
    (r"^moderatedement", "moderate_demented"),
)

ADAPTERS: dict[str, Adapter] = {
    "oasis": Adapter(
        title="the OASIS-1 slices",
        disease="alzheimers",
        layout="folders Non Demented, Very mild Dementia, Mild Dementia and Moderate Dementia",
        folders=_DEMENTIA_FOLDERS,
        grouping=_group_oasis,
        contrast="T1",
    ),
    "alzheimers_6400": Adapter(
        title="the 6,400-image Alzheimer's set",
        disease="alzheimers",
        layout="folders Non_Demented, Very_Mild_Demented, Mild_Demented and Moderate_Demented",
        folders=_DEMENTIA_FOLDERS,
        grouping=group_6400,
        contrast="T1",
    ),
    "tumours": Adapter(
        title="the tumour pictures",
        disease="tumours",
        layout="folders glioma, meningioma, pituitary and perhaps notumor",
        folders=(
            (r"^glioma", "glioma"),
            (r"^meningioma", "meningioma"),
            (r"^pituitary", "pituitary"),
            (r"^(no|non)tumou?r|" + _HEALTHY, "no_tumour"),
        ),
        grouping=_group_neighbours,
        may_lack=frozenset({"no_tumour"}),
    ),
    "ms": Adapter(
        title="the multiple sclerosis pictures",
        disease="ms",
        layout="folders MS... and Control...",
        folders=((r"^nonms|^noms|" + _HEALTHY, "normal"), (r"^ms|multiplesclerosis", "multiple_sclerosis")),
        grouping=_group_neighbours,
    ),
    "parkinsons": Adapter(
        title="the Parkinson's pictures",
        disease="parkinsons",
        layout="folders parkinson or PD, and normal, control or Non PD",
        folders=((r"^non?(pd|parkinson)|" + _HEALTHY, "normal"), (r"^pd|parkinson", "parkinsons")),
        grouping=_group_neighbours,
        skip=r"\d*dat(scan)?",  # the NTUA set keeps DaT scans, which are no MRI, beside each person's MRI
    ),
}
