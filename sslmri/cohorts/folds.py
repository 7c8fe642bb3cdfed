"""The folds of a cross-validation: every labelled group is tested once, by a model that never saw it."""

import csv
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sslmri.cohorts.manifest import TRAIN_USE, Record
from sslmri.cohorts.splits import group_folds
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError

NEGATIVES_FILE = "lgg_negatives.csv"  # next to the manifest: slices without a tumour, of patients with one
NEGATIVES_DISEASE = "tumours"
LOCALISATION_USE = "localisation"


def with_folds(records: Iterable[Record], seed: int = 0) -> list[Record]:
    """Returns the records that a cross-validation trains or tests on, each with the fold of its group.

    Labelled records have the fold of the manifest, or one of five drawn by the seed where it has none. Slices with an
    annotated lesion and a fold take part. Records without a label have the fold of the labelled ones of their group,
    or none.

    Raises:
        ManifestError: only a part of the labelled records has folds, or one group is in two.
    """
    pool = []
    for record in records:
        is_annotated = record.use == LOCALISATION_USE and record.disease is not None and record.fold is not None
        if record.use == TRAIN_USE or is_annotated:
            pool.append(replace(record, use=TRAIN_USE))
    folds = group_folds(pool, seed)
    return [replace(record, fold=folds.get(record.group_key), split="train") for record in pool]


def leave_out(records: Iterable[Record], fold: int | None) -> list[Record]:
    """Returns the records with their split when one fold is tested; all train where no fold is left out."""
    return [replace(r, split="test" if r.fold is not None and r.fold == fold else "train") for r in records]


def label_negatives(records: list[Record], path: Path) -> list[Record]:
    """Returns the records with the slices of a file labelled as showing no tumour, each with the fold of its patient.

    Their label belongs to the slice: other slices of the same patients show a tumour.

    Args:
        records: of the manifest next to the file, in which these slices have no label.
        path: a CSV file with the columns path, group and fold.

    Raises:
        ManifestError: other columns, a fold that is no number, a slice that the manifest lacks or gives a label.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"Expected a CSV file in {path}, got something else: correct the file.") from error
    if not rows or not {"path", "group", "fold"} <= rows[0].keys():
        raise ManifestError(f"Expected the columns path, group and fold in {path}, got others: correct the file.")
    odd = next((row["fold"] for row in rows if not str(row["fold"]).isdecimal()), None)
    if odd is not None or any(row["fold"] is None for row in rows):
        raise ManifestError(f"Expected a fold of 0 or more on every row of {path}, got {odd!r}: correct the file.")
    folds = {row["path"]: int(row["fold"]) for row in rows}
    missing = sorted(folds.keys() - {record.name for record in records})
    if missing:
        raise ManifestError(
            f"Expected the slices of {path} in the manifest next to it, got {len(missing)} others, first {missing[0]}: "
            "correct the file."
        )
    labelled = sorted(record.name for record in records if record.name in folds and record.disease is not None)
    if labelled:
        raise ManifestError(
            f"Expected slices without a label in {path}, got {len(labelled)} that the manifest gives one, first "
            f"{labelled[0]}: correct the file."
        )
    reference = DISEASES[NEGATIVES_DISEASE].reference
    return [
        replace(r, disease=NEGATIVES_DISEASE, label=reference, fold=folds[r.name]) if r.name in folds else r
        for r in records
    ]
