"""Files of unknown origin are read in a process that the system bounds, and what ends it ends nothing else."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from sslmri import processes
from sslmri.errors import ScanError
from sslmri.scans import reading, sandbox
from tests.dicom_files import axial_series
from tests.pages import nifti, png

SENTENCE = (
    "a.png: Expected a file that can be read in 20 seconds and 2 GB of memory, got one that cannot: "
    "export the scan again."
)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets the sandbox start readers that commit the fault a file names."""

    def start(module, function, environment, is_mute):
        return processes.start_with_pipe("tests.sandbox_faults", "serve_faults", environment, is_mute)

    monkeypatch.setattr(sandbox, "start_with_pipe", start)
    idle: list = []
    monkeypatch.setattr(sandbox, "_idle", idle)
    yield
    for reader in idle:
        reader.close()


def same(first, second) -> bool:
    others = [field.name for field in fields(first) if field.name != "voxels"]
    return np.array_equal(first.voxels, second.voxels) and all(getattr(first, n) == getattr(second, n) for n in others)


@pytest.mark.parametrize("data", [png(), nifti()], ids=["png", "nifti"])
def test_the_sandbox_returns_what_the_reader_returns(data):
    assert same(sandbox.read_scan(data, "folder/a.x"), reading.read_scan(data, "folder/a.x"))


def test_a_series_and_its_key_are_those_of_the_reader():
    files = axial_series(np.random.default_rng(0).integers(0, 4000, (4, 32, 72), dtype=np.uint16))
    assert same(sandbox.read_series(files), reading.read_series(files))
    key = sandbox.series_key(files[0][1])
    assert key is not None
    assert key == reading.series_key(files[0][1])
    assert sandbox.series_key(png()) is None


def test_a_refusal_passes_through_word_for_word():
    with pytest.raises(ScanError) as direct:
        reading.read_scan(png()[:300], "\udcff=cmd.png")
    with pytest.raises(ScanError) as bounded:
        sandbox.read_scan(png()[:300], "\udcff=cmd.png")
    assert str(bounded.value) == str(direct.value)


@pytest.mark.parametrize("fault", [b"endless", b"crash", b"babble"])
def test_a_reader_that_ends_is_one_sentence_and_the_next_scan_reads(faulty, fault):
    before = time.monotonic()
    with pytest.raises(ScanError) as refused:
        sandbox.read_scan(fault, "folder/a.png")
    assert str(refused.value) == SENTENCE
    assert time.monotonic() - before < 10
    assert same(sandbox.read_scan(png(), "b.png"), reading.read_scan(png(), "b.png"))


def test_an_answer_in_another_form_is_one_sentence(faulty):
    with pytest.raises(ScanError):
        sandbox.read_scan(b"mislead", "folder/a.png")  # no scan either: from now on this reader answers wrongly
    with pytest.raises(ScanError) as refused:
        sandbox.read_scan(png(), "folder/a.png")
    assert str(refused.value) == SENTENCE


def test_a_reader_that_ended_while_it_waited_costs_nobody_a_scan(faulty):
    sandbox.read_scan(png(), "a.png")
    (reader,) = sandbox._idle
    reader._process.kill()
    reader._process.wait()
    assert same(sandbox.read_scan(png(1), "b.png"), reading.read_scan(png(1), "b.png"))
    assert reader not in sandbox._idle


def test_a_limit_is_no_higher_than_the_one_that_was_given(monkeypatch):
    monkeypatch.setattr(sandbox.resource, "getrlimit", lambda kind: (5, 7))
    assert (sandbox._within(0, 20), sandbox._within(0, 3)) == (7, 3)


def test_a_reader_that_wants_more_memory_than_the_bound_does_not_get_it(faulty):
    with pytest.raises(ScanError, match="cannot"):
        sandbox.read_scan(b"greedy", "a.png")


def test_a_reader_that_waits_is_ended_by_the_clock(faulty, monkeypatch):
    monkeypatch.setattr(sandbox, "WALL_SECONDS", 1.0)
    with pytest.raises(ScanError, match="cannot"):
        sandbox.read_scan(b"asleep", "a.png")


def test_a_reader_writes_no_file_and_holds_few_handles(faulty, tmp_path: Path):
    target = tmp_path / "stolen"
    with pytest.raises(ScanError, match="no file: File too large"):
        sandbox.read_scan(b"write:" + bytes(target), "a.png")
    assert target.stat().st_size == 0
    with pytest.raises(ScanError, match="no handle: Too many open files"):
        sandbox.read_scan(b"handles", "a.png")


def test_several_threads_get_each_their_own_scan():
    files = [png(seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda data: sandbox.read_scan(data, "a.png"), files * 3))
    assert all(same(scan, reading.read_scan(data, "a.png")) for scan, data in zip(found, files * 3, strict=True))
