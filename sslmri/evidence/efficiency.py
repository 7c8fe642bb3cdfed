"""Label-efficiency curves: what each encoder reaches by labels a class, compared on the same resamples of groups."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sslmri.diseases import DISEASES, Disease, class_title
from sslmri.errors import ModelError
from sslmri.evidence.confusion import balanced_accuracy, confusions
from sslmri.evidence.intervals import MIN_GROUPS, disease_shortage, interval, shortage
from sslmri.evidence.ranking import aurocs
from sslmri.evidence.sample import Sample, draw_sample

FORMAT = "sslmri-label-efficiency-1"
EFFICIENCY_FILE = "label_efficiency.json"
SIMCLR, RANDOM, PIXELS = "simclr", "random", "pixels"
ENCODER_TITLES = {SIMCLR: "SimCLR encoder", RANDOM: "random encoder", PIXELS: "pixels, PCA + logistic"}
PROBE, FINETUNE, FLOOR = "linear-probe", "fine-tune", "floor"
MEASURES = {
    "subject_auroc": "AUROC of any disease, {unit}s",
    "auroc": "AUROC of any disease, slices",
    "balanced_accuracy": "Balanced accuracy, slices",
    "subject_balanced_accuracy": "Balanced accuracy, {unit}s",
    "types_balanced_accuracy": "Balanced accuracy among the types, slices",
}
_KEYS = {"encoder_created", "groups_sha256", "protocol", "created", "settings", "notes", "diseases"}
_ADVICE = "run `python train.py label-efficiency` again"


class Cell(NamedTuple):
    """One fit: an encoder (or the pixels), how it was taught, labels a class, seed."""

    encoder: str
    regime: str
    labels: int
    seed: int


def measures_of(disease: Disease, sample: Sample) -> dict[str, np.ndarray]:
    """Returns each measure of ``MEASURES`` that the disease has, as it is and in each resample: (1 + B,).

    The AUROC is that of any disease, ``1 - p_0``, against class 0; balanced accuracy is the mean recall of the classes
    among the test groups. A group has the mean probabilities of its slices. Types are the classes but the reference,
    among the slices that show one; stages and two-class diseases have none.
    """
    grouped = sample.by_group()
    found = {
        "subject_auroc": aurocs(grouped, grouped.labels > 0, 1 - grouped.probabilities[:, 0]),
        "auroc": aurocs(sample, sample.labels > 0, 1 - sample.probabilities[:, 0]),
        "balanced_accuracy": balanced_accuracy(confusions(sample)),
        "subject_balanced_accuracy": balanced_accuracy(confusions(grouped)),
    }
    if len(disease.classes) > 2 and not disease.is_ordinal and (sample.labels > 0).any():
        shown = sample.only(sample.labels > 0)
        types = replace(shown, probabilities=shown.probabilities[:, 1:], labels=shown.labels - 1)
        found["types_balanced_accuracy"] = balanced_accuracy(confusions(types))
    return found


def compare_cells(
    disease: Disease, truth: np.ndarray, groups: np.ndarray, cells: Mapping[Cell, np.ndarray]
) -> dict[str, list[dict[str, Any]]]:
    """Returns the points of all curves, and how far the SimCLR encoder is above the others at each of them.

    A point is the mean over seeds of a measure m, ``1/S sum_s m(p_s)``; a difference is
    ``1/S sum_s (m(p_s) - m(q_s))`` of the fits p and q on the same labelled slices. Both are taken within each
    resample, and their intervals are the 2.5th and 97.5th percentiles over the resamples (Efron and Tibshirani 1993,
    chapter 13): intervals hold what other test groups would change; what other labels would, the ``seeds`` show.

    Args:
        disease: whose classes are predicted.
        truth: (N,) class indices of the test slices.
        groups: (N,) their groups; the draws of a resample depend on these and on the seed alone.
        cells: probabilities (N, C) of each fit.

    Raises:
        ManifestError: a group with two classes.
        ModelError: probabilities that are not finite, or not one row a slice.
    """
    samples = {cell: draw_sample(truth, probabilities, groups) for cell, probabilities in cells.items()}
    found = {cell: measures_of(disease, sample) for cell, sample in samples.items()}
    labels_of_groups = next(iter(samples.values())).labels
    points: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in sorted(found):
        points.setdefault(cell[:3], []).append(cell)
    curves, differences = [], []
    for (encoder, regime, labels), own in points.items():
        point = {"encoder": encoder, "regime": regime, "labels": labels}
        curves += [{**point, **rest} for rest in _estimates(labels_of_groups, [found[cell] for cell in own])]
        for other, other_regime in ((RANDOM, regime), (PIXELS, FLOOR)) if encoder == SIMCLR else ():
            rivals = [cell._replace(encoder=other, regime=other_regime) for cell in own]
            if all(rival in found for rival in rivals):
                gains = [_gain(found[cell], found[rival]) for cell, rival in zip(own, rivals, strict=True)]
                point = {"regime": regime, "labels": labels, "against": other}
                differences += [{**point, **rest} for rest in _estimates(labels_of_groups, gains)]
    return {"curves": curves, "differences": differences}


def small_classes_note(disease: Disease, truth: np.ndarray, groups: np.ndarray) -> list[str]:
    """Returns a sentence on the classes with too few test groups, or none; arguments as of ``compare_cells``."""
    counts = [len(np.unique(groups[truth == index])) for index in range(len(disease.classes))]
    small = [f"{class_title(label)} ({n})" for label, n in zip(disease.classes, counts, strict=True) if n < MIN_GROUPS]
    if not small:
        return []
    return [f"Under {MIN_GROUPS} test groups: {', '.join(small)}. Intervals of balanced accuracies are too narrow."]


def read_label_efficiency(folder: Path) -> dict[str, Any] | None:
    """Returns the content of ``label_efficiency.json`` in a folder of evidence, None where it was not measured.

    Raises:
        ModelError: it is damaged or of another format.
    """
    path = folder / EFFICIENCY_FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"Expected JSON in {path}, got something else: {_ADVICE}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= _KEYS:
        raise ModelError(f"Expected label efficiency of format {FORMAT} in {path}, got another: {_ADVICE}.")
    return content


def efficiency_report(content: Mapping[str, Any]) -> str:
    """Returns the table that ``label-efficiency`` prints, one row a disease, measure, regime and labels a class."""
    lines = ["| task | measure | regime | labels | SimCLR | random | pixels | SimCLR - random | SimCLR - pixels |"]
    lines.append("|" + "---|" * 9)
    for key, result in content["diseases"].items():
        curves = {_place(row, row["encoder"]): row for row in result["curves"]}
        gains = {_place(row, row["against"]): row for row in result["differences"]}
        for (measure, regime, labels, encoder), row in curves.items():
            if encoder == SIMCLR:
                random = curves.get((measure, regime, labels, RANDOM))
                pixels = curves.get((measure, FLOOR, labels, PIXELS))
                against = (gains.get((measure, regime, labels, other)) for other in (RANDOM, PIXELS))
                cells = [DISEASES[key].title, MEASURES[measure].format(unit=result["unit"]), regime, str(labels)]
                figures = [*(_shown(own) for own in (row, random, pixels)), *(_shown(own, "+") for own in against)]
                lines.append(f"| {' | '.join([*cells, *figures])} |")
    return "\n".join(lines)


def _place(row: Mapping[str, Any], encoder: str) -> tuple[str, str, int, str]:
    return row["measure"], row["regime"], row["labels"], encoder


def _shown(estimate: Mapping[str, Any] | None, sign: str = "") -> str:
    if estimate is None:
        return "not run"
    if estimate["value"] is None:
        return f"{estimate['raw']:{sign}.3f}, not estimable"
    return f"{estimate['value']:{sign}.3f} ({estimate['low']:{sign}.3f} to {estimate['high']:{sign}.3f})"


def _gain(own: Mapping[str, np.ndarray], rival: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: own[name] - rival[name] for name in own}


def _estimates(labels: np.ndarray, by_seed: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Returns one estimate a measure, from the figures (1 + B,) of each seed; undefined ones are left out."""
    stacked = {name: np.stack([figures[name] for figures in by_seed]) for name in by_seed[0]}
    return [
        {
            "measure": name,
            **interval(figures.mean(axis=0), _shortage(labels, name)),
            "seeds": figures[:, 0].tolist(),
        }
        for name, figures in stacked.items()
        if np.isfinite(figures).all()
    ]


def _shortage(labels: np.ndarray, measure: str) -> str | None:
    """Returns why a measure is not estimable from test groups of these classes (G,), or None if it is."""
    if measure.startswith("types"):
        return shortage(int(np.count_nonzero(labels)), " with disease")
    return disease_shortage(labels)
