"""Every trial at its full count: ``make soak``. Prints each row as it ends and writes the table.

The uploads at once are timed with the machine to themselves; then two lanes of trials go side by side.
"""

import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import tyro

from soak.lanes import run_all
from soak.row import Row
from sslmri.files import write_atomically

_PACKAGES = ("streamlit", "torch", "pydicom", "nibabel", "pillow")


@dataclass(frozen=True)
class Settings:
    """Try every hazard many times against the real thing.

    Attributes:
        out: where the table is written.
    """

    out: Path = Path("docs/soak.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the trials; returns 1 if something failed."""
    settings = tyro.cli(Settings, args=arguments, prog="python -m soak", description=__doc__)
    begun = time.monotonic()
    rows = list(run_all())
    minutes = (time.monotonic() - begun) / 60
    text = _table(rows, minutes)
    write_atomically(settings.out, lambda path: path.write_text(text, encoding="utf-8"))
    print(text)
    return 1 if any(row.failed for row in rows) else 0


def _table(rows: Sequence[Row], minutes: float) -> str:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [
        "# The last long trial",
        "",
        f"`make soak` on {datetime.now(UTC):%Y-%m-%d} in {minutes:.0f} minutes, on {os.cpu_count()} cores "
        f"({platform.machine()}), {gigabytes:.0f} GB, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, {packages}.",
        "",
        "| hazard | tried | failed | measured |",
        "|---|---:|---:|---|",
        *(f"| {_cell(row.hazard)} | {row.tried:,} | {row.failed:,} | {_cell(row.measured)} |" for row in rows),
    ]
    missing = [f"- {row.hazard}: {row.measured}" for row in rows if not row.tried]
    faults = [f"- {row.hazard}: {fault}" for row in rows for fault in row.faults]
    for title, found in (("Not tried on this machine", missing), ("What failed", faults)):
        lines += ["", f"## {title}", "", *found] if found else []
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
