"""The features of scans as a table: one row for each slice, written while the scans are read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.errors import ScanError
from sslmri.files import write_atomically
from sslmri.models.cards import INTENDED_USE, ModelCard
from sslmri.screening.batch import list_files, record_of, screen_files
from sslmri.screening.outcome import Entry, Refusal, ScreeningArrays, ScreeningSummary
from sslmri.screening.screener import Screener
from sslmri.text import printable_line

_ROWS = 1024  # of a row group: 8 MB of features


def write_features(screener: Screener, paths: Sequence[Path], out: Path) -> int:
    """Writes the features of scans, prints a line for each that is refused, and returns how many are.

    They are those of the slices as acquired, by which the gate and similar cases compare a scan with the training
    slices. Memory does not grow with the number of files. Paths are files, folders, and manifests, which end in
    ``.csv``; the table ends in ``.parquet`` or ``.npz``.

    Raises:
        SslmriError: another ending, nothing to read, or a manifest at fault.
    """
    if out.suffix not in (".parquet", ".npz"):
        raise ScanError(f"Expected a file that ends in .parquet or .npz, got {out.name}: name another --out.")
    sources: dict[Path, Record | None] = {}
    for path in paths:
        is_manifest = path.suffix.lower() == ".csv"
        sources |= {row.path: row for row in read_manifest(path)} if is_manifest else dict.fromkeys(list_files([path]))
    refused: list[int] = []

    def write(path: Path) -> None:
        schema = _schema(screener.card)
        with parquet.ParquetWriter(path, schema) as writer:
            for table in _row_groups(_rows_of_scans(screener, sources, schema, refused), schema):
                writer.write_table(table)

    write_atomically(out, write if out.suffix == ".parquet" else lambda path: _write_npz(path, write))
    return len(refused)


def _schema(card: ModelCard) -> pa.Schema:
    features = pa.list_(pa.float32(), card.encoder.architecture.feature_dim)
    types = {"scan": pa.string(), "slice": pa.int32(), "group": pa.string(), "sequence": pa.string()}
    types |= {"is_brain_mri": pa.bool_(), "assessed": pa.string(), "features": features}
    return pa.schema(types, metadata={"model_sha256": card.sha256, "notice": INTENDED_USE})


def _rows_of_scans(
    screener: Screener, sources: dict[Path, Record | None], schema: pa.Schema, refused: list[int]
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of each scan, and notes the numbers of those that are refused."""
    records = {str(path): record for path, record in sources.items() if record}
    for entry, arrays in screen_files(screener, sources, is_aligned=False):
        if isinstance(entry.outcome, Refusal):
            print(printable_line(f"left out: {entry.file}: {entry.outcome.reason}"), flush=True)
            refused.append(entry.number)
        elif arrays is not None:
            yield _rows(entry, entry.outcome, arrays, record_of(entry, records), schema)


def _rows(
    entry: Entry, summary: ScreeningSummary, arrays: ScreeningArrays, record: Record | None, schema: pa.Schema
) -> pa.RecordBatch:
    """Returns one row for each slice of a scan; a manifest's scan has the name that it has there."""
    file, n_slices = str(entry.file), len(summary.slice_numbers)
    name = f"{record.name}{file.removeprefix(str(record.path))}" if record else file
    columns = {
        "scan": [name.encode("utf-8", "backslashreplace").decode()] * n_slices,
        "slice": summary.slice_numbers,
        "group": [record.group_key if record else None] * n_slices,
        "sequence": [summary.sequence] * n_slices,
        "is_brain_mri": [summary.is_brain_mri] * n_slices,
        "assessed": [" ".join(summary.assessed)] * n_slices,
        "features": pa.FixedSizeListArray.from_arrays(arrays.features.ravel(), arrays.features.shape[1]),
    }
    return pa.record_batch(columns, schema)


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yields the rows of several scans together."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= _ROWS:
            yield pa.Table.from_batches(held)
            held = []
    yield pa.Table.from_batches(held, schema)


def _write_npz(path: Path, write: Callable[[Path], None]) -> None:
    """Writes the columns of a table as arrays, an empty text where a value is missing; features by row groups."""
    with TemporaryDirectory(dir=path.parent) as folder, ZipFile(path, "w") as archive:
        write(Path(folder) / "table")
        table = parquet.ParquetFile(Path(folder) / "table")
        *names, features = table.schema_arrow.names
        for name in names:
            values = table.read([name])[name].to_pylist()
            with archive.open(f"{name}.npy", "w") as file:
                np.save(file, np.array(["" if value is None else value for value in values]))
        width = table.schema_arrow.field(features).type.list_size
        with archive.open(f"{features}.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (table.metadata.num_rows, width)}
            np.lib.format.write_array_header_1_0(file, header)
            for batch in table.iter_batches(columns=[features]):
                file.write(batch[features].flatten().to_numpy().data)
