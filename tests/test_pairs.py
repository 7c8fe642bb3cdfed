"""Pairs of a header and a file of voxels, Analyze 7.5 or NIfTI, in a zip file."""

import gzip

import nibabel
import numpy as np
import pytest
from PIL import Image

from sslmri.errors import ScanError
from sslmri.scans.archive import read_archive
from tests.harness.parsing import parse_scan
from tests.nifti_files import SPACING, changed, nifti
from tests.test_archive import refusal_of, zipped
from tests.test_reading import encoded


def analyze(head: np.ndarray, order: str = "<", kind: str = "i2") -> tuple[bytes, bytes]:
    """Returns header and voxels as most programs write them: to the left, to the front, up."""
    stored = head[:, ::-1].T.astype(order + kind)
    header = nibabel.AnalyzeHeader(endianness=order)
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_zooms(SPACING[::-1])
    return header.binaryblock, stored.tobytes(order="F")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u1", "i2", "f4"])
def test_an_analyze_pair_is_read_and_its_plane_and_sides_are_unknown(head, order, kind):
    header, voxels = analyze(head, order, kind)
    scan = parse_scan(zipped(("study/scan.hdr", header), ("study/scan.img", voxels)), "scan.zip")
    assert np.array_equal(scan.voxels, head)
    assert scan.info.spacing_mm == pytest.approx(SPACING)
    assert scan.info.orientation is None
    (warning,) = scan.info.warnings
    assert "left and right are unknown" in warning


def test_what_analyze_has_in_place_of_fields_of_nifti_is_not_read_as_those(head):
    header, voxels = analyze(head)
    numbers = {"qform_code": 0x0102, "sform_code": 0x4000, "xyzt_units": 1, "scl_slope": 0.5, "scl_inter": np.nan}
    filled = changed(header, **numbers, quatern_b=1e30, srow_x=[1e9] * 4)
    assert np.array_equal(read_archive(zipped(("scan.hdr", filled), ("scan.img", voxels))).voxels, head)


def test_pairs_are_found_in_capitals_and_packed_whatever_the_voxels_begin_like(head):
    inverted = np.where(head == 0, ord("<"), head).astype(np.uint8)
    header, voxels = analyze(inverted, kind="u1")
    data = zipped(("SCAN.HDR", header), ("SCAN.IMG", voxels), ("notes.txt", b"words"), ("a.gif", gif()))
    volume = read_archive(data)
    assert np.array_equal(volume.voxels, inverted)
    assert "1 of 3 files are not NIfTI" in volume.warnings[0]
    packed = zipped(("scan.hdr.gz", gzip.compress(header)), ("scan.img.gz", gzip.compress(voxels)))
    assert np.array_equal(read_archive(packed).voxels, inverted)


def gif() -> bytes:
    return encoded(Image.new("L", (16, 16)), "GIF")


def test_a_nifti_pair_keeps_its_orientation(head):
    data = nifti(head, "LPS")
    header = changed(data[:348], magic=b"ni1", vox_offset=0)
    volume = read_archive(zipped(("scan.hdr", header), ("scan.img", data[352:])))
    assert np.array_equal(volume.voxels, head)
    assert (volume.orientation, volume.warnings) == ("SPL", ())


def test_a_header_or_voxels_that_lack_the_other_are_refused(head):
    header, voxels = analyze(head)
    with pytest.raises(ScanError, match="an Analyze header.*together"):
        parse_scan(header, "scan.hdr")
    assert "file together" in refusal_of(zipped(("scan.hdr", header), ("other.img", voxels)))
    assert "incomplete" in refusal_of(zipped(("scan.hdr", header), ("scan.img", voxels[:-1])))


def test_several_pairs_are_refused(head):
    header, voxels = analyze(head)
    files = [(f"{number}.{suffix}", data) for number in "12" for suffix, data in (("hdr", header), ("img", voxels))]
    assert "holds 2 NIfTI" in refusal_of(zipped(*files))
    assert "holds 2 NIfTI" in refusal_of(zipped(*files[:2], ("3.nii", nifti(head))))
