"""The trials of damaged and hostile files, small, and that they can fail."""

import io
import json
import os
import zipfile
import zlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sslmri.errors import ScanError
from sslmri.scans import sandbox
from sslmri.scans.images import read_image
from sslmri.scans.scan import Scan
from tests.conftest import needs_shared
from tests.harness import memory
from tests.pages import png
from tests.soak import fuzz, hostile, mutants
from tests.soak.hostile import End, Hostile
from tests.soak.samples import sample

LISTED_WRONGLY = """file,expected_outcome
brain.png,accept
bad.png,accept
good.png,reject_unreadable (no readable image inside)
whole.png,accept_with_warning
"""


def test_mutants_of_every_format_are_read_or_refused():
    found = fuzz.mutants(300)
    assert (found.tried, found.failed) == (300, 0), found
    assert all(f"{name} " in found.measured for name in ("plain NIfTI", "MGH", "NRRD", "MetaImage"))


def test_the_same_seed_makes_the_same_mutants():
    made = [mutants.mutant(number, 0) for number in range(70)]
    assert made == [mutants.mutant(number, 0) for number in range(70)]
    assert len({data for _, data in made}) > 65
    assert mutants.mutant(3, 1) != made[3]


def test_damage_behind_a_checksum_is_reached():
    """Half of the damaged images have right checksums in every chunk, half of the archives in every entry."""
    pictures = [mutants.mutant(number, 0)[1] for number in range(0, 1000, len(mutants.FORMATS))]
    assert sum("The PNG file is" not in _refusal(data) for data in pictures) > 25
    place = mutants.FORMATS.index("zip")
    archives = [mutants.mutant(number, 0)[1] for number in range(place, 500, len(mutants.FORMATS))]
    assert sum(_is_whole_archive(data) for data in archives) > 15


@pytest.mark.parametrize(
    ("error", "fault"), [(KeyError("tag"), "KeyError"), (ScanError("no\nsentence"), "said"), (ScanError("odd"), "said")]
)
def test_a_reader_that_lets_something_through_is_found_out(monkeypatch, error, fault):
    def read_scan(data, name):
        raise error

    monkeypatch.setattr(fuzz, "read_scan", read_scan)
    found = fuzz.mutants(5)
    assert found.failed > 5
    assert fault in found.faults[0]


def test_single_flipped_bits_never_change_a_voxel_unnoticed():
    found = fuzz.bit_flips(60)
    assert (found.tried, found.failed) == (180, 0), found


def test_a_reader_that_misses_flipped_bits_is_found_out(monkeypatch):
    kept = iter(range(10_000))

    def read_scan(data, name):
        scan = sandbox.read_scan(png(), name)
        return replace(scan, voxels=scan.voxels + np.float32(next(kept)))

    monkeypatch.setattr(fuzz, "read_scan", read_scan)
    found = fuzz.bit_flips(3)
    assert (found.failed, found.faults[0].partition(": ")[2]) == (9, "other voxels")


def with_info(scan: Scan, **changes: object) -> Scan:
    return replace(scan, info=replace(scan.info, **changes))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda scan: with_info(scan, spacing_mm=(1.0, 1.0, 9.0)), "other spacing_mm"),
        (lambda scan: with_info(scan, orientation="RAS", modality="CT"), "other orientation, modality"),
        (lambda scan: sandbox.read_scan(b"", sandbox.TOO_COSTLY), "ended the reader"),
        (lambda scan: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_flip_that_changes_a_scan_or_ends_its_reader_is_found_out(monkeypatch, change, fault):
    def read_scan(data, name):
        scan = sandbox.read_scan(png(), name)
        return change(scan) if name == "flipped" else scan

    monkeypatch.setattr(fuzz, "read_scan", read_scan)
    found = fuzz.bit_flips(1)
    assert found.failed == 3
    assert fault in found.faults[0]


def test_a_reader_that_is_dead_after_the_flips_is_found_out(monkeypatch):
    died = []

    def read_scan(data, name):
        if name == "flipped":
            died.append(name)
        if died:
            raise ScanError("This is not a scan.")
        return sandbox.read_scan(png(), name)

    monkeypatch.setattr(fuzz, "read_scan", read_scan)
    monkeypatch.setattr(fuzz, "_FLIPPED", ("PNG",))
    assert fuzz.bit_flips(1).faults == ("a sound PNG is refused afterwards",)


@needs_shared("hostile")
def test_hostile_files_end_as_listed_behind_the_sandbox():
    found = hostile.by_reader(1)
    assert found.tried >= 80
    assert found.failed == 0, found


def test_a_file_that_does_not_end_as_listed_is_found_out(folder, monkeypatch):
    monkeypatch.setattr(hostile, "MAX_GROWTH_MB", -1.0)
    found = hostile.by_reader(1, folder)
    assert (found.tried, found.failed) == (4, 4)
    assert found.faults[0] == "bad.png: refused, expected answered or silent"
    assert found.faults[1] == "good.png: read, expected refused"
    assert found.faults[2] == "whole.png: no word of what was left out"
    assert "more memory" in found.faults[3]


def test_what_the_command_line_makes_of_them_is_found_out(folder, model_folder):
    found = hostile.by_command(1, folder, model_folder)
    assert (found.tried, found.failed) == (4, 3), found
    assert "bad.png: refused" in found.faults[0]
    assert "expected refused" in found.faults[1]
    assert found.faults[2] == "whole.png: no word of what was left out"


def test_what_the_page_makes_of_them_is_found_out(folder, model_folder, monkeypatch):
    monkeypatch.setattr(hostile, "MAX_PAGE_SECONDS", 0.0)
    monkeypatch.setattr(hostile, "MAX_GROWTH_MB", -1.0)
    found = hostile.by_page(1, folder, model_folder)
    assert (found.tried, found.failed) == (4, 5), found
    assert found.faults[0].startswith("brain.png: took ")
    assert found.faults[1] == "bad.png: refused, expected answered or silent"
    assert "expected refused; took " in found.faults[2]
    assert found.faults[3].startswith("whole.png: no word of what was left out; took ")
    assert "more memory" in found.faults[4]


def test_a_file_that_breaks_its_session_is_its_own_fault(folder, model_folder, monkeypatch):
    real = hostile._end_on_page

    def break_on_one(visitor, file):
        if file.name == "good.png":
            visitor.close()
        return real(visitor, file)

    monkeypatch.setattr(hostile, "_end_on_page", break_on_one)
    found = hostile.by_page(1, folder, model_folder)
    assert found.tried == 4
    assert found.faults[1].startswith("good.png: broke its session: ConnectionClosed"), found
    assert "whole.png: no word" in found.faults[2]


def test_a_page_that_screens_no_sound_scan_after_a_file_is_found_out(folder, monkeypatch):
    monkeypatch.setattr(hostile, "visit", lambda address: nullcontext(SimpleNamespace(upload=lambda file: None)))
    monkeypatch.setattr(hostile, "_end_on_page", lambda visitor, file: End("answered"))
    monkeypatch.setattr(hostile, "_is_screened", lambda visitor, number: number != 1)
    ends = hostile._ends_on_page(SimpleNamespace(address=""), hostile.listed(folder) * 2, 4)
    assert [end.how for end in ends].count("answered") == 7
    assert ends[1].how == "answered, and the sound scan after it is not screened"


def test_a_refusal_in_the_reader_has_a_limit_of_its_own():
    end = End("refused", reason="It is cut off.", seconds=3.5)
    file = Hostile("a", Path("a"), "reject_unreadable")
    assert not hostile._fault_of(file, end, 5.0)
    assert hostile._fault_of(file, end, 5.0, hostile.MAX_REFUSAL_SECONDS) == "a: took 3.5 s"


@pytest.mark.parametrize(
    ("name", "expected", "end", "fault"),
    [
        ("a", "reject_not_brain_mri", End("answered"), "answered, expected refused or silent"),
        ("a", "accept", End("silent", is_brain=False), "not taken for a brain"),
        ("a", "accept_or_abstain", End("silent", is_brain=False), ""),
        ("a", "reject_unreadable", End("read"), "read, expected refused"),
        ("a", "reject_not_brain_mri", End("read"), ""),
        ("a", "accept", End("neither read nor refused"), "neither read nor refused, expected"),
        ("a", "reject_unreadable", End("refused", reason="It is cut off.\nTraceback."), "one plain sentence"),
        ("a", "reject_unreadable", End("refused", reason="It is cut off.", seconds=5.1), "took 5.1 s"),
        ("a", "reject_unreadable", End("refused", reason="It is cut off.", seconds=4.9), ""),
        ("a", "accept_with_warning", End("answered", warnings=["Only slice 7 was screened."]), "left out"),
        ("a", "accept_with_warning", End("read", warnings=["1 of 3 files are no NIfTI, left out: number 2."]), ""),
        ("a", "accept", End("answered", told="This is a fault in the program"), "the page broke"),
        ("a", "accept_no_phi", End("answered", told=r"a name: PHI\-CANARY\-7"), "a canary came to light"),
    ],
)
def test_an_end_is_judged_by_the_list(name, expected, end, fault):
    said = hostile._fault_of(Hostile(name, Path(name), expected), end, 5.0)
    assert fault in said
    assert bool(fault) == bool(said)


@pytest.mark.parametrize("place", ["page", "report"])
def test_a_canary_is_found_on_the_page_and_in_its_report(tmp_path, place):
    (tmp_path / "a").write_bytes(b"")
    report = {
        "warnings": [r"PHI\-CANARY" * (place == "report")],
        "is_brain_mri": True,
        "findings": [{"verdict": "flagged"}],
    }
    visitor = SimpleNamespace(received=[], fetched={}, elements={}, slices=lambda: {"/media/1.png": b""})
    visitor.upload = lambda file: visitor.received.append(rb"PHI\-CANARY" * (place == "page"))
    visitor.download = lambda label: visitor.fetched.setdefault(label, json.dumps({"scans": [report]}).encode())
    file = Hostile("a", tmp_path / "a", "accept_no_phi")
    assert hostile._fault_of(file, hostile._end_on_page(visitor, file), 5.0) == "a: a canary came to light"


def test_the_names_that_a_command_was_given_are_not_what_it_told():
    given = [Hostile("CANARY.png", Path("/CANARY/CANARY.png"), "accept")]
    assert "CANARY" not in hostile._without_paths('{"file": "/CANARY/CANARY.png", "reason": "CANARY.png: no"}', given)
    assert "CANARY" in hostile._without_paths("the patient PHI-CANARY", given)


def test_memory_that_is_held_for_a_moment_is_seen():
    with memory.watch(lambda: [os.getpid()]) as held:
        block = np.ones(2**24)
        while held.growth < 108:  # a look while the block was being filled saw less of it
            assert block.all()
        del block
    assert held.growth == pytest.approx(128, abs=20)


def test_processes_that_vanish_hold_nothing_and_without_any_nothing_is_measured():
    own = os.getpid()
    assert memory.held_mb([own, 2**22 + 1]) == pytest.approx(memory.held_mb([own]), rel=0.1)
    assert memory.children(2**22 + 1) == []
    with pytest.raises(LookupError, match="got none"):
        memory.held_mb([2**22 + 1])
    with pytest.raises(LookupError, match="got none"), memory.watch(list):
        pass


def test_without_the_folder_nothing_is_tried(tmp_path):
    assert hostile.by_reader(3, tmp_path).tried == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder of one file that ends as it is listed, and three that do not."""
    scan = sample("PNG", 0, "a")[1]
    for name in ("brain", "good", "whole"):
        (tmp_path / f"{name}.png").write_bytes(scan)
    (tmp_path / "bad.png").write_bytes(scan[:400])
    (tmp_path / "MANIFEST.csv").write_text(LISTED_WRONGLY)
    return tmp_path


def _refusal(data: bytes) -> str:
    try:
        read_image(data, "PNG")
    except Exception as error:  # whatever the decoder raises
        return str(error)
    return ""


def _is_whole_archive(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, zlib.error):
        return False
