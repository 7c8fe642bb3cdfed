"""Which records stand for many: as equal a number of each group as there is, at equal distances within a group."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import TypeVar

from sslmri.cohorts.manifest import Record

Item = TypeVar("Item")


def sample_groups(records: Sequence[Record], count: int) -> list[int]:
    """Returns, sorted, the positions of at most ``count`` records, as equally many of each group as it has."""
    groups: dict[str, list[int]] = defaultdict(list)
    for position, record in enumerate(records):
        groups[record.group_key].append(position)
    named = [groups[name] for name in sorted(groups)]
    chosen: list[int] = []
    # the smallest groups first, so that what they lack falls to the others
    for n_left, members in zip(
        range(min(len(named), count), 0, -1), sorted(_evenly(named, count), key=len), strict=True
    ):
        chosen += _evenly(members, -(-(count - len(chosen)) // n_left))
    return sorted(chosen)


def sample_classes(records: Sequence[Record], per_class: int) -> list[int]:
    """Returns, sorted, the positions of at most ``per_class`` records of each class, taken as by ``sample_groups``."""
    classes = [list(chain.from_iterable(groups.values())) for groups in rows_by_class(records).values()]
    return sorted(
        members[position]
        for members in classes
        for position in sample_groups([records[position] for position in members], per_class)
    )


def rows_by_class(records: Sequence[Record]) -> dict[tuple[str, str], dict[str, list[int]]]:
    """Returns the positions of labelled records by disease and class, in order, and among these by group."""
    rows: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, record in enumerate(records):
        if record.disease is not None:
            rows[record.disease, str(record.label)][record.group_key].append(position)
    return dict(sorted(rows.items()))


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Returns at most ``count`` of the items at equal distances, the middle one for 1."""
    count = min(count, len(items))
    return [items[int((step + 0.5) * len(items) / count)] for step in range(count)]
