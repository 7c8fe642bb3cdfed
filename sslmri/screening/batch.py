"""Screening of many files: refusals do not stop the others, and memory does not grow with their number."""

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
from PIL import Image

from sslmri.cohorts.workers import in_order
from sslmri.errors import WorkerError
from sslmri.files import neutralised, write_atomically
from sslmri.learning.cards import INTENDED_USE
from sslmri.scans.prepare import Prepared, prepare_files
from sslmri.screening.saliency import enlarge, paint
from sslmri.screening.screener import Screener, Screening

TOGETHER = 16  # files whose slices go through the encoder at once
_OVERLAY_SIDE = 512  # pixels along the longer side
_OPACITY = 0.7
_COLUMNS = (
    "file", "file_status", "reason", "disease", "applicable", "predicted", "probability", "status", "coverage",
    "threshold_low", "threshold_high", "warnings", "model_sha256", "notice",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a screening, or the sentence why there is none."""

    file: str
    screening: Screening | None
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Returns the object that the command line prints for the file."""
        findings = [finding.to_json() for finding in self.screening.findings] if self.screening else []
        return {
            "file": self.file,
            "status": "screened" if self.screening else "refused",
            "reason": self.reason,
            "findings": findings,
            "warnings": list(self.screening.warnings) if self.screening else [],
            "model_sha256": self.screening.model_sha256 if self.screening else None,
            "notice": INTENDED_USE,
        }


def screen_files(screener: Screener, paths: Iterable[Path]) -> Iterator[Outcome]:
    """Yields the outcome of each file, in order.

    Worker processes read and prepare the next files while the encoder looks at these. Several batches are looked at
    side by side, each on one thread: threads that share a batch wait for each other at every layer. A single batch
    has all threads and no worker.

    Raises:
        WorkerError: a worker was killed; the outcomes before that have come.
    """
    files = list(paths)
    groups = [files[start : start + TOGETHER] for start in range(0, len(files), TOGETHER)]
    prepare = partial(prepare_files, preparation=screener.card.encoder.preparation)
    workers = max(1, min(os.cpu_count() or 1, len(groups)))
    side_by_side = max(1, min(torch.get_num_threads(), len(groups)))
    begun: deque[Future[list[Outcome]]] = deque()
    with (
        closing(in_order(prepare, groups, workers)) as prepared,
        _threads_of_a_batch(1 if side_by_side > 1 else torch.get_num_threads()),
        ThreadPoolExecutor(side_by_side) as pool,
    ):
        stopped = None
        try:
            for group, found in zip(groups, prepared, strict=True):
                begun.append(pool.submit(_screen_together, screener, group, found))
                if len(begun) > side_by_side:
                    yield from begun.popleft().result()
        except WorkerError as error:
            stopped = error
        while begun:
            yield from begun.popleft().result()
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
    """Returns a CSV table of printed outcomes: one row for each file and disease; formulas are neutralised.

    ``reason`` says why a file was refused, or why a head does not apply to it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for outcome in outcomes:
        shared = {
            "file": neutralised(outcome["file"]),
            "file_status": outcome["status"],
            "reason": neutralised(outcome["reason"]),
            "warnings": " ".join(outcome["warnings"]),
            "model_sha256": outcome["model_sha256"],
            "notice": outcome["notice"],
        }
        for finding in outcome["findings"]:
            probability = finding["probabilities"][finding["predicted"]]
            writer.writerow(shared | finding | {"probability": probability})
        if not outcome["findings"]:
            writer.writerow(shared)
    return text.getvalue()


def overlay_png(screening: Screening, index: int, opacity: float = _OPACITY) -> bytes:
    """Returns the map of a finding's predicted class over its key slice, as PNG."""
    finding = screening.findings[index]
    best = list(finding.probabilities).index(finding.predicted)
    slice_ = screening.slices[finding.key_slice]
    level = enlarge(finding.saliency[finding.key_slice, best], slice_.shape) / finding.saliency_scale
    picture = Image.fromarray(paint(slice_, level, opacity))
    factor = _OVERLAY_SIDE / max(slice_.shape)
    size = (round(picture.width * factor), round(picture.height * factor))
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def write_overlays(folder: Path, number: int, screening: Screening) -> None:
    """Writes ``0001-alzheimers.png`` ... for the file of that number; file names never come from the upload."""
    for index, finding in enumerate(screening.findings):
        write = partial(Path.write_bytes, data=overlay_png(screening, index))
        write_atomically(folder / f"{number:04d}-{finding.disease}.png", write)


def _screen_together(screener: Screener, paths: Sequence[Path], found: Sequence[Prepared]) -> list[Outcome]:
    good = [pair for pair in found if not isinstance(pair, str)]
    screenings = iter(screener.screen_slices(good) if good else [])
    return [
        Outcome(str(path), None, pair) if isinstance(pair, str) else Outcome(str(path), next(screenings), None)
        for path, pair in zip(paths, found, strict=True)
    ]
