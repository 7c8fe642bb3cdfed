"""Turns a BIDS dataset (bids-specification.readthedocs.io) into a manifest of its T1w, T2w and FLAIR volumes."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslmri.cohorts.csv_rows import read_rows
from sslmri.cohorts.manifest import AGE
from sslmri.cohorts.registry import BIDS
from sslmri.diseases import Disease, get_disease
from sslmri.errors import ManifestError
from sslmri.text import count

PARTICIPANTS = "participants.tsv"
_ID, _MISSING = "participant_id", "n/a"
_IMAGE = re.compile(r"(sub-[0-9A-Za-z]+)((?:_[a-z]+-[0-9A-Za-z]+)*)_(T1w|T2w|FLAIR)\.nii(?:\.gz)?")
_DERIVED = re.compile("_(desc|space|res|den|label)-|_part-(?!mag)")  # computed from an image, or its phase
_CONTRASTS = {"T1w": "T1", "T2w": "T2", "FLAIR": "FLAIR"}
_SHOWN = 10

People = Mapping[str, Mapping[str, str]]  # the row of each participant, by column


@dataclass(frozen=True)
class LabelColumn:
    """The column of ``participants.tsv`` that holds labels of a disease.

    ``classes`` has the class that a value stands for, empty for no label; other values are names of classes themselves.
    """

    name: str
    disease: Disease
    classes: Mapping[str, str]

    @classmethod
    def of(cls, name: str | None, disease: str | None, pairs: Sequence[str]) -> "LabelColumn | None":
        """Returns the column of a name and a disease, with pairs like ``AD=mild_demented``; None where none is named.

        Raises:
            ManifestError: only a part is named, a pair is none, or there is no such disease.
        """
        if name is None and disease is None and not pairs:
            return None
        if name is None or disease is None:
            raise ManifestError("Expected --label and --disease together, got one of them missing: name both.")
        bad = [pair for pair in pairs if "=" not in pair]
        if bad:
            raise ManifestError(f"Expected --map VALUE=CLASS, got {bad[0]!r}: write the value, = and its class.")
        return cls(name, get_disease(disease), dict(pair.split("=", 1) for pair in pairs))


class _Image(NamedTuple):
    path: str
    participant: str
    session: str
    contrast: str


def build_bids(folder: Path, labels: LabelColumn | None) -> tuple[pd.DataFrame, list[str]]:
    """Returns the manifest of a BIDS dataset, sorted by path, and a line for each kind of image or person it lacks.

    All sessions and runs of a participant are one group. An image has no label where its participant has no value in
    the column, or where the classifier of the disease reads another sequence. Derivatives are not read.

    Raises:
        ManifestError: the folder is no such dataset, or has no labels of the disease in that column.
    """
    people = _read_participants(folder)
    classes = _classes_of(people, labels) if labels else dict.fromkeys(people, "")
    found = _find_images(folder)
    images = [one for one in found if one.participant in people and (folder / one.path).is_file()]
    if not images:
        raise ManifestError(
            f"Expected images like sub-01/anat/sub-01_T1w.nii.gz of the participants in {folder / PARTICIPANTS}, got "
            f"{count(len(found), 'image')} of others or not on this computer: give the top folder of a BIDS dataset."
        )
    reads = labels.disease.sequence if labels else None
    labelled = {one.path for one in images if classes[one.participant] and reads in (None, one.contrast)}
    if labels and not labelled:
        raise ManifestError(
            f"Expected {reads or 'any'} images of participants with a value in the column {labels.name}, got none "
            f"among {_listed(one.contrast for one in images)}: {labels.disease.key} is learned from "
            f"{reads or 'any sequence'}."
        )
    table = pd.DataFrame([_row(one, people[one.participant]) for one in images])
    table.insert(1, "cohort", f"{BIDS}-{folder.resolve().name}")
    is_labelled = table["path"].isin(labelled)
    table["disease"] = np.where(is_labelled, labels.disease.key if labels else "", "")
    table["label"] = np.where(is_labelled, table["group"].map(classes), "")
    others = [one.path for one in images if reads not in (None, one.contrast)]
    without = [one.path for one in images if labels and not classes[one.participant]]
    return table, [
        *_left_out(folder, people, found),
        *_line(f"of another sequence than {reads}: no label", "image", others),
        *_line("of participants without a label", "image", without),
    ]


def _row(image: _Image, person: Mapping[str, str]) -> dict[str, str]:
    return {
        "path": image.path,
        "group": image.participant,
        "contrast": image.contrast,
        "age": _age(person),
        "sex": _value(person, "sex", "gender"),
        "session": image.session,
    }


def _left_out(folder: Path, people: People, found: Sequence[_Image]) -> Iterator[str]:
    """Yields what the manifest does without."""
    seen = {one.participant for one in found}
    yield from _line("without a T1w, T2w or FLAIR image", "participant", [name for name in people if name not in seen])
    strangers = [one.path for one in found if one.participant not in people]
    yield from _line(f"of people who are not in {PARTICIPANTS}: left out", "image", strangers)
    absent = [one.path for one in found if one.participant in people and not (folder / one.path).is_file()]
    yield from _line("whose content is not on this computer: left out", "image", absent)
    ageless = [name for name, row in people.items() if _value(row, "age") and not _age(row)]
    yield from _line("whose age is no number: left blank", "participant", ageless)


def _line(what: str, kind: str, items: Sequence[str]) -> list[str]:
    return [f"{count(len(items), kind)} {what} (first {items[0]})"] if items else []


def _read_participants(folder: Path) -> People:
    path = folder / PARTICIPANTS
    if not path.is_file():
        raise ManifestError(f"Expected {PARTICIPANTS} in {folder}, got none: give the top folder of a BIDS dataset.")
    header, lines = read_rows(path)
    if _ID not in header:
        raise ManifestError(f"Expected the column {_ID} in {path}, got {', '.join(header)[:200]}: restore its header.")
    people: dict[str, Mapping[str, str]] = {}
    for number, row in lines:
        if len(row) != len(header):
            raise ManifestError(
                f"Expected {len(header)} values per row in {path}, as in its first line, got {len(row)} in line "
                f"{number}: put n/a where one is missing."
            )
        values = ["" if value.strip() == _MISSING else value.strip() for value in row]
        name = f"sub-{values[header.index(_ID)].removeprefix('sub-')}"
        if name in people:
            raise ManifestError(f"Expected each participant once in {path}, got {name} twice: remove a line.")
        people[name] = dict(zip(header, values, strict=True))
    return people


def _classes_of(people: People, labels: LabelColumn) -> dict[str, str]:
    """Returns the class of each participant, empty where the column has no value or one that stands for no label."""
    columns = next(iter(people.values()), {})
    if labels.name not in columns:
        raise ManifestError(
            f"Expected the column {labels.name} in {PARTICIPANTS}, got {', '.join(columns)[:200] or 'no participant'}: "
            "name one of these with --label."
        )
    values = {name: row[labels.name] for name, row in people.items()}
    classes = {name: labels.classes.get(value, value) for name, value in values.items()}
    others = [value for value in classes.values() if value and value not in labels.disease.classes]
    if others:
        example = " ".join(f"{value}=CLASS" for value in sorted(set(others))[:2])
        raise ManifestError(
            f"Expected classes of {labels.disease.key} ({', '.join(labels.disease.classes)}) in the column "
            f"{labels.name} of {PARTICIPANTS}, got {_listed(others)}: name the class of each, --map {example}, or none "
            "after the = for no label."
        )
    return classes


def _find_images(folder: Path) -> list[_Image]:
    """Returns the T1w, T2w and FLAIR images of all participants and sessions, not those of derivatives."""
    images = []
    for path in sorted(chain(folder.glob("sub-*/anat/*"), folder.glob("sub-*/ses-*/anat/*"))):
        name = _IMAGE.fullmatch(path.name)
        if name and not _DERIVED.search(name[2]):
            session = re.search("_ses-([0-9A-Za-z]+)", name[2])
            contrast = "T1ce" if name[3] == "T1w" and "_ce-" in name[2] else _CONTRASTS[name[3]]
            where = path.relative_to(folder).as_posix()
            images.append(_Image(where, name[1], session[1] if session else "", contrast))
    return images


def _listed(values: Iterator[str] | Sequence[str]) -> str:
    """Returns the values with how often each occurs: ``CN (12), AD (9)``."""
    counts = Counter(values).most_common()
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return ", ".join(f"{value} ({n})" for value, n in counts[:_SHOWN]) + more


def _value(row: Mapping[str, str], *columns: str) -> str:
    """Returns what stands in the first of the columns, whatever their case; empty where there is none."""
    return next((value for column, value in row.items() if column.lower() in columns), "")


def _age(row: Mapping[str, str]) -> str:
    age = _value(row, "age")
    return age if re.fullmatch(AGE, age) else ""
