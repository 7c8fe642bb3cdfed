"""What makes results on a manifest unreliable: leaks, label conflicts and weak points."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from sslmri.cohorts.confounding import find_all_confounding
from sslmri.cohorts.duplicates import find_copies
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.registry import GROUP, MIN_GROUPS, UNKNOWN, unit_of
from sslmri.cohorts.splits import class_counts, in_several_splits
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES, class_title
from sslmri.text import printable_line

_SHOWN = 3
_THIN = f"classes with fewer than {MIN_GROUPS} validation or test groups, or no training group"


@dataclass(frozen=True)
class Check:
    """What one check found.

    It is grave where one finding makes results untrue: a leak or a label conflict. ``found`` has one row a finding; its
    column ``item`` says it in words, and pairs of slices have more columns.
    """

    name: str
    is_grave: bool
    found: pd.DataFrame

    @property
    def count(self) -> int:
        """How many were found."""
        return len(self.found)

    @property
    def examples(self) -> list[str]:
        """The first few, as text."""
        return [str(item) for item in self.found["item"].head(_SHOWN)]


def list_findings(checks: Sequence[Check]) -> pd.DataFrame:
    """Returns every finding, one a row: column ``check``, then those of the findings."""
    tables = [check.found.assign(check=check.name).astype(object) for check in checks]
    table = pd.concat(tables, ignore_index=True)
    return table[["check", *table.columns.drop("check")]]


def tabulate(checks: Sequence[Check], grave: Sequence[str]) -> str:
    """Returns an audit as a table of check, count and examples, with the verdict below.

    ``grave`` names the checks that found a leak or a label conflict.
    """
    width = max(len(check.name) for check in checks)
    lines = [f"{'check':{width}}  {'count':>7}  examples"]
    lines += [f"{check.name:{width}}  {check.count:>7}  {'; '.join(check.examples)}" for check in checks]
    verdict = f"leak or label conflict: {', '.join(grave)}" if grave else "no leak and no label conflict"
    return "\n".join(printable_line(line.rstrip()) for line in (*lines, "", verdict))


def audit(records: list[Record], store: Store) -> list[Check]:
    """Returns what is wrong with the data, in the order it is printed: leaks, label conflicts and weak points.

    Records are all of a manifest, with their splits; the store has the slices of those that are in one.
    """
    leaks, *others = check_records(records)
    copies = _named(find_copies(store), store)
    same, near = copies[copies["is_identical"]], copies[~copies["is_identical"]]
    return [
        leaks,
        Check("identical files in two groups", False, same),
        Check("identical files in two splits", True, _across(same)),
        Check("near copies in two groups", False, near),
        Check("near copies in two splits", True, _across(near)),
        Check("same image with two labels", True, _conflicting(copies)),
        *others,
        Check("files that cannot be read", False, _items(f"{record.name}: {reason}" for record, reason in store.bad)),
    ]


def check_records(records: list[Record]) -> list[Check]:
    """Returns what is wrong with records by what their manifest says, their splits included, without reading files."""
    pool = [record for record in records if record.split is not None]
    unknown = {record.group_key for record in pool if record.group.startswith(UNKNOWN)}
    shared = [f"{group} ({' and '.join(splits)})" for group, splits in in_several_splits(pool).items()]
    return [
        Check("groups in two splits", True, _items(shared)),
        Check("groups with two labels of one disease", True, _items(_with_two_labels(records))),
        Check("groups without ids", False, _items(sorted(unknown))),
        Check("cohorts whose groups are not known to be subjects", False, _items(_without_subjects(pool))),
        Check("cohorts with one class of a disease", False, _items(_one_class_cohorts(pool))),
        Check("classes of one cohort only", False, _items(_one_cohort_classes(pool))),
        Check(_THIN, False, _items(_thin_classes(pool))),
    ]


def _items(found: Iterable[str]) -> pd.DataFrame:
    return pd.DataFrame({"item": list(found)}, dtype=object)


def _named(copies: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Returns pairs of rows of the store as pairs of records, each with a description."""
    table = copies.drop(columns=["first", "second"])
    for side in ("second", "first"):
        copied = [store.records[row] for row in copies[side]]
        for field in ("label", "disease", "split", "group_key", "name"):
            table.insert(0, f"{side}_{field}", [getattr(record, field) for record in copied])
    said = table[["first_name", "second_name", "first_split", "second_split", "transform"]].to_numpy()
    table.insert(0, "item", [f"{a} = {b} ({', '.join(filter(None, (f'{s}/{t}', how)))})" for a, b, s, t, how in said])
    return table


def _across(copies: pd.DataFrame) -> pd.DataFrame:
    return copies[copies["first_split"] != copies["second_split"]]


def _conflicting(copies: pd.DataFrame) -> pd.DataFrame:
    """Returns the pairs with two labels of one disease; a blank disease equals none, not even another blank."""
    is_one_disease = copies["first_disease"].notna() & (copies["first_disease"] == copies["second_disease"])
    return copies[is_one_disease & (copies["first_label"] != copies["second_label"])]


def _with_two_labels(records: list[Record]) -> Iterator[str]:
    """Yields groups with two labels of one disease, records outside the split included."""
    labels = defaultdict(set)
    for record in records:
        if record.disease is not None:
            labels[record.group_key, record.disease].add(str(record.label))
    for (group, disease), labels_found in sorted(labels.items()):
        if len(labels_found) > 1:
            yield f"{group} ({disease}: {' and '.join(sorted(labels_found))})"


def _without_subjects(pool: list[Record]) -> Iterator[str]:
    slices = defaultdict(list)
    for record in pool:
        slices[record.cohort].append(record.group_key)
    for cohort, groups in sorted(slices.items()):
        if unit_of(groups) == GROUP:
            is_single = len(set(groups)) == len(groups)
            what = "each one image" if is_single else f"of {len(groups)} images"
            yield f"{cohort} ({len(set(groups))} groups, {what})"


def _one_class_cohorts(pool: list[Record]) -> list[str]:
    """Returns cohorts that reveal the label: the classifier may learn the source instead of the disease."""
    return sorted(
        f"{cohort} ({confounding.disease.title}: {class_title(label)})"
        for confounding in find_all_confounding(pool)
        for cohort, label in confounding.single_class_cohorts
    )


def _one_cohort_classes(pool: list[Record]) -> list[str]:
    return [
        f"{confounding.disease.title}: {class_title(label)} ({', '.join(cohorts)})"
        for confounding in find_all_confounding(pool)
        for label, cohorts in confounding.cohorts.items()
        if len(cohorts) == 1
    ]


def _thin_classes(pool: list[Record]) -> Iterator[str]:
    """Yields classes with too few groups to test or calibrate on, or none to learn from."""
    for row in class_counts(pool).to_dict("records"):
        least = 1 if row["split"] == "train" else MIN_GROUPS
        if row["groups"] < least:
            name = f"{DISEASES[row['disease']].title}: {class_title(row['label'])}"
            yield f"{name} ({row['groups'] or 'no'} {row['split']} group{'' if row['groups'] == 1 else 's'})"
