"""Files of unknown origin are read in a process that the system bounds, and what ends it ends nothing else."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from sslmri import processes
from sslmri.errors import ScanError
from sslmri.scans import parse, sandbox
from tests.harness.dicom_files import as_bytes, axial_series, dataset
from tests.harness.parsing import parse_scan, parse_series
from tests.pages import nifti, png
from tests.sandbox_faults import MARK
from tests.test_reading import ROOT

SENTENCE = f"a.png: {sandbox.TOO_COSTLY}"


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets the sandbox start readers that commit the fault a file names."""

    def start(module, function, environment):
        return processes.start_process("tests.sandbox_faults", "serve_faults", environment)

    monkeypatch.setattr(sandbox, "start_process", start)
    idle: list = []
    monkeypatch.setattr(sandbox, "_idle", idle)
    yield
    for reader in idle:
        reader.close()


def same(first, second) -> bool:
    return first.info == second.info and np.array_equal(first.voxels, second.voxels)


@pytest.mark.parametrize("data", [png(), nifti()], ids=["png", "nifti"])
def test_the_sandbox_returns_what_the_reader_returns(data):
    assert same(sandbox.read_scan(data, "folder/a.x"), parse_scan(data, "folder/a.x"))


def test_voxels_go_through_the_pipe_whichever_way_they_lie():
    voxels = np.arange(135, dtype=np.float32).reshape(9, 5, 3)
    for array in (voxels, np.ascontiguousarray(voxels[:, ::-1])[:, ::-1], voxels.T.copy().T):
        pipe = processes.MessagePipe(*map(FileIO, os.pipe(), ("rb", "wb")))
        pipe.send_array(array)
        assert np.array_equal(pipe.receive_array(voxels.shape), voxels)
        pipe.close()


def test_a_series_and_its_key_are_those_of_the_reader():
    files = axial_series(np.random.default_rng(0).integers(0, 4000, (4, 32, 72), dtype=np.uint16))
    assert same(sandbox.read_files(files), parse_series(files))
    key = sandbox.series_key(files[0][1])
    assert key is not None
    assert key == parse.parse_outline("DICOM", files[0][1])
    assert sandbox.series_key(png()) is None


def test_a_refusal_passes_through_word_for_word():
    with pytest.raises(ScanError) as direct:
        parse_scan(png()[:300], "\udcff=cmd.png")
    with pytest.raises(ScanError) as bounded:
        sandbox.read_scan(png()[:300], "\udcff=cmd.png")
    assert str(bounded.value) == str(direct.value)


@pytest.mark.parametrize("fault", [b"endless", b"crash", b"babble", b"memory"])
def test_a_reader_that_ends_is_one_sentence_and_the_next_scan_reads(faulty, fault):
    before = time.monotonic()
    with pytest.raises(ScanError) as refused:
        sandbox.read_scan(MARK + fault, "folder/a.png")
    assert str(refused.value) == SENTENCE
    assert time.monotonic() - before < 10
    assert same(sandbox.read_scan(png(), "b.png"), parse_scan(png(), "b.png"))


SOUND = {
    "shape": [1, 8, 8], "spacing_mm": None, "orientation": None, "modality": None, "sequence": None, "decade": None,
    "warnings": [],
}  # fmt: skip
VOXELS = np.ones((1, 8, 8), np.float32)
ODD_ANSWERS = {
    "no answer": [],
    "another shape": SOUND | {"shape": [1, 8, 9]},
    "a shape that is none": SOUND | {"shape": ["a", 8, 8]},
    "no shape": {key: value for key, value in SOUND.items() if key != "shape"},
    "warnings that are numbers": SOUND | {"warnings": [1]},
    "a spacing of text": SOUND | {"spacing_mm": ["a", "b", "c"]},
    "an endless spacing": SOUND | {"spacing_mm": [10**400, 1, 1]},
    "two spacings": SOUND | {"spacing_mm": [1.0, 1.0]},
    "an orientation of numbers": SOUND | {"orientation": [1, 2, 3]},
    "a modality that is none": SOUND | {"modality": {"a": 1}},
    "an endless shape": SOUND | {"shape": [1, 8, 10**9]},
    "a refusal that is no text": 5,
}


def mislead(answer: object, voxels: np.ndarray = VOXELS) -> None:
    """Lets the reader that waits answer so from now on: it is asked for a file that takes it over."""
    with suppress(ScanError):
        sandbox.read_scan(
            MARK + b"mislead:" + json.dumps({"answer": answer}).encode() + b"\0" + voxels.tobytes(), "a.png"
        )
    assert sandbox._idle


@pytest.mark.parametrize("answer", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_an_answer_in_another_form_is_one_sentence_and_ends_the_reader(faulty, answer):
    mislead(answer)
    with pytest.raises(ScanError) as refused:
        sandbox.read_scan(png(), "folder/a.png")
    assert str(refused.value) == SENTENCE
    assert not sandbox._idle


@pytest.mark.parametrize("key", [{}, [], 5, "", "x", ["a" * 64], ["a", "b", "c"], [1, None, 2]])
def test_a_key_in_another_form_is_none_and_ends_the_reader(faulty, key):
    mislead(key)
    assert sandbox.series_key(dicom_slice()) is None
    assert not sandbox._idle


def test_name_kind_and_hash_of_a_scan_are_not_what_its_reader_says(faulty):
    mislead(SOUND | {"name": "other", "sha256": "0" * 64, "source": "NIfTI"})
    scan = sandbox.read_scan(png(), "folder/b.png")
    assert (scan.info.name, scan.info.source, scan.info.sha256) == ("b.png", "PNG", hashlib.sha256(png()).hexdigest())


@pytest.mark.parametrize("fault", [OSError(11, "Resource temporarily unavailable"), BlockingIOError()])
def test_a_reader_that_cannot_be_started_is_one_sentence(monkeypatch, fault):
    monkeypatch.setattr(sandbox, "_idle", [])
    monkeypatch.setattr(sandbox, "start_process", _raising(fault))
    with pytest.raises(ScanError, match=r"^a.png: The server is too busy to read the scan. Try again.$"):
        sandbox.read_scan(png(), "folder/a.png")
    assert sandbox.series_key(dicom_slice()) is None


def test_a_thread_that_cannot_be_started_is_one_sentence_and_the_next_scan_reads(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(sandbox.Timer, "start", _raising(RuntimeError("can't start new thread")))
        with pytest.raises(ScanError, match="too busy"):
            sandbox.read_scan(png(), "a.png")
    assert same(sandbox.read_scan(png(), "b.png"), parse_scan(png(), "b.png"))


def test_files_that_are_too_large_together_are_refused_before_a_reader_is_asked(monkeypatch):
    monkeypatch.setattr(parse, "MAX_SERIES_BYTES", 1000)
    monkeypatch.setattr(sandbox, "_ask", _raising(AssertionError))
    with pytest.raises(ScanError, match="a and 1 more: The upload is too large"):
        sandbox.read_files([("a", bytes(600)), ("b", bytes(600))])


def test_the_seconds_of_one_scan_are_not_taken_from_the_next(faulty):
    for _ in range(4):  # of 0.6 seconds each, where one scan may take 1
        with pytest.raises(ScanError, match="are over"):
            sandbox.read_scan(MARK + b"a while", "a.png")
    assert len(sandbox._idle) == 1


def test_a_larger_file_may_take_longer(faulty):
    with pytest.raises(ScanError, match="are over"):
        sandbox.read_scan(MARK + b"two seconds" + bytes(3 * sandbox.BYTES_PER_SECOND), "a.png")
    with pytest.raises(ScanError, match=sandbox.TOO_COSTLY):
        sandbox.read_scan(MARK + b"two seconds", "a.png")


def test_a_fork_has_neither_the_readers_nor_the_locks_of_its_parent(monkeypatch):
    sandbox.read_scan(png(), "a.png")
    monkeypatch.setattr(sandbox, "_lock", sandbox._lock)
    monkeypatch.setattr(sandbox, "_slots", sandbox._slots)
    with sandbox._lock, sandbox._slots:
        child = os.fork()
        if not child:
            is_reset = (
                not sandbox._idle and not sandbox._lock.locked() and sandbox._slots._value == sandbox._MAX_READERS
            )
            os._exit(0 if is_reset else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sandbox._idle


def test_a_reader_keeps_nothing_of_the_files_it_refused(monkeypatch):
    monkeypatch.setattr(sandbox, "_idle", [])
    made = dataset(
        np.zeros((64, 72), np.uint16), EncapsulatedDocument=bytes(30 * 2**20), RescaleSlope=0, RescaleIntercept=0
    )
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = as_bytes(made)
    assert len(data) < 2**20
    held = []
    for _ in range(10):
        with pytest.raises(ScanError, match="rescale slope"):
            sandbox.read_scan(data, "a.dcm")
        (reader,) = sandbox._idle
        statm = Path(f"/proc/{reader._process.pid}/statm").read_text()
        held.append(int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
    reader.close()
    assert held[-1] < held[0] + 50, held


def _raising(error) -> Callable[..., NoReturn]:
    def fail(*_args, **_kwargs):
        raise error

    return fail


def dicom_slice() -> bytes:
    return axial_series(np.ones((1, 32, 72), np.uint16))[0][1]


def test_a_reader_that_ended_while_it_waited_costs_nobody_a_scan(faulty):
    sandbox.read_scan(png(), "a.png")
    (reader,) = sandbox._idle
    reader._process.kill()
    reader._process.wait()
    assert same(sandbox.read_scan(png(1), "b.png"), parse_scan(png(1), "b.png"))
    assert reader not in sandbox._idle


def test_a_limit_is_no_higher_than_the_one_that_was_given():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))\n"
        "from sslmri.scans import sandbox; sandbox.limit_this_process()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_FSIZE))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "(32, 32) (0, 0)\n"


def test_a_reader_that_wants_more_memory_than_the_bound_does_not_get_it(faulty):
    with pytest.raises(ScanError, match=sandbox.TOO_COSTLY):
        sandbox.read_scan(MARK + b"greedy", "a.png")


def test_a_reader_that_waits_is_ended_by_the_clock(faulty, monkeypatch):
    monkeypatch.setattr(sandbox, "WALL_SECONDS", 1.0)
    with pytest.raises(ScanError, match=sandbox.TOO_COSTLY):
        sandbox.read_scan(MARK + b"asleep", "a.png")


def test_a_reader_writes_no_file_and_holds_few_handles(faulty, tmp_path: Path):
    target = tmp_path / "stolen"
    with pytest.raises(ScanError, match="no file: File too large"):
        sandbox.read_scan(MARK + b"write:" + bytes(target), "a.png")
    assert target.stat().st_size == 0
    with pytest.raises(ScanError, match="no handle: Too many open files"):
        sandbox.read_scan(MARK + b"handles", "a.png")


def test_several_threads_get_each_their_own_scan():
    files = [png(seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda data: sandbox.read_scan(data, "a.png"), files * 3))
    assert all(same(scan, parse_scan(data, "a.png")) for scan, data in zip(found, files * 3, strict=True))
