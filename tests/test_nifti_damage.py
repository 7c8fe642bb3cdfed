"""NIfTI files that lie, break off or were changed are refused in one sentence."""

import gzip
import tracemalloc
import zlib

import nibabel
import numpy as np
import pytest

from sslmri.errors import ScanError
from sslmri.scans.limits import MAX_DECOMPRESSED, check_decompressed
from tests.nifti_files import changed, nifti, packed, read_nifti

LIES = {
    "dimensions": (
        {"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]},
        "32,767 slices of 32,767 x 32,767 pixels",
    ),
    "more than there is": ({"dim": [3, 80, 96, 41, 1, 1, 1, 1]}, "incomplete"),
    "negative size": ({"dim": [3, -80, 96, 40, 1, 1, 1, 1]}, "no valid dimensions"),
    "no size": ({"dim": [3, 80, 0, 40, 1, 1, 1, 1]}, "no valid dimensions"),
    "no dimensions": ({"dim": [0, 80, 96, 40, 1, 1, 1, 1]}, "no valid dimensions"),
    "one dimension": ({"dim": [1, 80, 96, 40, 1, 1, 1, 1]}, "no valid dimensions"),
    "dimensions beyond seven": ({"dim": [9, 80, 96, 40, 1, 1, 1, 1]}, "no valid dimensions"),
    "narrow": ({"dim": [3, 4, 96, 40, 1, 1, 1, 1]}, "At least 8 x 8"),
    "type": ({"datatype": 77}, "unknown type .77"),
    "128 bits": ({"datatype": 1536, "bitpix": 128}, "128-bit numbers"),
    "single bits": ({"datatype": 1, "bitpix": 1}, "single bits"),
    "bits": ({"bitpix": 8}, "size of the voxels disagree"),
    "offset in the header": ({"vox_offset": 40}, "begin inside it"),
    "negative offset": ({"vox_offset": -500}, "begin inside it"),
    "endless offset": ({"vox_offset": np.inf}, "begin inside it"),
    "offset behind the end": ({"vox_offset": 1e30}, "incomplete"),
    "intercept": ({"scl_slope": 2, "scl_inter": np.nan}, "intercept"),
    "flat position": ({"srow_x": [0, 0, 0, 0]}, "orientation in the file header is invalid"),
    "endless position": ({"srow_x": [np.inf, 0, 0, 0]}, "orientation in the file header is invalid"),
    "no rotation": ({"sform_code": 0, "qform_code": 1, "quatern_b": 3, "quatern_c": 3}, "qform"),
    "pair": ({"magic": b"ni1"}, "a header without voxels"),
    "analyze": ({"magic": b""}, "an Analyze header"),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("pack", [bytes, packed], ids=["nii", "nii.gz"])
def test_a_header_that_lies_is_refused_in_one_sentence(head, name, pack):
    fields, sentence = LIES[name]
    data = pack(changed(nifti(head), **fields))
    tracemalloc.start()
    with pytest.raises(ScanError, match=sentence) as error:
        read_nifti(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("content", [b"", b"abc", bytes(400), b"hello" * 100], ids=["empty", "short", "zeros", "text"])
def test_gzip_of_something_else_is_refused(content):
    with pytest.raises(ScanError, match="not a NIfTI file"):
        read_nifti(gzip.compress(content))


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize("pack", [bytes, packed], ids=["nii", "nii.gz"])
def test_a_file_that_breaks_off_is_refused(head, share, pack):
    data = pack(nifti(head))
    with pytest.raises(ScanError):
        read_nifti(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "garbage",
    [b"more", b"\x00\x00more", gzip.compress(b"\x1f")[:-1]],
    ids=["text", "text after zeros", "half a part"],
)
def test_anything_behind_the_gzip_data_is_refused(head, garbage):
    with pytest.raises(ScanError, match="compressed data"):
        read_nifti(gzip.compress(nifti(head)) + garbage)


def test_zeros_behind_the_gzip_data_are_ignored(head):
    assert np.array_equal(read_nifti(gzip.compress(nifti(head)) + bytes(5000)).voxels, head)
    with pytest.raises(ScanError, match="compressed data"):
        read_nifti(gzip.compress(nifti(head))[:-9] + bytes(5000))


def test_gzip_of_another_file_is_named(head):
    with pytest.raises(ScanError, match="not a NIfTI file but a Photoshop file"):
        read_nifti(gzip.compress(b"8BPS" + bytes(400)))


def test_gzip_in_gzip_is_read(head):
    assert np.array_equal(read_nifti(packed(packed(nifti(head)))).voxels, head)


def test_gzip_in_several_parts_is_read_as_one(head):
    data = nifti(head)
    parts = [gzip.compress(data[start : start + 50_000]) for start in range(0, len(data), 50_000)]
    assert len(parts) > 5
    assert np.array_equal(read_nifti(b"".join(parts)).voxels, head)


def test_a_wrong_checksum_or_length_behind_the_last_voxel_is_refused(head):
    data = gzip.compress(nifti(head))
    for place in range(-8, 0):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(ScanError, match="damaged"):
            read_nifti(bytes(damaged))


def test_the_checksum_counts_where_the_voxels_end_long_before():
    noise = np.random.default_rng(0).integers(0, 99, (40, 200, 200))
    data = bytearray(packed(changed(nifti(noise), dim=[3, 20, 20, 20, 1, 1, 1, 1])))
    assert read_nifti(bytes(data)).voxels.shape == (20, 20, 20)
    data[-8] ^= 1
    with pytest.raises(ScanError, match="damaged"):
        read_nifti(bytes(data))


def test_a_header_of_random_bytes_is_read_or_refused_in_one_sentence(head, recwarn):
    random = np.random.default_rng(0)
    plain = nifti(head[::4, ::4, ::4])
    refused = 0
    for _ in range(1_000):
        data = bytearray(plain)
        for place in random.integers(4, 348, random.integers(1, 12)):
            data[place] = random.integers(256)
        try:
            voxels = read_nifti(bytes(data)).voxels
        except ScanError as error:
            refused += "\n" not in str(error)
        else:
            assert np.isfinite(voxels).all()
    assert refused > 100
    assert not recwarn.list


def test_999_of_1000_flipped_bits_are_refused_and_no_other_changes_a_voxel(head):
    random = np.random.default_rng(0)
    small = head[::2, ::2, ::2]
    data = gzip.compress(nifti(small + random.integers(0, 9, small.shape)))
    expected = read_nifti(data)
    accepted = 0
    for bit in random.choice(8 * len(data), 1_000, replace=False):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            volume = read_nifti(bytes(flipped))
        except ScanError:
            continue
        accepted += 1  # the time or system that gzip notes, or another way to pack the same bytes
        assert np.array_equal(volume.voxels, expected.voxels)
        assert volume.spacing_mm == expected.spacing_mm
    assert accepted <= 1


def bomb(told: tuple[int, int, int], n_megabytes: int) -> bytes:
    """Returns gzip that tells of a volume of float64 and unpacks to zeros; little time goes into its making."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype("f8")
    header.set_data_shape(told)
    header["magic"], header["vox_offset"] = b"n+1", 352
    packer = zlib.compressobj(9, wbits=31)
    zeros = packer.compress(bytes(8 * 2**20)) + packer.flush()
    return gzip.compress(header.binaryblock + bytes(4)) + zeros * (n_megabytes // 8)


@pytest.mark.parametrize("told", [(400, 400, 399), (20, 20, 20), (600, 600, 600)])
def test_a_bomb_is_refused_before_it_takes_memory(told):
    data = bomb(told, 504)
    assert len(data) < 600_000
    tracemalloc.start()
    with pytest.raises(ScanError, match="over 200 times"):
        read_nifti(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6


def test_small_masks_may_pack_as_well_as_they_like(head):
    data = packed(nifti((np.indices((200, 200, 200))[0] > 100).astype("u1"), kind="u1"))
    assert 8_000_000 / len(data) > 200
    assert read_nifti(data).voxels.shape == (200, 200, 200)


def test_more_than_512_mb_are_refused_at_any_ratio():
    check_decompressed(MAX_DECOMPRESSED, MAX_DECOMPRESSED)
    with pytest.raises(ScanError, match="512 MB"):
        check_decompressed(MAX_DECOMPRESSED + 1, MAX_DECOMPRESSED)
