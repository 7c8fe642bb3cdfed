"""What the data are: classes, sizes, intensities and limitations, measured on a sample of the files."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from sslmri.cohorts.confounding import find_all_confounding
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.registry import MIN_GROUPS, unit_of
from sslmri.cohorts.sampling import sample_classes
from sslmri.cohorts.splits import SPLITS, class_counts, trainable
from sslmri.diseases import Notice, class_title
from sslmri.errors import ScanError
from sslmri.scans import read_scan
from sslmri.scans.slices import Preparation, to_slices

PER_CLASS = 60
N_BINS = 64
QUANTILES = (5, 25, 50, 75, 95)
_INTENSITIES = 256
_SHOWN = 5

_Class = tuple[str, str]


@dataclass
class _Measured:
    """What the sampled files have shown so far.

    Attributes:
        sizes: files by (cohort, width, height).
        formats: files by (cohort, format).
        grey: (256,) pixels of each prepared intensity, by class; 0 is outside the head.
        contrasts: standard deviation of intensities inside the head, one a slice, by class.
        unreadable: one sentence per file.
    """

    sizes: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    formats: Counter[tuple[str, str]] = field(default_factory=Counter)
    grey: dict[_Class, np.ndarray] = field(default_factory=lambda: defaultdict(lambda: np.zeros(_INTENSITIES, int)))
    contrasts: dict[_Class, list[float]] = field(default_factory=lambda: defaultdict(list))
    unreadable: list[Notice] = field(default_factory=list)


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
    time.

    Args:
        records: all records of a manifest; only those for training are sampled.
        preparation: how slices are prepared.
        on_progress: called with the files read and the files to read, after each.
        per_class: files sampled of each class, evenly over its groups.
    """
    pool = [record for record in trainable(records) if record.disease is not None]
    by_name = sorted(pool, key=lambda record: record.name)
    sample = [by_name[position] for position in sample_classes(by_name, per_class)]
    measured = _measure(sample, preparation, on_progress)
    sources = [own.notice for own in find_all_confounding(pool) if own.notice]
    return {
        "classes": _class_rows(pool),
        "sizes": _rows(measured.sizes, "cohort", "width", "height"),
        "intensity": _intensity_rows(measured),
        "formats": _rows(measured.formats, "cohort", "format"),
        "use": _use_rows(records),
        "faults": [asdict(n) for n in _group_faults(pool) + sources + _file_faults(measured.unreadable)],
    }


def _class_of(record: Record) -> _Class:
    return str(record.disease), str(record.label)


def _measure(
    sample: list[Record], preparation: Preparation, on_progress: Callable[[int, int], None] | None
) -> _Measured:
    measured = _Measured()
    for done, record in enumerate(sample, start=1):
        try:
            _measure_file(record, preparation, measured)
        except (ScanError, OSError) as error:
            measured.unreadable.append(Notice(record.disease, f"{record.name}: {error}"))
        if on_progress is not None:
            on_progress(done, len(sample))
    return measured


def _measure_file(record: Record, preparation: Preparation, measured: _Measured) -> None:
    scan = read_scan(record.path.read_bytes(), record.path.name)
    height, width = scan.voxels.shape[1:]
    measured.sizes[record.cohort, width, height] += 1
    measured.formats[record.cohort, scan.info.source] += 1
    for one in to_slices(scan, preparation):
        inside = one[one > 0]
        measured.grey[_class_of(record)] += np.bincount(inside, minlength=_INTENSITIES)
        measured.contrasts[_class_of(record)].append(float(inside.std()) / 255.0)


def _intensity_rows(measured: _Measured) -> list[dict[str, Any]]:
    rows = []
    centres = np.arange(_INTENSITIES) / 255.0
    for (disease, label), pixels in sorted(measured.grey.items()):
        density, _ = np.histogram(centres, bins=N_BINS, range=(0.0, 1.0), weights=pixels, density=True)
        ranks = np.array(QUANTILES) / 100 * pixels.sum()
        quantiles = centres[np.searchsorted(np.cumsum(pixels), ranks)]
        contrasts = measured.contrasts[disease, label]
        rows.append(
            {
                "disease": disease,
                "label": label,
                "n_slices": len(contrasts),
                "density": density.tolist(),
                "quantiles": quantiles.tolist(),
                "contrast": float(np.mean(contrasts)),
            }
        )
    return rows


def _rows(counted: Counter[Any], *names: str) -> list[dict[str, Any]]:
    return [{**dict(zip(names, cell, strict=True)), "slices": n} for cell, n in sorted(counted.items())]


def _class_rows(pool: list[Record]) -> list[dict[str, Any]]:
    """Returns groups and slices of each class, by split where there are splits."""
    if any(record.split is not None for record in pool):
        return [{str(key): value for key, value in row.items()} for row in class_counts(pool).to_dict("records")]
    counts = class_counts(replace(record, split="train") for record in pool)
    rows = counts[counts["split"] == "train"].assign(split=None).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def _use_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    slices: Counter[tuple[str, str, str]] = Counter()
    groups: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for record in records:
        cell = (record.cohort, record.disease or "", record.use)
        slices[cell] += 1
        groups[cell].add(record.group_key)
    return [
        {"cohort": cohort, "disease": disease or None, "use": use, "slices": n}
        | {"groups": len(groups[cohort, disease, use]), "unit": unit_of(groups[cohort, disease, use])}
        for (cohort, disease, use), n in sorted(slices.items())
    ]


def _group_faults(pool: list[Record]) -> list[Notice]:
    """Returns a sentence for each class with too few groups to learn it or to measure it."""
    groups: dict[_Class, dict[str | None, int]] = defaultdict(dict)
    for row in _class_rows(pool):
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


def _file_faults(unreadable: list[Notice]) -> list[Notice]:
    n_more = len(unreadable) - _SHOWN
    more = [Notice(None, f"{n_more} more files of the sample cannot be read.")] if n_more > 0 else []
    return unreadable[:_SHOWN] + more
