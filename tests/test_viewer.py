"""The viewer: which voxels each slice shows, how they are sent, and where a map lies on them."""

from typing import Any

import numpy as np
import pytest

from sslmri.dashboard.screening.payload import pack, volume_of
from sslmri.dashboard.screening.planes import planes_of
from sslmri.scans.scan import Scan, ScanInfo
from sslmri.scans.slices import Preparation, shown_box, to_slices
from tests.viewer_payload import Payload, unpack

PREPARATION = Preparation()


def volume(voxels: np.ndarray, spacing_mm=(5.0, 1.0, 2.0), orientation="SPL") -> Scan:
    info = ScanInfo("v.nii", "NIfTI", "0" * 64, len(voxels), spacing_mm, orientation, "MR")
    return Scan(info, voxels.astype(np.float32))


def blob(shape: tuple[int, int], at: tuple[float, float], spacing: tuple[float, float]) -> np.ndarray:
    """Returns a head with one bright spot, (H, W); ``at`` is a fraction of the height and of the width."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    y, x = rows / shape[0], columns / shape[1]
    head = ((y - 0.5) / 0.4) ** 2 + ((x - 0.5) / 0.4) ** 2 < 1
    far = np.hypot((rows - at[0] * shape[0]) * spacing[0], (columns - at[1] * shape[1]) * spacing[1])
    return np.where(head, 100.0, 0.0) + 900.0 * np.exp(-((far / 9.0) ** 2))


def centre(level: np.ndarray) -> tuple[float, float]:
    """Returns the centre of what is above half the maximum, as fractions of the height and the width."""
    rows, columns = np.nonzero(level > level.max() / 2)
    return (rows.mean() + 0.5) / level.shape[0], (columns.mean() + 0.5) / level.shape[1]


def sent(scan: Scan, **given: object) -> Payload:
    """Returns what the viewer is given of a scan whose slices were all analysed."""
    numbers = range(1, len(scan.voxels) + 1)
    options: dict[str, Any] = {"levels": {}, "mask": None, "shown": {}} | given
    return unpack(pack(scan, volume_of(scan, numbers), numbers, **options))


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((200, 160), (1.0, 1.0)), ((160, 220), (1.0, 1.0)), ((220, 110), (0.9, 1.8)), ((90, 200), (2.0, 1.0))],
)
def test_a_map_lies_over_what_it_was_made_from(shape, spacing) -> None:
    at = (0.30, 0.62)
    scan = volume(blob(shape, at, spacing)[None], (5.0, *spacing))
    prepared = to_slices(scan, PREPARATION)[0]
    spot = np.where(prepared > 180, prepared / 255, 0).astype(np.float32)  # as the encoder saw it
    box = shown_box(scan.voxels[0], scan.info.spacing_mm, PREPARATION)
    found = sent(scan, levels={1: spot})
    top, left, height, width = box
    level = found.parts["maps"].reshape(found.header["shape"])
    y, x = centre(level)
    assert (top + y * height, left + x * width) == pytest.approx(at, abs=0.012)
    assert centre(found.slice_of(0, 0)) == pytest.approx(at, abs=0.012)


def test_each_plane_shows_its_voxels_with_the_head_up_and_names_its_edges() -> None:
    voxels = np.arange(2 * 3 * 4).reshape(2, 3, 4) * 10.0
    found = sent(volume(voxels))
    axial, coronal, sagittal = found.header["planes"]
    assert [plane["name"] for plane in found.header["planes"]] == ["axial", "coronal", "sagittal"]
    assert [plane["shape"][0] for plane in found.header["planes"]] == [2, 3, 4]
    assert [plane["labels"] for plane in found.header["planes"]] == [
        ["A", "L", "P", "R"],
        ["S", "L", "I", "R"],
        ["S", "P", "I", "A"],
    ]
    assert (axial["pixel"], coronal["pixel"], sagittal["pixel"]) == ([1.0, 2.0], [5.0, 2.0], [5.0, 1.0])
    stored = found.parts["voxels"].reshape(voxels.shape)
    assert found.slice_of(0, 1).tolist() == stored[1].tolist()
    assert found.slice_of(1, 2).tolist() == stored[::-1, 2, :].tolist()
    assert found.slice_of(2, 3).tolist() == stored[::-1, :, 3].tolist()


@pytest.mark.parametrize(
    ("spacing", "orientation", "plane", "said"),
    [
        (None, None, "", "pixel size and orientation unknown"),
        ((5.0, 1.0, 1.0), "LIP", "sagittal", "1.00 x 1.00 mm per pixel"),
        (None, "SPL", "axial", "pixel size unknown"),
    ],
)
def test_only_an_axial_volume_of_known_spacing_has_other_planes(spacing, orientation, plane, said) -> None:
    scan = volume(np.zeros((2, 8, 8)), spacing, orientation)
    (only,) = planes_of(scan, scan.voxels.astype(np.uint8))
    assert only.name == plane
    assert (only.labels is None) == (orientation is None)
    assert only.size == said


def test_slices_are_sent_in_the_units_of_the_file_and_one_bright_voxel_does_not_darken_them() -> None:
    image = np.where(blob((128, 128), (0.5, 0.5), (1.0, 1.0)) > 50, 300.0, 0.0)
    image[2, 2] = 60_000.0
    image[40:60, 40:60] = 500.0
    found = sent(volume(image[None])).header
    level, width = found["window"]["brain"]
    assert (level - width / 2, level + width / 2) == pytest.approx((300, 500))
    assert found["low"] == 0
    assert found["high"] < 1000
    values = found["low"] + sent(volume(image[None])).slice_of(0, 0) / 255 * (found["high"] - found["low"])
    assert values[50, 50] == pytest.approx(500, abs=4)


def test_an_image_without_any_contrast_has_a_window_all_the_same() -> None:
    found = sent(volume(np.full((1, 32, 32), 7.0))).header
    assert found["high"] > found["low"]
    assert all(width > 0 for _, width in found["window"].values())


def test_a_large_scan_is_sent_as_block_means_of_the_same_place_and_proportions(monkeypatch) -> None:
    image = np.zeros((1, 4096, 2048), np.float32)
    image[0, 1024:1536, 1024:1536] = 1.0
    found = sent(volume(image, (5.0, 1.0, 1.0)))
    (plane,) = found.header["planes"]
    assert plane["shape"] == [1, 1024, 512]
    assert plane["pixel"] == [4.0, 4.0]
    assert plane["size"] == "1.00 x 1.00 mm per pixel"  # of the file
    assert centre(found.slice_of(0, 0)) == pytest.approx((1280 / 4096, 1280 / 2048), abs=0.004)
    monkeypatch.setattr("sslmri.dashboard.screening.payload._MAX_BYTES", 4096)
    many = sent(volume(np.random.default_rng(0).random((16, 64, 64))))
    assert many.header["planes"][0]["shape"] == [16, 16, 16]


def test_an_outline_is_sent_one_bit_a_voxel_in_the_order_of_the_voxels() -> None:
    mask = np.zeros((3, 8, 10), bool)
    mask[1, 2:5, 4:9] = True
    found = sent(volume(np.random.default_rng(0).random(mask.shape)), mask=mask)
    assert found.header["has_mask"]
    assert np.unpackbits(found.parts["mask"])[: mask.size].astype(bool).tolist() == mask.ravel().tolist()


def test_the_strip_and_what_is_known_of_slices_are_sent() -> None:
    scan = volume(np.random.default_rng(0).random((3, 8, 8)))
    strip = {"title": "Probability of any tumour by slice", "values": [0.1, 0.9, 0.5], "threshold": 0.61}
    shown = {"strip": strip, "lines": {2: [(0.1, 0.2, 0.3, 0.4)]}, "texts": {2: "42 mm"}}
    found = sent(scan, shown=shown).header
    assert found["strip"] == strip
    assert found["lines"] == {"2": [[0.1, 0.2, 0.3, 0.4]]}
    assert found["texts"] == {"2": "42 mm"}
    assert found["analysed"] == [1, 2, 3]
