"""Numbers and names as pages and reports write them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sslmri.diseases import DISEASES


def proportion(value: float) -> str:
    """Returns a probability or another share with two digits, never rounded up to certainty."""
    if 0 < value < 0.005:
        return "<0.01"
    return ">0.99" if 0.995 <= value < 1 else f"{value:.2f}"


def percent(value: float) -> str:
    """Returns a share in whole per cent."""
    return f"{100 * value:.0f} %"


def interval(measure: Mapping[str, Any]) -> str:
    """Returns a measure with its 95 % interval, or why it cannot be estimated."""
    if measure["value"] is None:
        return str(measure["reason"] or "not estimable")
    return f"{proportion(measure['value'])} ({proportion(measure['low'])} to {proportion(measure['high'])})"


def printable(text: str) -> str:
    """Returns text for a terminal: signs that would steer it, or turn its writing, are written as their numbers."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else sign.encode("unicode_escape").decode() for sign in text
    )


def printable_line(text: str) -> str:
    """Returns text as ``printable`` does, in one line: a name with a line feed in it would begin a line of its own."""
    return printable(text).replace("\n", "\\n")


def format_os_error(error: OSError) -> str:
    """Returns what the system said of a file, as one sentence."""
    place = f" of {error.filename}" if error.filename else ""
    return (
        f"Expected to read and write the files that were named, got: {error.strerror or error}{place}. What was whole "
        "before is kept: make room there, or name files and folders that can be read and written."
    )


def count(number: int, thing: str) -> str:
    """Returns a number of things: ``1 slice``, ``2,310 slices``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def format_timestamp(created: str) -> str:
    """Returns a time, ISO 8601, as people write it: ``2026-11-23 20:25 UTC``."""
    return datetime.fromisoformat(created).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def in_order(keys: Iterable[str]) -> list[str]:
    """Returns disease keys in the order in which the diseases stand everywhere."""
    present = set(keys)
    return [key for key in DISEASES if key in present]
