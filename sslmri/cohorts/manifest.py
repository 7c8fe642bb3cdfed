"""Reads and writes manifests: the CSV files that list each slice with its subject and label."""

import csv
import os
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import pandas as pd

from sslmri.cohorts.csv_rows import read_rows
from sslmri.cohorts.registry import UNKNOWN
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError
from sslmri.files import write_atomically
from sslmri.text import printable_line

REQUIRED_COLUMNS = ("path", "cohort", "disease", "label")
OPTIONAL_COLUMNS = ("group", "slice", "contrast", "fold", "use", "box_xywh", "age")
MANIFEST_COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
TRAIN_USE = "train"
_SHOWN = 5
_LONE = re.compile("[\ud800-\udfff]")
AGE = r"[0-9]{1,3}(\.[0-9]{1,9})?"  # pattern of an age in years
_OPTIONAL_VALUES = {  # pattern of a column, and what an error says of it
    "fold": ("[0-9]{1,9}", "a fold of 0, 1, 2, ..."),
    "slice": ("[0-9]{1,9}", "a slice of 0, 1, 2, ..."),
    "age": (AGE, "an age in years"),
}
_ROUNDING = 0.01  # of the image: a box may be written with two decimals

Box = tuple[float, float, float, float]  # centre x, centre y, width, height


@dataclass(frozen=True)
class Record:
    """One slice of a cohort.

    Attributes:
        path: where the file is: the manifest's folder joined with the path as written.
        name: the path as written in the manifest; the record's id in predictions.
        cohort: the source it comes from.
        disease: key of a disease, or None for an image that serves pre-training only.
        label: class of that disease, or None together with ``disease``.
        group: the unit that is never in two splits; unique within its cohort. ``unknown-`` and the name for a
            record whose row leaves it blank, since it is unknown which others show the same subject.
        fold: the fold given by the manifest, if any.
        use: ``train``, or a purpose (leak_demo, localisation, gap) that keeps the record out of every split.
        split: ``train``, ``validation`` or ``test``, set by ``assign_splits``.
        slice_number: where it stands among the slices of its group, if the manifest says so.
        box: of the finding: centre x, centre y, width and height as fractions of the image's width and height, from
            its left upper corner on; None where the manifest names none.
        contrast: of the scan, as the manifest has it; empty where it says none.
        age: of the subject in years, if the manifest gives it.
    """

    path: Path
    name: str
    cohort: str
    disease: str | None
    label: str | None
    group: str
    fold: int | None
    use: str = TRAIN_USE
    split: str | None = None
    slice_number: int | None = None
    box: Box | None = None
    contrast: str = ""
    age: float | None = None

    @property
    def group_key(self) -> str:
        """The group's name across all cohorts."""
        return f"{self.cohort}/{self.group}"


def read_manifest(path: Path, check_groups: bool = True) -> list[Record]:
    """Returns the records of a manifest, in the order of its rows.

    The columns in ``OPTIONAL_COLUMNS`` may be missing or blank; all others are ignored. Relative paths start at the
    manifest's folder, absolute paths stand as they are. A group with two labels of one disease is refused where groups
    are checked; an audit lists it.

    Raises:
        ManifestError: the first fault found, with the numbers of the lines that show it.
    """
    table = _read_table(path)
    _check_blanks(table)
    _check_labels(table)
    _check_optional(table)
    if check_groups:
        _check_groups(table)
    _check_paths(table, path.parent)
    return [_record(path.parent, row) for row in table.to_dict("records")]


def _record(folder: Path, row: dict[Hashable, str]) -> Record:
    return Record(
        path=folder / row["path"],
        name=row["path"],
        cohort=row["cohort"],
        disease=row["disease"] or None,
        label=row["label"] or None,
        group=row["group"],
        fold=int(row["fold"]) if row["fold"] else None,
        use=row["use"] or TRAIN_USE,
        slice_number=int(row["slice"]) if row["slice"] else None,
        box=_box_of(row["box_xywh"]),
        contrast=row["contrast"],
        age=float(row["age"]) if row["age"] else None,
    )


def write_manifest(path: Path, rows: pd.DataFrame) -> None:
    """Writes a manifest whole or not at all; optional columns that ``rows`` lacks are left blank.

    Raises:
        ManifestError: ``rows`` lacks a required column, or holds text that UTF-8 cannot.
    """
    _check_columns(list(rows.columns), "the rows to write")
    check_names(text for text in rows.to_numpy(object).ravel() if isinstance(text, str))
    others = [column for column in rows.columns if column not in MANIFEST_COLUMNS]
    # convert_dtypes: a fold column with blanks would otherwise be written as 0.0, 1.0
    table = rows.reindex(columns=[*MANIFEST_COLUMNS, *others]).convert_dtypes()
    text = table.to_csv(index=False, na_rep="", lineterminator="\n")
    if "\r" in text:  # which is quoted with all else or not at all, and would begin a row
        text = table.to_csv(index=False, na_rep="", lineterminator="\n", quoting=csv.QUOTE_ALL)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def check_names(names: Iterable[str]) -> None:
    """Checks that a manifest can hold the names of files: of bytes that are no UTF-8, Python makes lone surrogates.

    Raises:
        ManifestError: naming the first that is of other bytes.
    """
    odd = next((name for name in names if _LONE.search(name)), None)
    if odd is not None:
        raise ManifestError(f"Expected names in UTF-8, got {printable_line(odd)}: rename the file or its folder.")


def _read_table(path: Path) -> pd.DataFrame:
    """Returns the manifest as strings, indexed by line number, with the optional columns always present."""
    header, lines = read_rows(path)
    _check_columns(header, path.name)
    ragged = [number for number, row in lines if len(row) != len(header)]
    if ragged:
        raise ManifestError(
            f"Expected {len(header)} values per row in {path.name}, as in its first line, got another number in "
            f"{_lines(ragged)}: put values that contain a comma in double quotes."
        )
    if not lines:
        raise ManifestError(f"Expected rows in {path.name}, got a header only: list one file per row.")
    table = pd.DataFrame([row for _, row in lines], columns=header, index=[number for number, _ in lines], dtype=str)
    table = table.reindex(columns=[*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS], fill_value="")
    table["path"] = [_with_slashes(name, path.parent) for name in table["path"]]
    for column in ("age", "box_xywh"):  # decimal commas
        table[column] = table[column].str.replace(",", ".", regex=False)
    table["group"] = table["group"].where(table["group"].str.strip() != "", UNKNOWN + table["path"])
    return table


def _with_slashes(name: str, folder: Path) -> str:
    """Returns a path as Windows writes it with slashes, unless backslashes are part of the name."""
    return name if "\\" not in name or os.path.lexists(folder / name) else PureWindowsPath(name).as_posix()


def _check_columns(columns: Sequence[str], where: str) -> None:
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    if missing:
        got = ", ".join(map(str, columns))
        raise ManifestError(
            f"Expected the columns {', '.join(REQUIRED_COLUMNS)} in {where}, got {got[:200] or 'none'}: "
            f"add {', '.join(missing)}."
        )
    repeated = sorted({column for column in columns if list(columns).count(column) > 1})
    if repeated:
        raise ManifestError(f"Expected each column once in {where}, got {', '.join(repeated)} twice: remove one.")


def _check_blanks(table: pd.DataFrame) -> None:
    for column in ("path", "cohort"):
        blank = table[column].str.strip() == ""
        _refuse(table, blank, column, f"a {column} in every row", f"name the {column}")
    slash = table["cohort"].str.contains("/", regex=False)
    _refuse(table, slash, "cohort", "a cohort name without a slash", "rename the cohort")


def _check_labels(table: pd.DataFrame) -> None:
    for column, other in (("label", "disease"), ("disease", "label")):
        is_half = (table[column] == "") & (table[other] != "")
        advice = "fill in both, or neither for an image without a label"
        _refuse(table, is_half, column, f"a {column} wherever a {other} is named", advice)
    unknown = ~table["disease"].isin(["", *DISEASES])
    _refuse(table, unknown, "disease", f"a disease out of {', '.join(DISEASES)}", "correct the disease")
    for disease in DISEASES.values():
        wrong = (table["disease"] == disease.key) & ~table["label"].isin(disease.classes)
        _refuse(
            table, wrong, "label", f"a label of {disease.key} out of {', '.join(disease.classes)}", "correct the label"
        )


def _check_optional(table: pd.DataFrame) -> None:
    for column, (pattern, expected) in _OPTIONAL_VALUES.items():
        bad = (table[column] != "") & ~table[column].str.fullmatch(pattern)
        _refuse(table, bad, column, f"{expected} or blank", f"correct the {column}")
    wrong = ~table["box_xywh"].map(_is_box).astype(bool)
    expected = "a box_xywh of four fractions, centre x, centre y, width and height, of a box inside the image, or blank"
    _refuse(table, wrong, "box_xywh", expected, "correct the box")


def _is_box(text: str) -> bool:
    """Returns whether the text is blank or four fractions of a box that stays, but for rounding, inside the image."""
    try:
        x, y, width, height = _box_of(text) or (0.5, 0.5, 1.0, 1.0)
    except ValueError:
        return False
    margins = (x - width / 2, y - height / 2, 1 - x - width / 2, 1 - y - height / 2)
    return 0 < width <= 1 and 0 < height <= 1 and all(margin >= -_ROUNDING for margin in margins)


def _box_of(text: str) -> Box | None:
    """Returns the box that the text names, None where it is blank; ValueError where it is no box."""
    if not text.strip():
        return None
    x, y, width, height = map(float, text.split())
    return x, y, width, height


def _check_groups(table: pd.DataFrame) -> None:
    """Refuses a group with two labels of one disease: one person cannot be in two classes."""
    trained = table[table["use"].isin(["", TRAIN_USE]) & (table["disease"] != "")]
    pairs = trained[["cohort", "group", "disease", "label"]].drop_duplicates()
    clash = pairs.duplicated(["cohort", "group", "disease"], keep=False)
    _refuse(pairs, clash, "group", "one label of a disease for a group", "split the group or correct a label")


def _check_paths(table: pd.DataFrame, folder: Path) -> None:
    whole = table["path"].map(lambda name: os.path.normpath(os.path.join(folder, name)))
    _refuse(table, whole.duplicated(keep=False), "path", "each file in one row", "remove the repeated rows")
    missing = ~whole.map(os.path.isfile).astype(bool)
    elsewhere = missing & table["path"].str.match(r"[A-Za-z]:/|[\\/]{2}")  # a drive or a share of Windows
    advice = "write the paths relative to the folder of the manifest"
    _refuse(table, elsewhere, "path", "a path on this computer", advice)
    _refuse(table, missing, "path", f"a file under {folder.resolve()}", "restore the file or remove the row")


def _refuse(table: pd.DataFrame, bad: "pd.Series[bool]", column: str, expected: str, advice: str) -> None:
    """Raises one sentence that shows the first bad value and the numbers of the bad lines, if there are any."""
    if bad.any():
        rows = table[bad]
        got = rows[column].iloc[0]
        raise ManifestError(
            f"Expected {expected}, got {f'{column} {got!r}' if got.strip() else f'a blank {column}'} in "
            f"{_lines(rows.index.tolist())} of the manifest: {advice}."
        )


def _lines(numbers: Sequence[int]) -> str:
    """Returns line numbers as text: ``lines 2, 3, 4, 5, 6 and 12 more``."""
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    rest = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{rest}"
