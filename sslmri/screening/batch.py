"""Screening of many scans: refusals do not stop the others, and memory does not grow with their number."""

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from PIL import Image
from threadpoolctl import threadpool_limits

from sslmri.diseases import SequenceChoice
from sslmri.errors import ScanError
from sslmri.files import sha256_of, write_atomically
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.scans.dicomweb import Archive
from sslmri.scans.group_files import ZippedSeries, list_scans
from sslmri.scans.prepare import contents_of, prepare_files, read_paths
from sslmri.scans.sandbox import read_headers
from sslmri.scans.slices import PreparedScan
from sslmri.screening.outcome import Entry, Refusal, ScreeningArrays
from sslmri.screening.report.dicom import as_bytes, dicom_results
from sslmri.screening.report.images import paint_key_slice
from sslmri.screening.screener import Screener

if TYPE_CHECKING:
    from sslmri.cohorts.manifest import Record  # with pandas, which screening does without

BATCH_SCANS = 16  # whose slices go through the encoder at once
_OVERLAY_SIDE = 512  # pixels along the longer side
_SERIES = re.compile(r", series \d+$")  # after the name of a zip file of several

Screened = tuple[Entry, ScreeningArrays | None]
_ScanFiles = tuple[Path, ...] | ZippedSeries


def screen_files(
    screener: Screener, paths: Iterable[Path], sequence: SequenceChoice | None = None, *, is_aligned: bool = True
) -> Iterator[Screened]:
    """Yields each scan with its arrays, in order; the files of one series in one folder are one scan, each
    series of a zip file another.

    Several batches go through the encoder in parallel, each on one thread: threads that share a batch wait for each
    other at every layer. A single batch has all threads. The next batch is read meanwhile. The user may say the
    sequence of all scans, and that no whole head is aligned for the classifiers that need it, which takes seconds each.
    """
    scans = list_scans(paths)
    in_parallel = max(1, min(torch.get_num_threads(), -(-len(scans) // BATCH_SCANS)))
    pending: deque[Future[list[Screened]]] = deque()
    with (
        _threads_of_a_batch(1 if in_parallel > 1 else torch.get_num_threads()),
        ThreadPoolExecutor(in_parallel) as readers,
        ThreadPoolExecutor(in_parallel) as pool,
    ):
        for start in range(0, len(scans), BATCH_SCANS):
            batch = scans[start : start + BATCH_SCANS]
            read = readers.submit(_prepare_batch, screener, batch)
            pending.append(pool.submit(_screen_batch, screener, sequence, start + 1, batch, read.result, is_aligned))
            if len(pending) > in_parallel:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def screen_study(
    screener: Screener, archive: Archive, study: str, sequence: SequenceChoice | None = None
) -> Iterator[Screened]:
    """Yields each MR series of a study in an archive with its arrays; a series that did not come whole is refused.

    One series at a time lies in a folder that only this account can read, until the next is asked for.

    Raises:
        ScanError: there are no MR series, or the archive cannot be asked.
    """
    for number, series in enumerate(archive.list_series(study), start=1):
        with TemporaryDirectory(prefix="sslmri-") as folder:
            try:
                contents = archive.fetch(series)
            except ScanError as error:
                yield Entry(number, Refusal(error.reason, None), series.uid, series.n_files), None
                continue
            paths = tuple(Path(folder, f"{position}.dcm") for position in range(1, len(contents) + 1))
            for path, data in zip(paths, contents, strict=True):
                path.write_bytes(data)
            del contents
            read = partial(_prepare_batch, screener, [paths])
            for entry, arrays in _screen_batch(screener, sequence, number, [paths], read, is_aligned=True):
                yield replace(entry, file=series.uid), arrays


@contextmanager
def _threads_of_a_batch(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count, user_api="blas"):  # threads of NumPy, for which the gate would wait
            yield
    finally:
        torch.set_num_threads(before)


def record_of(entry: Entry, records: "Mapping[str, Record]") -> "Record | None":
    """Returns the row of a manifest, by its path, that a scan is of; each series of a zip file has that of the file."""
    file = str(entry.file)
    return records.get(file) or records.get(_SERIES.sub("", file))


def list_files(paths: Iterable[Path]) -> list[Path]:
    """Returns the files named, folders replaced by the files below them in order of their names, hidden ones left out.

    A path that does not exist stays in the list, to be refused in its place.

    Raises:
        ScanError: there is none.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        else:
            files.append(path)
    if not files:
        raise ScanError("Expected files to read, got none: name files or folders that contain some.")
    return files


def write_overlays(folder: Path, card: ModelCard, entry: Entry, arrays: ScreeningArrays) -> None:
    """Writes ``0001-alzheimers.png`` ... for a scan: the map of each assessed finding over its key slice.

    File names never come from the upload.
    """
    summary = entry.outcome
    if isinstance(summary, Refusal):
        return
    for disease in summary.assessed:
        scale = card.heads[disease].saliency_scale
        overlay = Image.fromarray(paint_key_slice(summary, arrays, disease, scale, _OVERLAY_SIDE))
        write_atomically(folder / f"{entry.number:04d}-{disease}.png", partial(overlay.save, format="PNG"))


def write_dicom(
    card: ModelCard,
    entry: Entry,
    arrays: ScreeningArrays,
    metrics: Metrics | None,
    folder: Path | None = None,
    archive: Archive | None = None,
) -> str | None:
    """Writes ``0001-findings.dcm`` ... for a scan, see ``dicom_results``, stores them in an archive, or says why not.

    The headers are read from its files again, so that nothing else holds them.
    """
    try:
        results = dicom_results(card, entry, arrays, read_headers(*contents_of(entry.paths)), metrics)
        if folder:
            for name, made in results.items():
                content = partial(Path.write_bytes, data=as_bytes(made))
                write_atomically(folder / f"{entry.number:04d}-{name}.dcm", content)
        if archive:
            archive.store(list(results.values()))
    except ScanError as error:
        return error.reason
    return None


def _prepare_batch(screener: Screener, scans: Sequence[_ScanFiles]) -> list[PreparedScan | ScanError]:
    return [prepare_files(scan, screener.card.encoder.preparation) for scan in scans]


def _screen_batch(
    screener: Screener,
    sequence: SequenceChoice | None,
    first: int,
    scans: Sequence[_ScanFiles],
    read: Callable[[], list[PreparedScan | ScanError]],
    is_aligned: bool,
) -> list[Screened]:
    prepared = read()
    readable = [scan for scan in prepared if isinstance(scan, PreparedScan)]
    screenings = iter(screener.screen_slices(readable) if readable else [])
    screened: list[Screened] = []
    for number, (paths, scan) in enumerate(zip(scans, prepared, strict=True), start=first):
        files, part = ((paths.path,), f", series {paths.number}") if isinstance(paths, ZippedSeries) else (paths, "")
        name = f"{files[0]}{part}"
        if isinstance(scan, ScanError):
            screened.append((Entry(number, Refusal(scan.reason, _sha256(files)), name, len(files)), None))
        else:
            screening = next(screenings)
            if is_aligned:
                screening = screener.align(screening, partial(read_paths, paths), sequence)
            screened.append((Entry(number, screening.summary, name, len(files), paths), screening.arrays))
    return screened


def _sha256(files: Sequence[Path]) -> str | None:
    """Returns the hash of a single file that can be read."""
    is_readable = len(files) == 1 and files[0].is_file() and os.access(files[0], os.R_OK)
    return sha256_of(files[0]) if is_readable else None
