"""A summary of data as tables: all of it, or that of one disease; and how the classes of a classifier were balanced."""

import json
from collections.abc import Mapping, Sequence

import pandas as pd

from sslmri.cohorts.manifest import TRAIN_USE
from sslmri.cohorts.protocols import EVIDENCE_FOLDERS
from sslmri.cohorts.registry import GROUP, SUBJECT, meaning_of
from sslmri.cohorts.summary import DATA_FILE, QUANTILES
from sslmri.diseases import Disease, class_title
from sslmri.errors import ModelError
from sslmri.models.cards import HeadCard, ModelCard

Summary = Mapping[str, pd.DataFrame]  # by name, each with its columns below

_COLUMNS = {
    "classes": ["disease", "label", "split", "groups", "slices"],
    "sizes": ["cohort", "width", "height", "slices"],
    "intensity": ["disease", "label", "n_slices", "density", "quantiles", "contrast"],
    "formats": ["cohort", "format", "slices"],
    "use": ["cohort", "disease", "use", "groups", "slices", "unit"],
    "faults": ["disease", "text"],
}
_WHOLE = "all"


def find_summary(card: ModelCard | None) -> Summary | None:
    """Returns the summary of the data that a model learned from, or None without a model or a summary.

    Raises:
        ModelError: it is damaged, or of another version.
    """
    if card is None:
        return None
    path = card.folder / EVIDENCE_FOLDERS[card.training.protocol] / DATA_FILE
    try:
        return as_tables(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"Expected the summary of the data in {path}, got something else: run `python train.py evaluate` again."
        ) from error


def as_tables(content: Mapping[str, Sequence[Mapping[str, object]]]) -> Summary:
    """Returns the tables of a summary as ``cohorts.summary`` makes it.

    Raises:
        KeyError, TypeError: it has another form.
    """
    return {
        name: pd.DataFrame([[row[column] for column in columns] for row in content[name]], columns=columns)
        for name, columns in _COLUMNS.items()
    }


def of_disease(summary: Summary, disease: Disease) -> Summary:
    """Returns the rows that concern one disease: its own, those of its cohorts, and faults of any disease."""
    cohorts = summary["use"].loc[summary["use"]["disease"] == disease.key, "cohort"]
    return {
        name: table[
            table["cohort"].isin(cohorts)
            if name in ("sizes", "formats")
            else (table["disease"] == disease.key) | ((name == "faults") & table["disease"].isna())
        ].reset_index(drop=True)
        for name, table in summary.items()
    }


def classes(own: Summary) -> pd.DataFrame:
    """Returns groups and slices of each class and split of a disease."""
    return own["classes"].drop(columns="disease").fillna({"split": _WHOLE})


def intensities(own: Summary, disease: Disease) -> pd.DataFrame:
    """Returns one row per class of a disease: intensity quantiles, contrast."""
    table = _by_class(own, disease)
    titles = ["median" if percent == 50 else f"{percent} %" for percent in QUANTILES]
    quantiles = pd.DataFrame(table["quantiles"].tolist(), columns=titles).round(3)
    named = pd.DataFrame({"class": table["label"].map(class_title)})
    return named.join(quantiles).assign(contrast=table["contrast"].astype(float).round(3))


def files(own: Summary) -> pd.DataFrame:
    """Returns one row per cohort of a disease: sampled files, their formats, their sizes in pixels."""
    formats = own["formats"].groupby("cohort")["format"].agg(", ".join)
    rows = []
    for cohort, sizes in own["sizes"].groupby("cohort"):
        usual = sizes.sort_values("slices").iloc[-1]
        ranges = [" to ".join(map(str, sorted({sizes[side].min(), sizes[side].max()}))) for side in ("width", "height")]
        rows.append((cohort, sizes["slices"].sum(), formats[cohort], f"{usual['width']} x {usual['height']}", *ranges))
    return pd.DataFrame(rows, columns=["cohort", "files", "format", "most frequent size", "width", "height"])


def densities(own: Summary, disease: Disease) -> pd.DataFrame:
    """Returns one row per class and bin: intensity at the middle of the bin, density."""
    bins = _by_class(own, disease)[["label", "density"]].explode("density", ignore_index=True)
    of_class = bins.groupby("label")["density"]
    middles = (of_class.cumcount() + 0.5) / of_class.transform("size")
    return pd.DataFrame({"label": bins["label"], "intensity": middles, "density": bins["density"].astype(float)})


def uses(own: Summary) -> pd.DataFrame:
    """Returns what the records of a disease are used for."""
    return own["use"].drop(columns=["disease", "unit"])


def meaning_of_group(own: Summary) -> str:
    """Returns the sentence that says what a group of the training data of a disease is."""
    units = set(own["use"].loc[own["use"]["use"] == TRAIN_USE, "unit"])
    return meaning_of(SUBJECT if units == {SUBJECT} else GROUP)


def balancing(head: HeadCard) -> pd.DataFrame:
    """Returns the training slices of each class: all, those used, and those repeated in an epoch of fine-tuning.

    The rule is that of ``Store.evenly_per_class`` and ``balanced_epoch``, for groups of equal size.
    """
    limit, per_epoch, per_group = _limits(head)
    counts = {label: head.counts[label]["train"] for label in head.classes}
    there = {label: min(n.slices, limit, n.groups * per_group) for label, n in counts.items()}
    target = min(per_epoch, max(there.values()))
    rows = [
        (class_title(label), counts[label].slices, min(n, target), max(target - n, 0) if n else 0)
        for label, n in there.items()
    ]
    return pd.DataFrame(rows, columns=["class", "labelled", "used", "repeated"])


def balancing_rule(head: HeadCard) -> str:
    """Returns how the training slices were balanced, in a sentence."""
    augmented = "" if head.regime == "linear-probe" else " Repeated slices differ, because every slice is augmented."
    _, per_epoch, per_group = _limits(head)
    drawn = f" and {per_group} of each group" if "slices_per_group" in head.finetuning else ""
    return (
        f"An epoch draws up to {per_epoch} labelled slices of each class{drawn}; classes with fewer are raised to the "
        f"largest by repetition.{augmented}"
    )


def _limits(head: HeadCard) -> tuple[int, int, int]:
    """Returns how many labelled slices of a class are used in all, and drawn of a class and of a group in an epoch."""
    limit = int(head.finetuning["labels_per_class"])
    return (
        limit,
        int(head.finetuning.get("slices_per_class", limit)),
        int(head.finetuning.get("slices_per_group", limit)),
    )


def _by_class(own: Summary, disease: Disease) -> pd.DataFrame:
    """Returns the rows of ``intensity`` in the order of the disease's classes."""
    table = own["intensity"].set_index("label", drop=False)
    return table.loc[[label for label in disease.classes if label in table.index]].reset_index(drop=True)
