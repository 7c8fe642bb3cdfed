"""Files built to break readers: each is read or refused in one sentence, in time and memory, and the next one reads."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import RLELossless

from sslmri.errors import ScanError
from tests.conftest import SHARED, needs_shared
from tests.harness.dicom_files import as_bytes, axial_series, dataset, dicom, enhanced
from tests.harness.parsing import parse_scan
from tests.test_archive import nifti, picture, zipped

ROOT = Path(__file__).resolve().parents[1]
HOSTILE = SHARED / "hostile"
MAX_SECONDS = 5.0
MAX_GROWTH_MB = 400


@pytest.fixture(scope="module")
def outcomes() -> list[dict]:
    """Returns what became of each hostile file in one process that read them all."""
    command = [sys.executable, "-W", "always", "-m", "tests.hostile_worker", str(HOSTILE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@needs_shared("hostile")
def test_every_hostile_file_ends_as_its_manifest_says(outcomes):
    assert len(outcomes) >= 80
    for found in outcomes:
        wanted = {"read", "refused"}
        if found["expected"].startswith("reject_unreadable"):
            wanted = {"refused"}
        elif found["expected"].startswith("accept") and "_or_" not in found["expected"]:
            wanted = {"read"}
        assert found["outcome"] in wanted, found
        assert found["warned"] or found["expected"] != "accept_with_warning", found


@needs_shared("hostile")
def test_a_hostile_file_is_refused_in_one_sentence_without_the_patient(outcomes):
    for found in outcomes:
        assert "PHI-CANARY" not in found["said"], found["file"]
        if found["outcome"] == "refused":
            assert found["said"].startswith("upload: "), found
            assert "\n" not in found["said"], found


@needs_shared("hostile")
def test_a_hostile_file_costs_neither_time_nor_memory_nor_the_next_file(outcomes):
    for found in outcomes:
        assert found["seconds"] < MAX_SECONDS, found
        assert found["growth_mb"] < MAX_GROWTH_MB, found
        assert found["next_reads"], found


@pytest.fixture(scope="module")
def seeds() -> dict[str, bytes]:
    """Returns sound files of each kind, to be damaged."""
    voxels = np.random.default_rng(0).integers(0, 4000, (4, 32, 72), dtype=np.uint16)
    runs = dataset(voxels[0])
    runs.compress(RLELossless, generate_instance_uid=False)
    return {
        "DICOM": dicom(voxels[0]),
        "DICOM, no preamble": dicom(voxels[0])[132:],
        "DICOM, run lengths": as_bytes(runs),
        "DICOM, enhanced": enhanced(voxels, range(4), [1] * 4),
        "zip of DICOM": zipped(*axial_series(voxels)),
        "zip of PNG": zipped(*((f"{i}.png", picture(i)) for i in range(4))),
        "NIfTI": nifti(),
    }


@pytest.mark.parametrize(
    "kind",
    ["DICOM", "DICOM, no preamble", "DICOM, run lengths", "DICOM, enhanced", "zip of DICOM", "zip of PNG", "NIfTI"],
)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(seeds, kind):
    chance = random.Random(kind)
    for _ in range(60):
        damaged = bytearray(seeds[kind])
        for _ in range(chance.choice([1, 2, 8])):
            damaged[chance.randrange(min(len(damaged), 3000))] = chance.choice([0, 1, 127, 255])
        cut = chance.choice([len(damaged), len(damaged), chance.randrange(len(damaged))])
        try:  # any other class of error fails the test
            assert parse_scan(bytes(damaged[:cut]), "a").voxels.ndim == 3
        except ScanError:
            continue


def test_the_file_after_a_refused_one_reads(seeds):
    for data in seeds.values():
        with pytest.raises(ScanError):
            parse_scan(data[: len(data) // 3], "cut")
        assert parse_scan(data, "whole").voxels.size
