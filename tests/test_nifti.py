"""NIfTI in every encoding gives the same slices; what is damaged, too large or no grey volume gets one sentence."""

import csv
import gzip
import io
import itertools
import tracemalloc
import zlib

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from PIL import Image

from sslmri.errors import ScanError
from sslmri.scans.gunzip import MAX_UNPACKED, check_unpacked, open_unpacked
from sslmri.scans.nifti import read_nifti
from sslmri.scans.reading import read_scan
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation, numbered_slices
from tests.conftest import SHARED, needs_shared

SPACING = (4.0, 2.0, 2.0)  # slice, row, column


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """Returns an uneven head in axial slices from below, rows to the back, columns to the left: (40, 96, 80) uint8."""
    z, y, x = np.mgrid[0:40, 0:96, 0:80].astype(float)
    inside = ((z - 18) / 17) ** 2 + ((y - 50) / 40) ** 2 + ((x - 41) / 31) ** 2 < 1
    grey = 120 + 60 * np.sin(y / 6) * np.cos(x / 5) + 40 * (x > 45) + 30 * (y < 30) + z / 2
    return np.where(inside, np.clip(np.rint(grey), 1, 255), 0).astype(np.uint8)


def image_of(
    voxels: np.ndarray,
    codes: str = "RAS",
    kind: str = "<i2",
    spacing: tuple[float, ...] = SPACING,
    two: bool = False,
) -> nibabel.Nifti1Image:
    """Returns slices (D, H, W), from below, to the back, to the left, as nibabel's image with axes along the codes."""
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    make, header = (nibabel.Nifti2Image, nibabel.Nifti2Header) if two else (nibabel.Nifti1Image, nibabel.Nifti1Header)
    stored = voxels.T.astype(kind)
    image = make(stored, affine, header(endianness=">" if kind[0] == ">" else "<"))
    image.set_data_dtype(np.dtype(kind).newbyteorder("="))
    return image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(codes)))


def nifti(voxels: np.ndarray, codes: str = "RAS", kind: str = "<i2", **options) -> bytes:
    return image_of(voxels, codes, kind, **options).to_bytes()


def prepared(data: bytes) -> tuple[np.ndarray, tuple[int, ...]]:
    volume = read_nifti(data)
    scan = Scan(volume.voxels, volume.spacing_mm, volume.orientation, None, "NIfTI", "head.nii", "0" * 64)
    return numbered_slices(scan, Preparation())


@pytest.fixture(scope="module")
def expected(head) -> tuple[np.ndarray, tuple[int, ...]]:
    """Returns the prepared slices of the head and their numbers."""
    return prepared(nifti(head))


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 1)


def changed(data: bytes, **fields: object) -> bytes:
    """Returns NIfTI-1 bytes with other numbers in their header."""
    header = nibabel.Nifti1Header(data[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + data[348:]


def test_voxels_come_back_as_axial_slices_with_their_spacing(head):
    volume = read_nifti(nifti(head))
    assert np.array_equal(volume.voxels, head)
    assert volume.voxels.dtype == np.float32
    assert volume.spacing_mm == pytest.approx(SPACING)
    assert (volume.orientation, volume.modality, volume.warnings) == ("SPL", None, ())


def test_the_door_knows_a_nifti_by_its_content(head):
    for data in (nifti(head), packed(nifti(head)), nifti(head, two=True), nifti(head, kind=">f4")):
        scan = read_scan(data, "folder/head.png")
        assert np.array_equal(scan.voxels, head)
        assert (scan.source, scan.orientation, scan.name) == ("NIfTI", "SPL", "head.png")


def test_nibabel_reads_the_same_voxels_in_the_closest_canonical_position(head):
    image = image_of(head, "PIR")
    canonical = nibabel.as_closest_canonical(image).get_fdata()
    assert np.array_equal(read_nifti(image.to_bytes()).voxels, canonical[::-1, ::-1].T)


def test_every_position_of_the_axes_gives_the_same_slices(head):
    for axes in itertools.permutations(("RL", "AP", "SI")):
        for letters in itertools.product(*axes):
            assert np.array_equal(read_nifti(nifti(head[::3], "".join(letters))).voxels, head[::3])


ENCODINGS = {
    "uint8": {"kind": "u1"},
    "int16": {"kind": "<i2"},
    "int16 big-endian": {"kind": ">i2"},
    "uint16": {"kind": "<u2"},
    "int32": {"kind": "<i4"},
    "int64": {"kind": "<i8"},
    "float32": {"kind": "<f4"},
    "float32 big-endian": {"kind": ">f4"},
    "float64": {"kind": "<f8"},
    "flipped": {"codes": "LAS"},
    "upside down": {"codes": "RPI"},
    "sagittal": {"codes": "PSR", "kind": "<f4"},
    "NIfTI-2": {"two": True},
    "NIfTI-2 big-endian": {"two": True, "kind": ">f4"},
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("pack", [bytes, packed], ids=["nii", "nii.gz"])
def test_every_encoding_is_prepared_bit_for_bit_alike(head, expected, name, pack):
    slices, numbers = prepared(pack(nifti(head, **ENCODINGS[name])))
    assert len(numbers) > 10
    assert numbers == expected[1]
    assert np.array_equal(slices, expected[0])


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8"])
def test_values_at_another_scale_are_prepared_within_one_grey_level(head, expected, kind):
    slices, numbers = prepared(nifti(head / 255.0 * 3.1 + 0.7, kind=kind))
    assert numbers == expected[1]
    assert np.abs(slices.astype(int) - expected[0]).max() <= 1


@pytest.mark.parametrize("kind", ["u1", "<i2", ">i2", "<f4"])
def test_slope_and_intercept_are_applied(head, kind):
    image = image_of(head, kind=kind)
    header = image.header.copy()
    header["scl_slope"], header["scl_inter"] = 0.5, -20
    data = header.binaryblock + image.to_bytes()[348:]
    assert np.array_equal(read_nifti(data).voxels, head * np.float32(0.5) - 20)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "RPI", "SLP"])
def test_a_slice_as_nifti_and_as_png_is_the_same_picture(head, codes):
    buffer = io.BytesIO()
    Image.fromarray(head[18]).save(buffer, "PNG")
    picture = read_scan(buffer.getvalue(), "slice.png")
    volume = read_nifti(nifti(head[18:19], codes))
    assert volume.orientation == "SPL"
    assert np.array_equal(volume.voxels, picture.voxels)
    expected, _ = numbered_slices(picture, Preparation())
    assert np.array_equal(prepared(nifti(head[18:19], codes))[0], expected)


def test_a_nifti_of_two_dimensions_is_one_slice(head):
    image = nibabel.Nifti1Image(head[18].T.astype("i2"), np.diag([-2, -2, 4, 1.0]))
    assert image.header["dim"][0] == 2
    assert np.array_equal(read_nifti(image.to_bytes()).voxels, head[18:19])


def test_four_dimensions_of_one_volume_are_a_volume(head):
    image = nibabel.Nifti1Image(head.T[..., None].astype("i2"), np.diag([-2, -2, 4, 1.0]))
    assert np.array_equal(read_nifti(image.to_bytes()).voxels, head)


def test_of_a_4d_volume_the_first_is_read_and_the_others_are_named(head):
    image = nibabel.Nifti1Image(np.stack([head.T, head.T[::-1]], axis=3).astype("i2"), np.diag([-2, -2, 4, 1.0]))
    volume = read_nifti(image.to_bytes())
    assert np.array_equal(volume.voxels, head)
    assert "holds 2 volumes" in volume.warnings[0]


def test_a_4d_volume_that_breaks_off_is_refused(head):
    data = nibabel.Nifti1Image(np.stack([head.T, head.T], axis=3).astype("i2"), np.eye(4)).to_bytes()
    with pytest.raises(ScanError, match=r"^Expected "):
        read_nifti(data[:-100])


@pytest.mark.parametrize(
    ("kind", "found"),
    [([("R", "u1"), ("G", "u1"), ("B", "u1")], "colours"), ("c8", "complex numbers"), ("c16", "complex numbers")],
)
def test_voxels_that_are_no_grey_values_are_refused(head, kind, found):
    voxels = np.zeros(head.T.shape, dtype=kind) if isinstance(kind, list) else head.T.astype(kind)
    with pytest.raises(ScanError, match=found):
        read_nifti(nibabel.Nifti1Image(voxels, np.eye(4), dtype=voxels.dtype).to_bytes())


def test_voxels_that_are_no_numbers_become_the_lowest_number(head):
    values = head.astype("f4") + 10
    values[0, 0, 0], values[5, 5, 5], values[6, 6, 6] = np.nan, np.inf, -np.inf
    voxels = read_nifti(nifti(values, kind="<f4")).voxels
    assert voxels[0, 0, 0] == voxels[5, 5, 5] == voxels[6, 6, 6] == 10
    assert np.isfinite(voxels).all()


def test_numbers_too_large_for_float32_print_nothing_and_stay_finite(head, recwarn):
    values = head.astype("f8")
    values[3, 3, 3] = 1e300
    assert read_nifti(nifti(values, kind="<f8")).voxels[3, 3, 3] == 0
    assert not recwarn.list


def test_a_volume_without_a_number_is_refused(head):
    with pytest.raises(ScanError, match="without a single number"):
        read_nifti(nifti(np.full(head.shape, np.nan), kind="<f4"))


def test_a_position_that_the_file_does_not_tell_is_said_to_be_unknown(head):
    volume = read_nifti(changed(nifti(head, "LAS"), sform_code=0, qform_code=0))
    assert volume.orientation is None
    assert volume.spacing_mm == pytest.approx(SPACING)
    assert np.array_equal(volume.voxels, head), "shown with anterior on top, as nearly all files lie"
    assert "left and right are unknown" in volume.warnings[0]


def test_the_qform_places_a_file_without_sform(head):
    for codes in ("RAS", "LPS", "SLP"):
        image = image_of(head, codes)
        image.set_qform(image.affine, 1)
        assert np.array_equal(read_nifti(changed(image.to_bytes(), sform_code=0)).voxels, head)
        if image.header["pixdim"][0] == 1:
            unsaid = changed(image.to_bytes(), sform_code=0, pixdim=[0, *image.header["pixdim"][1:]])
            assert np.array_equal(read_nifti(unsaid).voxels, head)


def test_two_positions_that_disagree_are_told(head):
    image = image_of(head)
    image.set_qform(image.affine @ np.diag([-1, 1, 1, 1]), 1)
    volume = read_nifti(image.to_bytes())
    assert np.array_equal(volume.voxels, head), "the sform goes before"
    assert "disagree" in volume.warnings[0]
    image.set_qform(image.affine, 1)
    assert read_nifti(image.to_bytes()).warnings == ()


def test_other_units_of_length_become_millimetres(head):
    metres = nifti(head, spacing=(0.004, 0.002, 0.002))
    assert read_nifti(changed(metres, xyzt_units=1)).spacing_mm == pytest.approx(SPACING)
    micrometres = nifti(head, spacing=(4000.0, 2000.0, 2000.0))
    assert read_nifti(changed(micrometres, xyzt_units=3)).spacing_mm == pytest.approx(SPACING)


def test_header_extensions_are_read_over(head):
    image = image_of(head)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"anything" * 300))
    data = image.to_bytes()
    assert nibabel.Nifti1Header(data[:348])["vox_offset"] > 2000
    assert np.array_equal(read_nifti(gzip.compress(data)).voxels, head)


def test_voxels_right_behind_the_header_need_no_offset(head):
    assert np.array_equal(read_nifti(changed(nifti(head), vox_offset=0)).voxels, head)


LIES = {
    "dimensions": ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "million voxels, got 32767 slices"),
    "more than there is": ({"dim": [3, 80, 96, 41, 1, 1, 1, 1]}, "breaks off"),
    "negative size": ({"dim": [3, -80, 96, 40, 1, 1, 1, 1]}, "header is damaged"),
    "no size": ({"dim": [3, 80, 0, 40, 1, 1, 1, 1]}, "header is damaged"),
    "no dimensions": ({"dim": [0, 80, 96, 40, 1, 1, 1, 1]}, "header is damaged"),
    "one dimension": ({"dim": [1, 80, 96, 40, 1, 1, 1, 1]}, "header is damaged"),
    "dimensions beyond seven": ({"dim": [9, 80, 96, 40, 1, 1, 1, 1]}, "header is damaged"),
    "narrow": ({"dim": [3, 4, 96, 40, 1, 1, 1, 1]}, "at least 8 x 8"),
    "type": ({"datatype": 77}, "unknown type 77"),
    "128 bits": ({"datatype": 1536, "bitpix": 128}, "numbers of 128 bits"),
    "single bits": ({"datatype": 1, "bitpix": 1}, "single bits"),
    "bits": ({"bitpix": 8}, "16 bits a voxel, got 8"),
    "offset in the header": ({"vox_offset": 40}, "behind the header"),
    "negative offset": ({"vox_offset": -500}, "behind the header"),
    "endless offset": ({"vox_offset": np.inf}, "behind the header"),
    "offset behind the end": ({"vox_offset": 1e30}, "512 MB"),
    "intercept": ({"scl_slope": 2, "scl_inter": np.nan}, "intercept"),
    "flat position": ({"srow_x": [0, 0, 0, 0]}, "three directions in space"),
    "endless position": ({"srow_x": [np.inf, 0, 0, 0]}, "three directions in space"),
    "no rotation": ({"sform_code": 0, "qform_code": 1, "quatern_b": 3, "quatern_c": 3}, "qform"),
    "negative spacing": ({"sform_code": 0, "qform_code": 1, "pixdim": [1, -2, 2, 4, 0, 0, 0, 0]}, "qform"),
    "pair": ({"magic": b"ni1"}, "a header alone"),
    "analyze": ({"magic": b""}, "Analyze or a damaged header"),
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
    assert peak < 20e6
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("Expected")


@pytest.mark.parametrize("content", [b"", b"abc", bytes(400), b"hello" * 100], ids=["empty", "short", "zeros", "text"])
def test_gzip_of_something_else_is_refused(content):
    with pytest.raises(ScanError, match="NIfTI file, got content of another kind"):
        read_nifti(gzip.compress(content))


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize("pack", [bytes, packed], ids=["nii", "nii.gz"])
def test_a_file_that_breaks_off_is_refused(head, share, pack):
    data = pack(nifti(head))
    with pytest.raises(ScanError):
        read_nifti(data[: int(len(data) * share)])


@pytest.mark.parametrize("garbage", [b"\x00", b"more", gzip.compress(b"\x1f")[:-1]])
def test_anything_behind_the_gzip_data_is_refused(head, garbage):
    with pytest.raises(ScanError, match="gzip"):
        read_nifti(gzip.compress(nifti(head)) + garbage)


def test_gzip_in_several_parts_is_read_as_one(head):
    data = nifti(head)
    parts = [gzip.compress(data[start : start + 50_000]) for start in range(0, len(data), 50_000)]
    assert len(parts) > 5
    assert np.array_equal(read_nifti(b"".join(parts)).voxels, head)


def test_endless_gzip_parts_of_nothing_are_refused_soon():
    with pytest.raises(ScanError, match="parts of gzip data"):
        open_unpacked(gzip.compress(b"") * 30_000).read()


def test_a_wrong_checksum_or_length_behind_the_last_voxel_is_refused(head):
    data = gzip.compress(nifti(head))
    for place in range(-8, 0):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(ScanError, match="checksum"):
            read_nifti(bytes(damaged))


def test_the_checksum_counts_where_the_voxels_end_long_before():
    noise = np.random.default_rng(0).integers(0, 99, (40, 200, 200))
    data = bytearray(packed(changed(nifti(noise), dim=[3, 20, 20, 20, 1, 1, 1, 1])))
    assert read_nifti(bytes(data)).voxels.shape == (20, 20, 20)
    data[-8] ^= 1
    with pytest.raises(ScanError, match="checksum"):
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


@pytest.mark.parametrize(
    ("told", "sentence"), [((400, 400, 399), "200 times"), ((20, 20, 20), "200 times"), ((600, 600, 600), "million")]
)
def test_a_bomb_is_refused_before_it_takes_memory(told, sentence):
    data = bomb(told, 504)
    assert len(data) < 600_000
    tracemalloc.start()
    with pytest.raises(ScanError, match=sentence):
        read_nifti(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_small_masks_may_pack_as_well_as_they_like(head):
    data = packed(nifti((np.indices((200, 200, 200))[0] > 100).astype("u1"), kind="u1"))
    assert 8_000_000 / len(data) > 200
    assert read_nifti(data).voxels.shape == (200, 200, 200)


def test_more_than_512_mb_are_refused_at_any_ratio():
    check_unpacked(MAX_UNPACKED, MAX_UNPACKED)
    with pytest.raises(ScanError, match="512 MB"):
        check_unpacked(MAX_UNPACKED + 1, MAX_UNPACKED)


@needs_shared("hostile")
def test_hostile_niftis_are_read_or_refused_as_listed():
    with (SHARED / "hostile" / "MANIFEST.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["file"].startswith("nifti/")]
    assert len(rows) > 10
    for row in rows:
        data, outcome = (SHARED / "hostile" / row["file"]).read_bytes(), row["expected_outcome"]
        try:
            slices, _ = prepared(data)
        except ScanError:
            assert outcome != "accept", row["file"]
        else:
            assert outcome != "reject_unreadable", row["file"]
            assert len(slices) > (15 if outcome == "accept" else 1)


@needs_shared("uploads")
def test_real_volumes_are_read_upright():
    for name, count in (("mni152_t1.nii.gz", 21), ("ms_flair_patient12.nii.gz", 29)):
        data = (SHARED / "uploads" / name).read_bytes()
        volume = read_nifti(data)
        slices, numbers = prepared(data)
        assert len(slices) == len(numbers) == count
        assert (volume.orientation, volume.warnings) == ("SPL", ())
        shown = (slices > 20).any(axis=0)
        assert np.ptp(np.flatnonzero(shown.any(axis=1))) > np.ptp(np.flatnonzero(shown.any(axis=0))), "longer than wide"
