"""The viewer: what is cut, how it is shown, and where a map lies on it."""

import io

import numpy as np
import pytest
from PIL import Image

from sslmri.dashboard.screening.images import SIDE, fit, overlay_image, place_map, scan_image, windowed
from sslmri.dashboard.screening.planes import (
    OrientationLabels,
    ReformattedSlice,
    file_slice,
    n_slices_in,
    plane_of,
    planes_of,
    reformat,
)
from sslmri.dashboard.screening.viewer_controls import _intensity_range, _round_step
from sslmri.scans.scan import Scan, ScanInfo
from sslmri.scans.slices import Preparation, shown_box, to_slices

PREPARATION = Preparation()


def volume(voxels: np.ndarray, spacing_mm=(5.0, 1.0, 2.0), orientation="SPL") -> Scan:
    info = ScanInfo("v.nii", "NIfTI", "0" * 64, len(voxels), spacing_mm, orientation, "MR")
    return Scan(info, voxels.astype(np.float32))


def blob(shape: tuple[int, int], at: tuple[float, float], spacing: tuple[float, float]) -> np.ndarray:
    """Returns a head with one bright spot, (H, W); ``at`` is a share of the height and of the width."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    y, x = rows / shape[0], columns / shape[1]
    head = ((y - 0.5) / 0.4) ** 2 + ((x - 0.5) / 0.4) ** 2 < 1
    far = np.hypot((rows - at[0] * shape[0]) * spacing[0], (columns - at[1] * shape[1]) * spacing[1])
    return np.where(head, 100.0, 0.0) + 900.0 * np.exp(-((far / 9.0) ** 2))


def centre(level: np.ndarray) -> tuple[float, float]:
    """Returns the centre of what is above half the maximum, as shares of the height and the width."""
    rows, columns = np.nonzero(level > level.max() / 2)
    return (rows.mean() + 0.5) / level.shape[0], (columns.mean() + 0.5) / level.shape[1]


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((200, 160), (1.0, 1.0)), ((160, 220), (1.0, 1.0)), ((220, 110), (0.9, 1.8)), ((90, 200), (2.0, 1.0))],
)
def test_a_map_lies_over_what_it_was_made_from(shape, spacing) -> None:
    at = (0.30, 0.62)
    scan = volume(blob(shape, at, spacing)[None], (5.0, *spacing))
    slices = to_slices(scan, PREPARATION)
    map_ = np.where(slices[0] > 180, slices[0], 0).astype(np.float32)  # the spot as the encoder saw it
    picture = fit(file_slice(scan, 0))
    level = place_map(map_, shown_box(scan.voxels[0], scan.info.spacing_mm, PREPARATION), picture.shape)
    assert level.shape == picture.shape
    assert centre(level) == pytest.approx(at, abs=0.012)
    assert centre(picture) == pytest.approx(at, abs=0.012)


def test_a_map_of_few_places_is_zero_where_the_prepared_slice_was_only_padded() -> None:
    box = shown_box(np.zeros((100, 50)), None, PREPARATION)
    assert box == pytest.approx((0.0, -0.5, 1.0, 2.0))
    level = place_map(np.array([[1.0, 0.0, 0.0, 0.0]] * 4), box, (400, 200))
    assert level[:, 40:].max() < 0.2  # the bright column of the map lies in the padding, left of the image


def test_pixels_are_shown_square_at_one_size() -> None:
    assert fit(ReformattedSlice(np.zeros((40, 80), np.float32), (4.0, 1.0), None)).shape == (SIDE, SIDE // 2)
    assert fit(ReformattedSlice(np.zeros((4000, 2000), np.float32), None, None)).shape == (SIDE, SIDE // 2)


def test_a_large_slice_is_thinned_by_means_and_keeps_its_place() -> None:
    image = np.zeros((4096, 4096), np.float32)
    image[1024:1536, 2048:3072] = 1.0
    assert centre(fit(ReformattedSlice(image, None, None))) == pytest.approx((1280 / 4096, 2560 / 4096), abs=0.004)


def test_a_window_is_black_below_and_white_above() -> None:
    assert windowed(np.array([0.0, 50.0, 100.0, 150.0, 200.0]), 100, 100).tolist() == [0, 0, 128, 255, 255]


def test_an_axial_volume_is_cut_in_three_planes_with_the_marks_of_each() -> None:
    voxels = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    scan = volume(voxels)
    assert planes_of(scan) == ("axial", "coronal", "sagittal")
    assert [n_slices_in(scan, plane) for plane in planes_of(scan)] == [2, 3, 4]
    axial, coronal, sagittal = reformat(scan, "axial", 1), reformat(scan, "coronal", 2), reformat(scan, "sagittal", 3)
    assert axial.labels == OrientationLabels(top="A", right="L", bottom="P", left="R")
    assert coronal.labels == OrientationLabels(top="S", right="L", bottom="I", left="R")
    assert sagittal.labels == OrientationLabels(top="S", right="P", bottom="I", left="A")
    assert (coronal.pixel_mm, sagittal.pixel_mm) == ((5.0, 2.0), (5.0, 1.0))
    assert coronal.image[0].tolist() == voxels[1, 2].tolist()
    assert sagittal.image[:, 0].tolist() == [voxels[1, 0, 3], voxels[0, 0, 3]]


@pytest.mark.parametrize(
    ("spacing", "orientation", "plane"),
    [(None, None, None), ((5.0, 1.0, 1.0), "LIP", "sagittal"), (None, "SPL", "axial")],
)
def test_only_an_axial_volume_of_known_spacing_is_cut_in_other_planes(spacing, orientation, plane) -> None:
    scan = volume(np.zeros((2, 8, 8)), spacing, orientation)
    assert planes_of(scan) == ()
    assert plane_of(scan) == plane
    assert (file_slice(scan, 0).labels is None) == (orientation is None)


def test_marks_stand_at_the_edges_that_they_name() -> None:
    grey = np.zeros((SIDE, SIDE), np.uint8)
    marked = np.asarray(
        Image.open(io.BytesIO(scan_image(grey, OrientationLabels("A", "L", "P", "R"), ("", "")))).convert("L")
    )
    bare = np.asarray(Image.open(io.BytesIO(scan_image(grey, None, ("", "")))).convert("L"))
    edges = (marked[:40, 236:276], marked[236:276, -40:], marked[SIDE - 40 : SIDE, 236:276], marked[236:276, :40])
    assert all(edge.max() > 150 for edge in edges)
    assert bare[:SIDE].max() < 10


def test_images_of_noise_stay_below_what_the_media_store_samples() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    level = np.random.default_rng(1).random((SIDE, SIDE), np.float32)
    assert len(overlay_image(noise, level, 1.0, None, "top")) < 2**20
    assert len(scan_image(noise, None, ("a", "b"))) < 2**20


def test_the_first_window_is_that_of_the_head_and_ignores_one_bright_speck() -> None:
    image = np.where(blob((128, 128), (0.5, 0.5), (1.0, 1.0)) > 50, 300.0, 0.0)
    image[2, 2] = 60_000.0
    image[40:60, 40:60] = 500.0
    (level, width), lowest, highest, step = _intensity_range(volume(image[None]), (1,))
    assert (level - width / 2, level + width / 2) == pytest.approx((300, 500), abs=2 * step)
    assert lowest == 0
    assert highest < 1000


@pytest.mark.parametrize(("value", "rounded"), [(1.0, 1.0), (1.1, 2.0), (0.03, 0.05), (7.0, 10.0)])
def test_a_step_is_one_two_or_five_times_a_power_of_ten(value: float, rounded: float) -> None:
    assert _round_step(value) == pytest.approx(rounded)
