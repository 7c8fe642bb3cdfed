"""The command line beside training: ``python -m sslmri screen | manifest``. ``--help`` lists every flag."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from sslmri.errors import ScanError, SslmriError
from sslmri.files import write_atomically

DEFAULT_MODEL = Path(__file__).resolve().parents[1] / "models" / "default"


@dataclass(frozen=True)
class Screen:
    """Screen pictures for every disease of the model: one JSON object a line, in the order given.

    Exit code 0: every file was screened; 2: some were refused; 1: nothing could run.

    Attributes:
        paths: files, or folders whose files are taken in order of their names.
        model: the model folder.
        csv: also write the findings as a table, one row for each file and disease.
        overlays: also write each finding's map over its key slice, as PNG files into this folder.
    """

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    model: Path = DEFAULT_MODEL
    csv: Path | None = None
    overlays: Path | None = None

    def start(self) -> int:
        """Runs the command and returns its exit code."""
        from sslmri.screening.batch import csv_rows, list_files, screen_files, write_overlays
        from sslmri.screening.screener import Screener

        files = list_files(self.paths)
        if not files:
            raise ScanError("Expected files to screen, got none: name files or folders that hold some.")
        printed: list[dict[str, Any]] = []
        for number, outcome in enumerate(screen_files(Screener.load(self.model), files), start=1):
            printed.append(outcome.to_json())
            print(json.dumps(printed[-1]), flush=True)
            if self.overlays and outcome.screening:
                write_overlays(self.overlays, number, outcome.screening)
        if self.csv:
            write_atomically(self.csv, lambda path: path.write_text(csv_rows(printed), encoding="utf-8"))
        return 2 if any(entry["status"] == "refused" for entry in printed) else 0


@dataclass(frozen=True)
class Manifest:
    """Turn a downloaded folder into a manifest.

    Attributes:
        folder: the folder as it was downloaded.
        cohort: which public cohort it is: oasis, alzheimers_6400, tumours, ms or parkinsons.
        out: where to write; by default ``manifest.csv`` inside the folder.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    cohort: str
    out: Path | None = None

    def start(self) -> int:
        """Runs the command and returns its exit code."""
        from sslmri.cohorts.manifest import write_manifest
        from sslmri.cohorts.public import build_manifest

        rows = build_manifest(self.folder, self.cohort)
        out = self.out or self.folder / "manifest.csv"
        if out.parent.resolve() != self.folder.resolve():
            rows["path"] = [str(self.folder.resolve() / name) for name in rows["path"]]
        write_manifest(out, rows)
        print(f"{out}: {len(rows)} slices, {rows['group'].nunique()} groups")
        return 0


def main() -> int:
    """Runs the command and returns its exit code."""
    command = tyro.cli(Screen | Manifest, prog="python -m sslmri", description=__doc__)
    try:
        return command.start()
    except (SslmriError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
