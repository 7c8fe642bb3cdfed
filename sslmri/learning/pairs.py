"""Which two slices make a positive pair, and which share a batch."""

import numpy as np
from torch import Generator, randint, randperm

from sslmri.cohorts.store import Store


class PairSampler:
    """Draws the batches of an epoch as pairs of rows.

    As published (``neighbours`` 0) both views of a pair come from one slice and batches are drawn at random (Chen et
    al. 2020). The slices of one person are then negatives of each other, and telling people apart is what is learned.
    Otherwise the second view comes from another slice of the same group at most ``neighbours`` slice numbers away
    where there is one, as in Azizi et al. 2021 (arXiv:2101.05224), and the slices of a group are dealt
    to as many batches as there are, so that they are rarely negatives of each other.
    """

    def __init__(self, pool: Store, neighbours: int) -> None:
        """Looks up who may be paired with whom."""
        self._n_rows = len(pool.records)
        self._is_published = neighbours == 0
        rows_of: dict[str, list[int]] = {}
        for row, record in enumerate(pool.records):
            rows_of.setdefault(record.group_key, []).append(row)
        self._groups = [np.array(rows) for rows in rows_of.values()]
        numbers = [record.slice_number for record in pool.records]
        self._partners = [np.array([row]) for row in range(self._n_rows)]
        for rows in rows_of.values() if neighbours else ():
            for row in rows:
                near = [other for other in rows if other != row and _apart(numbers[row], numbers[other]) <= neighbours]
                self._partners[row] = np.array(near or [row])

    def epoch(self, batch_size: int, generator: Generator) -> list[np.ndarray]:
        """Returns the rows of each batch: (2, batch_size); what is left over after the last full batch is left out."""
        n_batches = self._n_rows // batch_size
        order = randperm(self._n_rows, generator=generator).numpy()[: n_batches * batch_size]
        if not self._is_published:
            order = self._dealt(n_batches, order)
        first = order.reshape(n_batches, batch_size)
        drawn = randint(2**31, first.shape, generator=generator).numpy()
        return [np.stack([rows, self._partner(rows, draws)]) for rows, draws in zip(np.sort(first), drawn, strict=True)]

    def _partner(self, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
        chosen = (self._partners[row] for row in rows)
        return np.array([near[draw % len(near)] for near, draw in zip(chosen, draws, strict=True)])

    def _dealt(self, n_batches: int, order: np.ndarray) -> np.ndarray:
        """Returns the rows so that each batch holds as few of a group as can be, largest groups dealt first."""
        left_out = self._n_rows
        rank = np.full(self._n_rows, left_out)
        rank[order] = np.arange(len(order))
        groups = [rows for own in self._groups if len(rows := own[rank[own] < left_out])]
        piles: list[list[int]] = [[] for _ in range(n_batches)]
        for rows in sorted(groups, key=lambda rows: (-len(rows), rank[rows].min())):
            by_size = sorted(range(n_batches), key=lambda pile: (len(piles[pile]), rank[pile]))
            for turn, row in enumerate(rows[np.argsort(rank[rows])]):
                piles[by_size[turn % n_batches]].append(int(row))
        return np.array(piles)


def _apart(one: int | None, other: int | None) -> float:
    return float("inf") if one is None or other is None else abs(one - other)
