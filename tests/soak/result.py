"""What a trial came to: one row of the table."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One hazard, how often it was tried and how often what must hold did not.

    Attributes:
        hazard: what was done, and what must hold.
        tried: how often.
        failed: how often it did not hold.
        measured: figures beside it, with their limits.
        faults: a line on each of the first failures.
        known: how many of the failures are known and told in the README; the run fails on others only.
    """

    hazard: str
    tried: int
    failed: int
    measured: str = ""
    faults: tuple[str, ...] = ()
    known: int = 0


_SHOWN = 5  # failures that a row tells


def row(hazard: str, tried: int, faults: Sequence[str], measured: str = "", known: int = 0) -> Row:
    """Returns the row of a hazard tried that often, with a line for each failure."""
    return Row(hazard, tried, len(faults), measured, tuple(faults[:_SHOWN]), known)
