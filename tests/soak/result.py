"""What a trial came to: one row of the table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One hazard, how often it was tried and how often what must hold did not.

    Attributes:
        hazard: what was done, and what must hold.
        tried: how often.
        failed: how often it did not hold.
        measured: results with it, and their limits.
        faults: a line on each of the first failures.
        known: how many of the failures are known and told in the README; the run fails on others only.
    """

    hazard: str
    tried: int
    failed: int
    measured: str = ""
    faults: tuple[str, ...] = ()
    known: int = 0


_SHOWN = 5  # failures that a row lists
_INSIDE = re.compile(r"Traceback|\b\w+(Error|Exception)\b|0x[0-9a-f]{6}|site-packages")
_MAX_CHARACTERS = 1000


def row(hazard: str, tried: int, faults: Sequence[str], measured: str = "", known: int = 0) -> Row:
    """Returns the row of a hazard tried that often, with a line for each failure."""
    return Row(hazard, tried, len(faults), measured, tuple(faults[:_SHOWN]), known)


def is_plain_sentence(text: str) -> bool:
    """Returns whether a refusal is plain sentences in one line, without anything from inside the program."""
    return text.endswith(".") and "\n" not in text and len(text) <= _MAX_CHARACTERS and not _INSIDE.search(text)
