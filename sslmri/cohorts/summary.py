"""What the data are: classes, sizes, grey values and faults, measured on a sample of the files."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.sampling import sample_classes
from sslmri.cohorts.splits import SPLITS, class_counts, trainable
from sslmri.cohorts.terms import unit_of
from sslmri.diseases import DISEASES, class_title
from sslmri.errors import ScanError
from sslmri.scans.sandbox import read_scan
from sslmri.scans.slices import Preparation, to_slices

MIN_GROUPS = 5  # of a class on one side of the split, below which a figure says more about them than about the class
PER_CLASS = 60
N_BINS = 64
QUANTILES = (5, 25, 50, 75, 95)
_GREY_VALUES = 256
_SHOWN = 5

_Class = tuple[str, str]


@dataclass
class _Measured:
    """What the sampled files have shown so far.

    Attributes:
        sizes: files by (cohort, width, height).
        formats: files by (cohort, format).
        grey: (256,) pixels of each prepared grey value, by class; 0 is outside the head.
        contrasts: standard deviation of grey values inside the head, one a slice, by class.
        unreadable: one sentence a file.
    """

    sizes: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    formats: Counter[tuple[str, str]] = field(default_factory=Counter)
    grey: dict[_Class, np.ndarray] = field(default_factory=lambda: defaultdict(lambda: np.zeros(_GREY_VALUES, int)))
    contrasts: dict[_Class, list[float]] = field(default_factory=lambda: defaultdict(list))
    unreadable: list[str] = field(default_factory=list)


def summarise(
    records: Sequence[Record],
    preparation: Preparation,
    on_progress: Callable[[int, int], None] | None = None,
    per_class: int = PER_CLASS,
) -> dict[str, Any]:
    """Returns a summary of a manifest, ready for JSON.

    Keys: ``classes`` (groups and slices by class and split), ``use`` (slices and groups of all records by cohort and
    use, with what to call a group), ``faults`` (plain sentences), and from the sampled files ``sizes``, ``formats`` and
    ``intensity``: density over 64 bins of grey values in (0, 1] inside the head, their percentiles 5, 25, 50, 75 and
    95, and ``contrast``, the standard deviation inside the head as a mean over slices. The sample is the same every
    time.

    Args:
        records: all records of a manifest; only those for training are sampled.
        preparation: how slices are prepared.
        on_progress: called with the files read and the files to read, after each.
        per_class: files sampled of each class, spread over its groups.
    """
    pool = [record for record in trainable(records) if record.disease is not None]
    by_name = sorted(pool, key=lambda record: record.name)
    sample = [by_name[position] for position in sample_classes(by_name, per_class)]
    measured = _measure(sample, preparation, on_progress)
    return {
        "classes": _class_rows(pool),
        "sizes": _rows(measured.sizes, "cohort", "width", "height"),
        "intensity": _intensity_rows(measured),
        "formats": _rows(measured.formats, "cohort", "format"),
        "use": _use_rows(records),
        "faults": _group_faults(pool) + _source_faults(pool) + _file_faults(measured.unreadable),
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
            measured.unreadable.append(f"{record.name}: {error}")
        if on_progress is not None:
            on_progress(done, len(sample))
    return measured


def _measure_file(record: Record, preparation: Preparation, measured: _Measured) -> None:
    scan = read_scan(record.path.read_bytes(), record.path.name)
    height, width = scan.voxels.shape[1:]
    measured.sizes[record.cohort, width, height] += 1
    measured.formats[record.cohort, scan.source] += 1
    for one in to_slices(scan, preparation):
        inside = one[one > 0]
        measured.grey[_class_of(record)] += np.bincount(inside, minlength=_GREY_VALUES)
        measured.contrasts[_class_of(record)].append(float(inside.std()) / 255.0)


def _intensity_rows(measured: _Measured) -> list[dict[str, Any]]:
    rows = []
    centres = np.arange(_GREY_VALUES) / 255.0
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
    present = {record.disease for record in pool}
    classes = [(d.key, label) for d in DISEASES.values() if d.key in present for label in d.classes]
    return [{"disease": key, "label": label, "split": None, **_count(pool, (key, label))} for key, label in classes]


def _count(pool: list[Record], label: _Class) -> dict[str, int]:
    own = [record for record in pool if _class_of(record) == label]
    return {"groups": len({record.group_key for record in own}), "slices": len(own)}


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


def _group_faults(pool: list[Record]) -> list[str]:
    """Returns a sentence for each class with too few groups to learn it or to put a figure on it."""
    groups: dict[_Class, dict[str | None, int]] = defaultdict(dict)
    for row in _class_rows(pool):
        groups[row["disease"], row["label"]][row["split"]] = row["groups"]
    faults = []
    for (disease, label), counts in groups.items():
        name = f"{DISEASES[disease].title}, {class_title(label)}"
        unit = unit_of(record.group_key for record in pool if record.disease == disease)
        if counts.get("train", counts.get(None)) == 0:
            faults.append(f"{name}: no training {unit}, so a head cannot learn this class.")
        if min(counts.values()) < MIN_GROUPS:
            listed = ", ".join(f"{counts[split]} {split}" for split in SPLITS if split in counts) or str(counts[None])
            faults.append(f"{name}: {listed} {unit}s; under {MIN_GROUPS} its figures hang on a few {unit}s.")
    return faults


def _source_faults(pool: list[Record]) -> list[str]:
    """Returns a sentence for each disease in which class and cohort cannot be told apart."""
    cohorts: dict[_Class, set[str]] = defaultdict(set)
    for record in pool:
        cohorts[_class_of(record)].add(record.cohort)
    faults = []
    for disease in DISEASES.values():
        healthy = cohorts.get((disease.key, disease.reference), set())
        diseased = set().union(*(cohorts.get((disease.key, label), set()) for label in disease.classes[1:]))
        if healthy and diseased and not healthy & diseased:
            faults.append(
                f"{disease.title}: {class_title(disease.reference)} comes from {_listed(healthy)}, the other classes "
                f"from {_listed(diseased)}; a head can learn the source in place of the disease."
            )
    return faults


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))


def _file_faults(unreadable: list[str]) -> list[str]:
    if len(unreadable) <= _SHOWN:
        return unreadable
    return [*unreadable[:_SHOWN], f"{len(unreadable) - _SHOWN} more files of the sample cannot be read."]
