"""Atlas preparation: a whole head becomes the aligned slices of its brain, or one sentence says why not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from sslmri.errors import ScanError
from sslmri.scans import atlas
from sslmri.scans.atlas import process
from sslmri.scans.atlas.brain import head_image
from sslmri.scans.atlas.register import Image3d, correlation, matched_to, moved, register
from sslmri.scans.atlas.slab import GRID, SHAPE, cut_slab, load_template
from sslmri.scans.atlas.ventricles import measure
from sslmri.scans.scan import Scan, ScanInfo
from tests.conftest import as_scan

TURNED = np.array([[1.0, 0.05, 0, 90], [-0.06, 0.9, 0.25, 120], [0, -0.28, 0.88, 60], [0, 0, 0, 1]])


def brain() -> Image3d:
    """Returns the average brain, turned and scaled, in a field of view of its own."""
    empty = Image3d(np.zeros((100, 125, 100), np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    points = empty.affine[:3, :3] @ np.indices(empty.values.shape, np.float32).reshape(3, -1)
    return replace(empty, values=load_template().at(moved(np.linalg.inv(TURNED), points)).reshape(empty.values.shape))


def scan_of(image: Image3d) -> Scan:
    """Returns an image as a scan of axial slices, rows to posterior and columns to the left."""
    voxels = np.ascontiguousarray(image.values.transpose(2, 1, 0)[:, ::-1, ::-1])
    spacing = tuple(float(image.affine[axis, axis]) for axis in (2, 1, 0))
    return Scan(ScanInfo("head.nii", "NIfTI", "0" * 64, len(voxels), spacing, "SPL"), voxels)


def test_registration_finds_the_turn_and_the_size_of_a_brain():
    template, moving = load_template(), brain()
    transform = register(matched_to(template, moving), template)
    points = template.points_mm(20.0).reshape(3, -1)
    points = points[:, template.at(points) > 0]
    assert np.abs(moved(transform, points) - moved(TURNED, points)).max() < 1.0  # mm
    assert correlation(moving, template, transform) > 0.97
    assert correlation(moving, template, np.eye(4)) < 0.5


def test_the_slab_is_the_part_of_the_average_that_the_training_slices_show():
    slab = cut_slab(brain())
    straight = cut_slab(load_template())
    assert slab.voxels.shape == straight.voxels.shape == SHAPE
    assert np.corrcoef(slab.voxels.ravel(), straight.voxels.ravel())[0, 1] > 0.97
    ventricles = straight.voxels[20, 53:83, 55:73]  # dark, in the middle
    assert ventricles.min() < 0.4 * np.median(straight.voxels[straight.voxels > 0])


def test_a_slab_put_back_into_a_turned_brain_is_cut_from_it_again():
    whole = brain()
    slab = cut_slab(load_template()).voxels
    rows, columns = np.indices(SHAPE[1:])
    horns = (np.hypot((rows - 52) / 1.6, columns - 63.5) < 14) & (slab > 0)
    slab = np.where(horns, 0.2 * np.percentile(slab[slab > 0], 80), slab).astype(np.float32)  # hydrocephalus
    template_mm = moved(np.linalg.inv(TURNED), 2.0 * np.indices(whole.values.shape, np.float32).reshape(3, -1))
    places = moved(np.linalg.inv(GRID), template_mm)[::-1]  # slice, row, column
    inside = ((places >= 0) & (places <= np.array(SHAPE)[:, None] - 1)).all(axis=0)
    values = whole.values.ravel().copy()
    values[inside] = ndimage.map_coordinates(slab, places[:, inside], np.float32, order=1)
    found = cut_slab(replace(whole, values=values.reshape(whole.values.shape))).voxels
    assert np.corrcoef(found.ravel(), slab.ravel())[0, 1] > 0.96
    # both resamplings, one of them at 2 mm, narrow what is dark
    assert measure(found).fraction == pytest.approx(measure(slab).fraction, abs=0.02)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("the upper half", lambda values: values[:, :, 50:]),
        ("the lower half", lambda values: values[:, :, :50]),
        ("one side", lambda values: values[50:]),
        ("upside down", lambda values: values[:, :, ::-1]),
        ("front and back exchanged", lambda values: values[:, ::-1]),
        ("lying on a side", lambda values: values.transpose(2, 1, 0)),
    ],
)
def test_what_is_no_whole_upright_brain_is_refused(name, change):
    image = brain()
    with pytest.raises(ScanError, match="^Could not be aligned: "):
        cut_slab(replace(image, values=np.ascontiguousarray(change(image.values))))


def test_a_body_without_anatomy_is_refused():
    radius = sum(
        ((axis - 50) / size) ** 2 for axis, size in zip(np.indices((100, 100, 100)), (32, 40, 30), strict=True)
    )
    noise = np.random.default_rng(0).uniform(50, 100, radius.shape)
    with pytest.raises(ScanError, match="does not match the average brain"):
        cut_slab(Image3d(np.where(radius < 1, noise, 0).astype(np.float32), np.diag([2.2, 2.2, 2.2, 1.0])))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5), (0.5, 0.7, 0.45)])
def test_a_point_of_the_head_is_found_again_in_the_voxels_of_the_scan(spacing):
    voxels = np.zeros([round(201 / mm) for mm in spacing], np.float32)
    depth, row, column = (round(share * size) for share, size in zip((0.5, 0.3, 0.6), voxels.shape, strict=True))
    voxels[2:-2, 5:-5, 5:-5] = 100
    voxels[depth - 1 : depth + 2, row - 1 : row + 2, column - 1 : column + 2] = 2000
    image = head_image(voxels, spacing)
    peak = np.argwhere(image.values > 1000).mean(axis=0)
    to_head = np.eye(4)
    to_head[:3, 3] = image.affine[:3, :3] @ peak + image.affine[:3, 3]  # as if the first voxel of the slab were there
    found = process._to_voxels(to_head, voxels.shape, spacing)[:3, 3]
    assert np.abs(found - (depth, row, column)).max() <= 1.0


def noise(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 100, shape)


def test_a_scan_too_small_for_a_head_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(process, "start_process", None)
    for shape, spacing in (((40, 96, 80), (2.0, 2.0, 2.0)), ((90, 96, 30), (2.0, 2.0, 2.0))):
        with pytest.raises(ScanError, match="only a part of the brain is in the scan"):
            atlas.align(as_scan(noise(shape), spacing_mm=spacing, orientation="SPL"), print)
    with pytest.raises(ScanError, match="the size of the voxels is unknown"):
        atlas.align(as_scan(np.ones((90, 96, 90))), print)


def test_a_map_of_labels_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(process, "start_process", None)
    whole = scan_of(brain())
    labels = np.digitize(whole.voxels, np.percentile(whole.voxels[whole.voxels > 0], (20, 50, 80)))
    with pytest.raises(ScanError, match="too few different intensities. Upload the image, not a map of labels"):
        atlas.align(replace(whole, voxels=labels.astype(np.float32)), print)


def test_a_process_that_ends_early_is_one_sentence(monkeypatch):
    monkeypatch.setattr(process, "start_process", lambda module, function, environment: start_dead())
    with pytest.raises(ScanError, match="takes too long or too much memory"):
        atlas.align(scan_of(brain()), print)


def start_dead():
    from sslmri.processes import start_process

    return start_process("sslmri.text", "count", {})  # which is no server: it raises and ends


@pytest.fixture(scope="module")
def aligned() -> tuple[atlas.AlignedBrain, list[str]]:
    """Returns the average brain, turned, as the process aligns it; the one extraction of these tests."""
    steps: list[str] = []
    return atlas.align(scan_of(brain()), steps.append), steps


def test_an_extracted_brain_is_aligned_in_a_process_of_its_own(aligned):
    result, steps = aligned
    assert steps == ["extracting the brain", "aligning it with the atlas"]
    assert result.is_t1
    assert result.scan.voxels.shape == SHAPE
    assert (result.scan.info.orientation, result.scan.info.spacing_mm, result.scan.info.n_slices) == (
        "SPL",
        None,
        32,
    )


def test_the_ventricles_are_measured_in_the_process(aligned):
    result, _ = aligned
    assert result.ventricles == measure(result.scan.voxels)
    assert result.ventricles.evans_index is not None


def test_the_affine_leads_from_the_slab_back_to_the_voxels_of_the_scan(aligned):
    result, _ = aligned
    original = scan_of(brain()).voxels
    inside = np.argwhere(result.scan.voxels > 0)[::97]
    back = np.rint(moved(result.to_scan, inside.T)).astype(int)
    assert np.corrcoef(original[tuple(back)], result.scan.voxels[tuple(inside.T)])[0, 1] > 0.9
