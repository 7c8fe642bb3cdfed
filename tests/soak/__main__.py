"""Every trial at its full count: ``make soak``. Prints each row as it ends and writes the table.

Some trials have the machine to themselves; then two lanes of trials go side by side.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import tyro

from sslmri.files import write_atomically
from tests.harness.server import ROOT
from tests.soak.lanes import run_all
from tests.soak.result import Row, row

_PACKAGES = ("streamlit", "torch", "pydicom", "nibabel", "pillow")
_MOST_MINUTES = 40.0


@dataclass(frozen=True)
class Settings:
    """Try every hazard many times against the real thing.

    Attributes:
        out: where the table is written.
    """

    out: Path = Path("docs/soak.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the trials; returns 1 if something failed that is not known to fail, or all took too long."""
    settings = tyro.cli(Settings, args=arguments, prog="python -m tests.soak", description=__doc__)
    pending = time.monotonic()
    rows = list(run_all())
    minutes = (time.monotonic() - pending) / 60
    is_late = minutes > _MOST_MINUTES
    rows.append(row("the whole run, at most 40 minutes", 1, [f"{minutes:.1f} minutes"] * is_late, f"{minutes:.1f}"))
    text = _table(rows, minutes)
    write_atomically(settings.out, lambda path: path.write_text(text, encoding="utf-8"))
    print(text)
    return 1 if any(row.failed > row.known for row in rows) else 0


def _table(rows: Sequence[Row], minutes: float) -> str:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [
        "# The last long trial",
        "",
        f"`make soak` at {_commit()} on {datetime.now(UTC):%Y-%m-%d} in {minutes:.0f} minutes, "
        f"on {os.cpu_count()} cores ({platform.machine()}), {gigabytes:.0f} GB, "
        f"{platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, {packages}.",
        "",
        "| hazard | tried | failed | measured |",
        "|---|---:|---:|---|",
        *(f"| {_cell(row.hazard)} | {row.tried:,} | {_failures(row)} | {_cell(row.measured)} |" for row in rows),
    ]
    missing = [f"- {row.hazard}: {row.measured}" for row in rows if not row.tried]
    faults = [f"- {row.hazard}: {fault}" for row in rows for fault in row.faults]
    for title, found in (("Not tried on this machine", missing), ("What failed", faults)):
        lines += ["", f"## {title}", "", *found] if found else []
    return "\n".join(lines) + "\n"


def _commit() -> str:
    """Returns the commit that was tried, and whether files had been changed since."""
    commit, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain")
    return (commit or "no commit") + (" + changes" if changes else "")


def _git(*words: str) -> str:
    done = subprocess.run(("git", *words), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip()


def _failures(row: Row) -> str:
    return f"{row.failed:,} ({row.known} known)" if row.known else f"{row.failed:,}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
