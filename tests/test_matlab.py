"""MATLAB 7.3 files of the figshare tumour set give their slice; any other is refused in one sentence."""

import io

import h5py
import numpy as np
import pytest

from sslmri.errors import ScanError
from sslmri.scans import read_scan
from tests.harness.parsing import parse_scan
from tests.test_archive import refusal_of, zipped

USER_BLOCK = b"MATLAB 7.3 MAT-file, Platform: PCWIN64".ljust(512)
PIXELS = np.random.default_rng(0).integers(0, 2000, (40, 56)).astype(np.int16)  # rows, columns


def matlab(image: object = PIXELS.T, name: str = "cjdata/image", **options: object) -> bytes:
    """Returns a file as MATLAB writes it, column by column, with what stands next to the image in that set."""
    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=512) as made:
        if isinstance(image, np.ndarray):
            made.create_dataset(name, data=image, **options)
        else:
            made[name] = image
        made["cjdata/PID"] = np.array([[49], [48]], np.uint16)
        made["cjdata/label"] = np.array([[1.0]])
        made["cjdata/tumorBorder"] = np.zeros((1, 50))
        made["cjdata/tumorMask"] = np.zeros(PIXELS.T.shape, np.uint8)
    return USER_BLOCK + file.getvalue()[512:]


@pytest.mark.parametrize("options", [{}, {"chunks": (16, 8), "compression": "gzip"}], ids=["plain", "compressed"])
def test_the_slice_is_read_upright_in_the_bounded_process(options):
    scan = read_scan(matlab(**options), "1.mat")
    assert np.array_equal(scan.voxels, PIXELS[None])
    assert (scan.info.source, scan.info.orientation, scan.info.warnings) == ("MATLAB", None, ())


def test_a_file_in_a_zip_is_read_and_several_are_refused():
    assert np.array_equal(parse_scan(zipped(("1.mat", matlab())), "a.zip").voxels, PIXELS[None])
    assert "holds 2 MATLAB files. Upload them one by one" in refusal_of(
        zipped(("1.mat", matlab()), ("2.mat", matlab()))
    )


OTHERS = {
    "another variable": matlab(name="image"),
    "colours": matlab(np.zeros((3, 56, 40), np.uint8)),
    "text": matlab(np.array([[b"a"] * 9] * 9)),
    "a link to another file": matlab(h5py.ExternalLink("/etc/hostname", "/cjdata/image")),
    "a link in the file": matlab(h5py.SoftLink("/cjdata/tumorMask")),
    "values in another file": matlab(shape=(40, 56), image=PIXELS, external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]),
}


@pytest.mark.parametrize("case", OTHERS)
def test_any_other_file_is_refused_in_one_sentence(case):
    with pytest.raises(ScanError, match="MATLAB file has no readable greyscale image") as refused:
        parse_scan(OTHERS[case], "1.mat")
    assert refused.value.reason.count("\n") == 0


def test_an_image_that_is_too_large_is_not_read():
    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=512) as made:
        made.create_dataset("cjdata/image", (9000, 9000), "i2", chunks=(900, 900), compression="gzip")
        made.create_dataset("large", (60_000, 60_000), "i2")
    data = USER_BLOCK + file.getvalue()[512:]
    with pytest.raises(ScanError, match="too large"):
        parse_scan(data, "1.mat")


def test_a_damaged_file_is_read_or_refused():
    sound, chance = matlab(chunks=(16, 8), compression="gzip"), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(sound[: chance.integers(512, len(sound) + 1)])
        for place in chance.integers(512, len(damaged), chance.choice([1, 2, 8])) if len(damaged) > 520 else ():
            damaged[place] = chance.integers(256)
        try:
            assert read_scan(bytes(damaged), "1.mat").voxels.ndim == 3
        except ScanError:
            continue
