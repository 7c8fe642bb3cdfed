"""NIfTI in every encoding gives the same slices; what is damaged, too large or no grey volume gets one sentence."""

import csv
import gzip
import io
import itertools

import nibabel
import numpy as np
import pytest
from PIL import Image

from sslmri.errors import ScanError
from sslmri.scans.parse import parse_volume
from sslmri.scans.slices import Preparation, prepare_scan
from tests.conftest import SHARED, needs_shared
from tests.harness.parsing import parse_scan
from tests.nifti_files import SPACING, changed, image_of, nifti, packed, prepared, read_nifti


@pytest.fixture(scope="module")
def expected(head) -> tuple[np.ndarray, tuple[int, ...]]:
    """Returns the prepared slices of the head and their numbers."""
    return prepared(nifti(head))


def test_voxels_come_back_as_axial_slices_with_their_spacing(head):
    volume = read_nifti(nifti(head))
    assert np.array_equal(volume.voxels, head)
    assert volume.voxels.dtype == np.float32
    assert volume.spacing_mm == pytest.approx(SPACING)
    assert (volume.orientation, volume.modality, volume.warnings) == ("SPL", None, ())


def test_the_door_knows_a_nifti_by_its_content(head):
    for data in (nifti(head), packed(nifti(head)), nifti(head, two=True), nifti(head, kind=">f4")):
        scan = parse_scan(data, "folder/head.png")
        assert np.array_equal(scan.voxels, head)
        assert (scan.info.source, scan.info.orientation, scan.info.name) == ("NIfTI", "SPL", "head.png")


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
    found = prepared(pack(nifti(head, **ENCODINGS[name])))
    assert len(found.slices) > 10
    assert found.slice_numbers == expected.slice_numbers
    assert np.array_equal(found.slices, expected.slices)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8"])
def test_values_at_another_scale_are_prepared_within_one_intensity_level(head, expected, kind):
    found = prepared(nifti(head / 255.0 * 3.1 + 0.7, kind=kind))
    assert found.slice_numbers == expected.slice_numbers
    assert np.abs(found.slices.astype(int) - expected.slices).max() <= 1


@pytest.mark.parametrize("kind", ["u1", "<i2", ">i2", "<f4"])
def test_slope_and_intercept_are_applied(head, kind):
    image = image_of(head, kind=kind)
    header = image.header.copy()
    header["scl_slope"], header["scl_inter"] = 0.5, -20
    data = header.binaryblock + image.to_bytes()[348:]
    assert np.array_equal(read_nifti(data).voxels, head * np.float32(0.5) - 20)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "RPI", "SLP"])
def test_a_slice_as_nifti_and_as_png_is_the_same_image(head, codes):
    buffer = io.BytesIO()
    Image.fromarray(head[18]).save(buffer, "PNG")
    picture = parse_scan(buffer.getvalue(), "slice.png")
    volume = read_nifti(nifti(head[18:19], codes))
    assert volume.orientation == "SPL"
    assert np.array_equal(volume.voxels, picture.voxels)
    expected = prepare_scan(picture, Preparation()).slices
    assert np.array_equal(prepared(nifti(head[18:19], codes)).slices, expected)


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
    with pytest.raises(ScanError, match="incomplete"):
        read_nifti(data[:-100])


@pytest.mark.parametrize(
    ("kind", "found"),
    [([("R", "u1"), ("G", "u1"), ("B", "u1")], "colours"), ("c8", "complex numbers"), ("c16", "complex numbers")],
)
def test_voxels_that_are_no_intensities_are_refused(head, kind, found):
    voxels = np.zeros(head.T.shape, dtype=kind) if isinstance(kind, list) else head.T.astype(kind)
    with pytest.raises(ScanError, match=found):
        read_nifti(nibabel.Nifti1Image(voxels, np.eye(4), dtype=voxels.dtype).to_bytes())


def test_voxels_that_are_not_finite_become_the_lowest_number(head):
    values = head.astype("f4") + 10
    values[0, 0, 0], values[5, 5, 5], values[6, 6, 6] = np.nan, np.inf, -np.inf
    voxels = parse_volume("NIfTI", [nifti(values, kind="<f4")]).voxels
    assert voxels[0, 0, 0] == voxels[5, 5, 5] == voxels[6, 6, 6] == 10
    assert np.isfinite(voxels).all()


def test_numbers_too_large_for_float32_print_nothing_and_stay_finite(head, recwarn):
    values = head.astype("f8")
    values[3, 3, 3] = 1e300
    assert parse_volume("NIfTI", [nifti(values, kind="<f8")]).voxels[3, 3, 3] == 0
    assert not recwarn.list


def test_a_volume_without_a_number_is_refused(head):
    with pytest.raises(ScanError, match="no valid intensities"):
        parse_volume("NIfTI", [nifti(np.full(head.shape, np.nan), kind="<f4")])


def test_a_position_that_the_file_does_not_tell_is_said_to_be_unknown(head):
    volume = read_nifti(changed(nifti(head, "LAS"), sform_code=0, qform_code=0))
    assert volume.orientation is None
    assert volume.spacing_mm == pytest.approx(SPACING)
    assert np.array_equal(volume.voxels, head), "shown with anterior on top, as nearly all files lie"
    assert "the plane of its slices, left and right are unknown" in volume.warnings[0]


def test_the_qform_places_a_file_without_sform(head):
    for codes in ("RAS", "LPS", "SLP"):
        image = image_of(head, codes)
        image.set_qform(image.affine, 1)
        assert np.array_equal(read_nifti(changed(image.to_bytes(), sform_code=0)).voxels, head)
        if image.header["pixdim"][0] == 1:
            unsaid = changed(image.to_bytes(), sform_code=0, pixdim=[0, *image.header["pixdim"][1:]])
            assert np.array_equal(read_nifti(unsaid).voxels, head)


@pytest.mark.parametrize(
    "unusable",
    [
        {"srow_x": [0] * 4, "srow_y": [0] * 4, "srow_z": [0] * 4},
        {"srow_y": [0, 0, 0, 5]},
        {"srow_x": [np.nan, 0, 0, 0]},
        {"quatern_b": 3, "quatern_c": 3},
        {"pixdim": [7, 2, 2, 4, 0, 0, 0, 0]},
    ],
)
def test_of_two_positions_the_usable_one_counts(head, unusable):
    image = image_of(head, "LPS")
    image.set_qform(image.affine, 1)
    volume = read_nifti(changed(image.to_bytes(), **unusable))
    assert np.array_equal(volume.voxels, head)
    assert volume.spacing_mm == pytest.approx(SPACING)
    assert (volume.orientation, volume.warnings) == ("SPL", ())


def test_a_quaternion_written_with_few_digits_is_a_rotation(head):
    image = image_of(head, "RPI")
    image.set_qform(image.affine, 1)
    data = changed(image.to_bytes(), sform_code=0, quatern_b=1.0001)
    assert np.array_equal(read_nifti(data).voxels, head)


@pytest.mark.parametrize(("handedness", "sign"), [(7, 1), (0.5, 1), (-3, -1)])
def test_signs_and_a_handedness_out_of_range_are_read_as_nibabel_does(head, handedness, sign):
    image = image_of(head, "LPS" if sign > 0 else "RPS")
    image.set_qform(image.affine, 1)
    data = changed(image.to_bytes(), sform_code=0, pixdim=[handedness, -2, 2, -4, 0, 0, 0, 0])
    assert np.array_equal(read_nifti(data).voxels, head)


@pytest.mark.parametrize("scale", [0.01, 0.1, 10, 1000])
def test_a_field_of_view_that_no_head_has_is_refused(head, scale):
    with pytest.raises(ScanError, match="No head has a field of view of"):
        read_nifti(nifti(head, spacing=tuple(scale * mm for mm in SPACING)))


@pytest.mark.parametrize("intent", [5, 1002])
def test_a_map_by_its_intent_is_refused(head, intent):
    with pytest.raises(ScanError, match="a map of statistics or labels"):
        read_nifti(changed(nifti(head), intent_code=intent))


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


@pytest.mark.parametrize("unit", [1, 3])
def test_a_unit_that_makes_no_head_is_taken_for_millimetres(head, unit):
    volume = read_nifti(changed(nifti(head), xyzt_units=unit))
    assert volume.spacing_mm == pytest.approx(SPACING)
    assert "millimetres are assumed" in volume.warnings[0]


def test_blank_unused_dimensions_and_bits_are_read(head):
    blank = changed(nifti(head), dim=[4, 80, 96, 40, 0, 0, 0, 0], bitpix=0)
    assert np.array_equal(read_nifti(blank).voxels, head)


def test_header_extensions_are_read_over(head):
    image = image_of(head)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"anything" * 300))
    data = image.to_bytes()
    assert nibabel.Nifti1Header(data[:348])["vox_offset"] > 2000
    assert np.array_equal(read_nifti(gzip.compress(data)).voxels, head)


def test_voxels_right_behind_the_header_need_no_offset(head):
    assert np.array_equal(read_nifti(changed(nifti(head), vox_offset=0)).voxels, head)


@needs_shared("hostile")
def test_hostile_niftis_are_read_or_refused_as_listed():
    with (SHARED / "hostile" / "MANIFEST.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["file"].startswith("nifti/")]
    assert len(rows) > 10
    for row in rows:
        data, outcome = (SHARED / "hostile" / row["file"]).read_bytes(), row["expected_outcome"]
        try:
            slices = prepared(data).slices
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
        slices = prepared(data).slices
        assert len(slices) == count
        assert (volume.orientation, volume.warnings) == ("SPL", ())
        shown = (slices > 20).any(axis=0)
        assert np.ptp(np.flatnonzero(shown.any(axis=1))) > np.ptp(np.flatnonzero(shown.any(axis=0))), "longer than wide"
