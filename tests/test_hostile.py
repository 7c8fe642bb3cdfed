"""Damaged files are read or refused, and the next one reads; ``test_soak_input`` has files built to break readers."""

import random

import numpy as np
import pytest
from pydicom.uid import RLELossless

from sslmri.errors import ScanError
from tests.harness.dicom_files import as_bytes, axial_series, dataset, dicom, enhanced
from tests.harness.parsing import parse_scan
from tests.test_archive import nifti, picture, zipped


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
