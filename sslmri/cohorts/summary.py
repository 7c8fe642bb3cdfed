"""What the data are: classes, sizes, intensities and limitations, measured on a sample of the files."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from sslmri.cohorts.confounding import find_all_confounding
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.registry import MIN_GROUPS, unit_of
from sslmri.cohorts.sampling import sample_classes
from sslmri.cohorts.splits import SPLITS, class_counts, trainable
from sslmri.diseases import Notice, class_title
from sslmri.errors import ScanError
from sslmri.scans import read_scan
from sslmri.scans.slices import Preparation, to_slices

DATA_FILE = "data.json"  # of a summary, in the evidence of a model
PER_CLASS = 60
N_BINS = 64
QUANTILES = (5, 25, 50, 75, 95)
_INTENSITIES = 256
_SHOWN = 5
_VOLUMES = "A volume counts as one slice here, and is measured as acquired; training takes several slices of each."
_FILE_COLUMNS = ("cohort", "disease", "label", "format", "width", "height", "pixels", "contrasts")


def summarise(
    records: Sequence[Record],
    preparation: Preparation,
    on_progress: Callable[[int, int], None] | None = None,
    per_class: int = PER_CLASS,
) -> dict[str, Any]:
    """Returns a summary of a manifest, ready for JSON.

    Keys: ``classes`` (groups and slices by class and split), ``use`` (slices and groups of all records by cohort and
    use, with what a group is), ``faults`` (as ``Notice``), and from the sampled files ``sizes``, ``formats`` and
    ``intensity``: density over 64 bins of intensities in (0, 1] inside the head, their percentiles 5, 25, 50, 75 and
    95, and ``contrast``, the standard deviation inside the head as a mean over slices. The sample is the same every
    time: ``per_class`` files of each class, evenly over its groups. After each ``on_progress`` is called with the files
    read and the files to read.
    """
    pool = [record for record in trainable(records) if record.disease is not None]
    by_name = sorted(pool, key=lambda record: record.name)
    sample = [by_name[position] for position in sample_classes(by_name, per_class)]
    measured, unreadable = [], []
    for done, record in enumerate(sample, start=1):
        try:
            measured.append(_measure(record, preparation))
        except (ScanError, OSError) as error:
            unreadable.append(Notice(record.disease, f"{record.name}: {error}"))
        if on_progress is not None:
            on_progress(done, len(sample))
    files = pd.DataFrame(measured, columns=_FILE_COLUMNS)
    classes = _class_rows(pool)
    sources = [own.notice for own in find_all_confounding(pool) if own.notice]
    n_more = len(unreadable) - _SHOWN
    more = [Notice(None, f"{n_more} more files of the sample cannot be read.")] if n_more > 0 else []
    of_volumes = files[files["contrasts"].map(len) > 1]["disease"].unique()
    volumes = [Notice(disease, _VOLUMES) for disease in of_volumes]
    return {
        "classes": classes,
        "sizes": _count(files, "cohort", "width", "height"),
        "intensity": [
            {"disease": disease, "label": label, **_intensity(own)}
            for (disease, label), own in files.groupby(["disease", "label"])
        ],
        "formats": _count(files, "cohort", "format"),
        "use": _use_rows(records),
        "faults": [asdict(n) for n in _group_faults(classes, pool) + sources + volumes + unreadable[:_SHOWN] + more],
    }


def with_others(summary: dict[str, Any], former: dict[str, Any], diseases: Collection[str]) -> dict[str, Any]:
    """Returns a summary with the rows of a former one on some diseases, and on cohorts of theirs that it lacks."""
    known = {row["cohort"] for row in summary["use"]}
    cohorts = {row["cohort"] for row in former["use"] if row["disease"] in diseases} - known
    kept = {
        name: [row for row in rows if (row["disease"] in diseases if "disease" in row else row["cohort"] in cohorts)]
        for name, rows in former.items()
    }
    return {name: kept[name] + rows for name, rows in summary.items()}


def _measure(record: Record, preparation: Preparation) -> tuple[Any, ...]:
    """Returns of a file what ``_FILE_COLUMNS`` names.

    ``pixels`` counts, (256,), those of each prepared intensity inside the head; ``contrasts`` are the standard
    deviations of the slices.
    """
    scan = read_scan(record.path.read_bytes(), record.path.name)
    heads = [one[one > 0] for one in to_slices(scan, preparation)]
    pixels = np.bincount(np.concatenate(heads), minlength=_INTENSITIES)
    contrasts = [float(head.std()) / 255.0 for head in heads]
    height, width = scan.voxels.shape[1:]
    return record.cohort, record.disease, record.label, scan.info.source, width, height, pixels, contrasts


def _count(files: pd.DataFrame, *columns: str) -> list[dict[str, Any]]:
    return _rows(files.groupby(list(columns)).size().reset_index(name="slices"))


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]


def _intensity(files: pd.DataFrame) -> dict[str, Any]:
    pixels, contrasts = np.stack(list(files["pixels"])).sum(axis=0), np.concatenate(list(files["contrasts"]))
    centres = np.arange(_INTENSITIES) / 255.0
    density, _ = np.histogram(centres, bins=N_BINS, range=(0.0, 1.0), weights=pixels, density=True)
    ranks = np.array(QUANTILES) / 100 * pixels.sum()
    return {
        "n_slices": len(contrasts),
        "density": density.tolist(),
        "quantiles": centres[np.searchsorted(np.cumsum(pixels), ranks)].tolist(),
        "contrast": float(np.mean(contrasts)),
    }


def _class_rows(pool: list[Record]) -> list[dict[str, Any]]:
    """Returns groups and slices of each class, by split where there are splits."""
    if any(record.split is not None for record in pool):
        return _rows(class_counts(pool))
    counts = class_counts(replace(record, split="train") for record in pool)
    return _rows(counts[counts["split"] == "train"].assign(split=None))


def _use_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    rows = pd.DataFrame(
        [(record.cohort, record.disease or "", record.use, record.group_key) for record in records],
        columns=["cohort", "disease", "use", "group"],
    )
    return [
        {"cohort": cohort, "disease": disease or None, "use": use, "slices": len(groups)}
        | {"groups": groups.nunique(), "unit": unit_of(groups)}
        for (cohort, disease, use), groups in rows.groupby(["cohort", "disease", "use"])["group"]
    ]


def _group_faults(classes: list[dict[str, Any]], pool: list[Record]) -> list[Notice]:
    """Returns a sentence for each class with too few groups to learn it or to measure it."""
    groups: dict[tuple[str, str], dict[str | None, int]] = defaultdict(dict)
    for row in classes:
        groups[row["disease"], row["label"]][row["split"]] = row["groups"]
    faults = []
    for (disease, label), counts in groups.items():
        name, unit = class_title(label).capitalize(), unit_of(r.group_key for r in pool if r.disease == disease)
        if counts.get("train", counts.get(None)) == 0:
            faults.append(Notice(disease, f"{name} cannot be predicted: no training {unit}."))
        if min(counts.values()) < MIN_GROUPS:
            listed = ", ".join(f"{counts[split]} {split}" for split in SPLITS if split in counts) or str(counts[None])
            text = f"{name}: {listed} {unit}s; fewer than {MIN_GROUPS} {unit}s: results are unreliable."
            faults.append(Notice(disease, text))
    return faults
