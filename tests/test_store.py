"""The store: never stale, never half-written, and small in memory however many records there are."""

import dataclasses
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslmri import files
from sslmri.cohorts import store as store_module
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store, open_store
from sslmri.errors import TrainingError
from sslmri.scans.prepare import prepare_files
from sslmri.scans.slices import Preparation, PreparedScan

SMALL = Preparation(image_size=(32, 32))


def picture(seed: int) -> bytes:
    """Returns a small bright disc on black whose intensities follow from the seed, as PNG of a fixed length."""
    rows, columns = np.mgrid[0:40, 0:40]
    noise = np.random.default_rng(seed).integers(100, 250, (40, 40))
    pixels = np.where((rows - 20) ** 2 + (columns - 20) ** 2 < 200, noise, 0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def record(folder: Path, name: str) -> Record:
    return Record(folder / name, name, "c", None, None, "g", None)


@pytest.fixture
def records(tmp_path) -> list[Record]:
    """Returns the records of 150 images."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(150):
        (folder / f"{number}.png").write_bytes(picture(number))
    return [record(folder, f"{number}.png") for number in range(150)]


def stores_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def prepared(content: bytes, folder: Path) -> np.ndarray:
    path = folder / "reference.png"
    path.write_bytes(content)
    found = prepare_files([path], SMALL)
    assert isinstance(found, PreparedScan)
    return found.slices[0]


def test_slices_stand_in_the_order_of_the_records(records, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_AHEAD", 64)
    store = open_store(records, SMALL, tmp_path / "cache")
    assert isinstance(store.pixels, np.memmap)
    assert store.pixels.shape == (150, 32, 32)
    assert store.records == records
    for number in (0, 63, 64, 149):
        assert np.array_equal(store.pixels[number], prepared(picture(number), tmp_path))


def test_a_store_is_built_once_and_found_again_where_the_cohort_was_moved(records, tmp_path, monkeypatch):
    first = open_store(records, SMALL, tmp_path / "cache")
    (tmp_path / "pictures").rename(tmp_path / "moved")
    moved = [record(tmp_path / "moved", r.name) for r in records]
    monkeypatch.setattr(store_module, "prepare_files", lambda *_, **__: pytest.fail("was built twice"))
    again = open_store(moved, SMALL, tmp_path / "cache")
    assert np.array_equal(first.pixels, again.pixels)
    assert again.records == moved


def test_a_store_is_not_used_for_another_content_of_equal_size_and_time(records, tmp_path):
    open_store(records, SMALL, tmp_path / "cache")
    path, times = records[7].path, os.stat(records[7].path)
    path.write_bytes(picture(1007))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert os.stat(path).st_size == times.st_size
    store = open_store(records, SMALL, tmp_path / "cache")
    assert np.array_equal(store.pixels[7], prepared(picture(1007), tmp_path))


def test_a_store_is_not_used_for_another_order_or_preparation(records, tmp_path):
    cache = tmp_path / "cache"
    open_store(records, SMALL, cache)
    turned = open_store(records[::-1], SMALL, cache)
    assert np.array_equal(turned.pixels[0], prepared(picture(149), tmp_path))
    open_store(records, dataclasses.replace(SMALL, slice_fraction=0.5), cache)
    assert len(list(cache.glob("*.raw"))) == 3


def test_bad_files_are_listed_and_looked_for_again_once_they_are_there(records, tmp_path):
    lost, broken = records[3].path, records[100].path
    content = lost.read_bytes()
    lost.unlink()
    broken.write_bytes(b"<html>")
    store = open_store(records, SMALL, tmp_path / "cache")
    assert [record.name for record, _ in store.bad] == ["3.png", "100.png"]
    assert store.bad[0][1] == "The file cannot be read: No such file or directory."
    assert len(store.records) == len(store.pixels) == 148
    assert np.array_equal(store.pixels[3], prepared(picture(4), tmp_path))
    lost.write_bytes(content)
    assert [record.name for record, _ in open_store(records, SMALL, tmp_path / "cache").bad] == ["100.png"]


def test_a_selection_reads_slices_only_when_asked(records, tmp_path):
    store = open_store(records, SMALL, tmp_path / "cache")
    half = store.select(range(0, 150, 2)).select([5, 3, 3])
    assert half.pixels is store.pixels
    assert [r.name for r in half.records] == ["10.png", "6.png", "6.png"]
    assert np.array_equal(half.slices, store.pixels[[10, 6, 6]])
    assert np.array_equal(half.batch([2, 0]), store.pixels[[6, 10]])
    assert type(half.slices) is np.ndarray
    assert half.select([]).slices.shape == (0, 32, 32)


def test_a_store_can_be_made_of_slices_in_memory(records):
    slices = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)
    store = Store(slices, records[:3], [])
    assert np.array_equal(store.slices, slices)
    assert np.array_equal(store.select([2]).slices, slices[2:])


def test_too_many_bad_files_stop_the_building_as_soon_as_it_is_certain(records, tmp_path, monkeypatch):
    for bad in records[:6]:
        bad.path.write_bytes(b"<html>")
    prepared_files = []

    def watched(files, *options):
        prepared_files.append(files)
        return prepare_files(files, *options)

    monkeypatch.setattr(store_module, "_AHEAD", 32)
    monkeypatch.setattr(store_module, "prepare_files", watched)
    with pytest.raises(TrainingError, match="at most 2% unreadable files .*, up to 5.*, got 6 of 150") as caught:
        open_store(records, SMALL, tmp_path / "cache")
    assert "0.png: This is a text file." in str(caught.value)
    assert len(prepared_files) <= 32
    assert stores_in(tmp_path / "cache") == []


def test_of_few_files_a_quarter_may_be_bad(records, tmp_path):
    for bad in records[:2]:
        bad.path.write_bytes(b"<html>")
    assert len(open_store(records[:8], SMALL, tmp_path / "cache").bad) == 2
    with pytest.raises(TrainingError, match="got 2 of 7"):
        open_store(records[:7], SMALL, tmp_path / "cache")


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Lets no file grow beyond 100 kB: writing more fails in the middle, as on a full disk."""
    resource = pytest.importorskip("resource", reason="a disk is made small by a limit that Unix has")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_fills_up_ends_in_a_sentence_and_leaves_nothing(records, tmp_path):
    with pytest.raises(TrainingError, match="got: File too large: free disk space there") as caught:
        open_store(records, SMALL, tmp_path / "cache")
    assert "at least 0.2 MB" in str(caught.value)
    assert stores_in(tmp_path / "cache") == []


def test_a_disk_that_is_full_when_the_index_is_written_leaves_nothing(records, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module, "write_json", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        open_store(records, SMALL, tmp_path / "cache")
    assert stores_in(tmp_path / "cache") == []


def test_a_folder_that_cannot_be_written_is_refused_before_a_file_is_prepared(records, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "prepare_files", lambda *_, **__: pytest.fail("was prepared"))
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="or name a folder that can be written"):
        open_store(records, SMALL, tmp_path / "file" / "cache")


def test_a_read_only_folder_is_refused(records, tmp_path, monkeypatch):
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(files, "FileLock", read_only)  # root, who runs tests in containers, may write everywhere
    with pytest.raises(TrainingError, match="got: Read-only file system: free disk space there"):
        open_store(records, SMALL, tmp_path / "cache")


def test_no_records_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="Expected records to prepare, got none"):
        open_store([], SMALL, tmp_path)
