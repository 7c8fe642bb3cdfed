"""Numbers and names as pages, reports and terminals show them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sslmri.diseases import DISEASES


def proportion(value: float) -> str:
    """Returns a probability or another fraction with two digits, never rounded to 0 or 1."""
    if 0 < value < 0.005:
        return "<0.01"
    return ">0.99" if 0.995 <= value < 1 else f"{value:.2f}"


def percent(value: float) -> str:
    """Returns a fraction in whole per cent."""
    return f"{100 * value:.0f} %"


def capital(text: str) -> str:
    """Returns text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def printable_line(text: str) -> str:
    """Returns text in one line for a terminal: control characters and changes of the writing direction are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_os_error(error: OSError) -> str:
    """Returns what the operating system reported of a file, as two sentences."""
    where = f" ({error.filename})" if error.filename else ""
    return (
        f"A file could not be read or written: {error.strerror or error}{where}. What was complete before is kept. "
        "Free disk space, or name files and folders that can be read and written."
    )


def count(number: int, thing: str) -> str:
    """Returns a number of things: ``1 slice``, ``2,310 slices``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def format_timestamp(created: str) -> str:
    """Returns an ISO 8601 time for display: ``2026-11-23 20:25 UTC``."""
    return datetime.fromisoformat(created).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def in_order(keys: Iterable[str]) -> list[str]:
    """Returns disease keys in the order of ``DISEASES``."""
    present = set(keys)
    return [key for key in DISEASES if key in present]
