"""Screening of many scans: refusals do not stop the others, and memory does not grow with their number."""

import csv
import io
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sslmri.cohorts.workers import in_order
from sslmri.errors import WorkerError
from sslmri.files import neutralised, sha256_of, write_atomically
from sslmri.models.cards import INTENDED_USE
from sslmri.scans.group_files import gather, prepare_scans
from sslmri.scans.prepare import Prepared
from sslmri.screening.report.report_data import OPACITY, Reported, make_refusal, make_sheet, paint_key_slice, scaled
from sslmri.screening.screener import Screener, Screening

TOGETHER = 16  # scans whose slices go through the encoder at once
_OVERLAY_SIDE = 512  # pixels along the longer side
_COLUMNS = (
    "scan", "file", "n_files", "sha256", "file_status", "reason", "disease", "applicable", "predicted", "probability",
    "prediction_set", "status", "coverage", "threshold_low", "threshold_high", "warnings", "model_sha256", "notice",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one scan: a screening, or the sentence why there is none.

    Attributes:
        files: one, or those of a series.
        screening: or None.
        reason: or None.
    """

    files: tuple[Path, ...]
    screening: Screening | None
    reason: str | None

    @property
    def file(self) -> str:
        """The first of the files."""
        return str(self.files[0])

    def to_json(self) -> dict[str, Any]:
        """Returns the object that the command line prints for the scan."""
        findings = [finding.to_json() for finding in self.screening.findings] if self.screening else []
        return {
            "file": self.file,
            "n_files": len(self.files),
            "sha256": self.screening.sha256 if self.screening else None,
            "status": "screened" if self.screening else "refused",
            "reason": self.reason,
            "findings": findings,
            "warnings": list(self.screening.warnings) if self.screening else [],
            "model_sha256": self.screening.model_sha256 if self.screening else None,
            "notice": INTENDED_USE,
        }

    def to_report(self) -> Reported:
        """Returns what a report needs of the scan, without the name of its file."""
        if self.screening:
            return make_sheet(self.screening)
        names = [path.name for path in self.files]
        is_single = len(names) == 1 and self.files[0].is_file() and os.access(self.files[0], os.R_OK)
        return make_refusal(names, self.reason or "", sha256_of(self.files[0]) if is_single else None)


def screen_files(screener: Screener, paths: Iterable[Path]) -> Iterator[Outcome]:
    """Yields the outcome of each scan, in order; the files of one series in one folder are one scan.

    Worker processes read and prepare the next scans while the encoder looks at these. Several batches are looked at
    side by side, each on one thread: threads that share a batch wait for each other at every layer. A single batch
    has all threads and no worker.

    Raises:
        WorkerError: a worker was killed; the outcomes before that have come.
    """
    scans = gather(paths)
    groups = [scans[start : start + TOGETHER] for start in range(0, len(scans), TOGETHER)]
    prepare = partial(prepare_scans, preparation=screener.card.encoder.preparation)
    workers = max(1, min(os.cpu_count() or 1, len(groups)))
    side_by_side = max(1, min(torch.get_num_threads(), len(groups)))
    pending: deque[Future[list[Outcome]]] = deque()
    with (
        closing(in_order(prepare, groups, workers)) as prepared,
        _threads_of_a_batch(1 if side_by_side > 1 else torch.get_num_threads()),
        ThreadPoolExecutor(side_by_side) as pool,
    ):
        stopped = None
        try:
            for group, found in zip(groups, prepared, strict=True):
                pending.append(pool.submit(_screen_together, screener, group, found))
                if len(pending) > side_by_side:
                    yield from pending.popleft().result()
        except WorkerError as error:
            stopped = error
        while pending:
            yield from pending.popleft().result()
        if stopped:
            raise stopped


@contextmanager
def _threads_of_a_batch(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def list_files(paths: Iterable[Path]) -> list[Path]:
    """Returns the files named, folders replaced by the files below them in order of their names, hidden ones left out.

    A path that does not exist stays in the list, to be refused in its place.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        else:
            files.append(path)
    return files


def csv_rows(outcomes: Iterable[dict[str, Any]]) -> str:
    """Returns a CSV table of printed outcomes: one row for each scan and disease; formulas are neutralised.

    ``reason`` says why a file was refused, or why a head does not apply to it and has no number.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for number, outcome in enumerate(outcomes, start=1):
        shared = {
            "scan": number,
            "file": neutralised(outcome["file"]),
            "n_files": outcome["n_files"],
            "sha256": outcome["sha256"],
            "file_status": outcome["status"],
            "reason": neutralised(outcome["reason"]),
            "warnings": neutralised(" ".join(outcome["warnings"])),
            "model_sha256": outcome["model_sha256"],
            "notice": outcome["notice"],
        }
        for finding in outcome["findings"]:
            writer.writerow(shared | finding | _answer(finding))
        if not outcome["findings"]:
            writer.writerow(shared)
    return text.getvalue()


def _answer(finding: dict[str, Any]) -> dict[str, Any]:
    """Returns the cells of a printed finding's answer, empty where the head does not apply."""
    if not finding["applicable"]:
        return {"probability": None, "prediction_set": None}
    probability = finding["probabilities"][finding["predicted"]]
    return {"probability": probability, "prediction_set": " ".join(finding["prediction_set"])}


def overlay_png(screening: Screening, index: int, opacity: float = OPACITY) -> bytes:
    """Returns the map of a finding's predicted class over its key slice, as PNG."""
    buffer = io.BytesIO()
    scaled(paint_key_slice(screening, screening.findings[index], opacity), _OVERLAY_SIDE).save(buffer, "PNG")
    return buffer.getvalue()


def write_overlays(folder: Path, number: int, screening: Screening) -> None:
    """Writes ``0001-alzheimers.png`` ... for the scan of that number; a head that does not apply has no map.

    File names never come from the upload.
    """
    for index, finding in enumerate(screening.findings):
        if finding.applicable:
            write = partial(Path.write_bytes, data=overlay_png(screening, index))
            write_atomically(folder / f"{number:04d}-{finding.disease}.png", write)


def _screen_together(screener: Screener, scans: Sequence[tuple[Path, ...]], found: Sequence[Prepared]) -> list[Outcome]:
    good = [pair for pair in found if not isinstance(pair, str)]
    screenings = iter(screener.screen_slices(good) if good else [])
    return [
        Outcome(files, None, pair) if isinstance(pair, str) else Outcome(files, next(screenings), None)
        for files, pair in zip(scans, found, strict=True)
    ]
