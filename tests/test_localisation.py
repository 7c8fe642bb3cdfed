"""What is marked in an image is found where the encoder sees it, and a map is scored by where it points."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import spearmanr

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.regions import box_region, find_mask
from sslmri.errors import ManifestError
from sslmri.evidence.localisation import (
    Target,
    energy_inside,
    localisable,
    measure_maps,
    measure_slice,
    open_target,
    points_inside,
    rank_correlation,
)
from sslmri.models.metrics import Localisation, RandomPoint
from sslmri.scans.slices import Preparation, region_in_slice, to_slices
from tests.conftest import as_scan

BOX = (0.4, 0.55, 0.2, 0.1)
PREPARATIONS = [Preparation(), Preparation(image_size=(64, 96)), Preparation(image_size=(96, 64))]


def head_with_square(shape: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    """Returns a dim ellipse off the middle of an image (H, W), with a bright box in it."""
    height, width = shape
    rows, columns = np.mgrid[0:height, 0:width]
    inside = ((rows - 0.52 * height) / (0.36 * height)) ** 2 + ((columns - 0.45 * width) / (0.35 * width)) ** 2 < 1
    x, y, w, h = box
    picture = np.where(inside, np.rint(60.0 + 10 * np.sin(rows / 7)), 0.0)
    top, bottom, left, right = (y - h / 2) * height, (y + h / 2) * height, (x - w / 2) * width, (x + w / 2) * width
    picture[round(top) : round(bottom), round(left) : round(right)] = 250
    return picture.astype(np.float32)


def record(path: Path, name: str = "images/a.png", **changes) -> Record:
    values = {"disease": "ms", "label": "multiple_sclerosis", "group": "g", "fold": None, "split": "test"} | changes
    return Record(path, name, "c", **values)


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.astype(np.uint8)).save(path)


@pytest.mark.parametrize("shape", [(200, 200), (240, 160), (150, 260)])
@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_planted_square_is_found_in_the_prepared_slice(shape, preparation):
    picture = head_with_square(shape, BOX)
    prepared = to_slices(as_scan(picture), preparation)[0]
    region = region_in_slice(box_region(BOX, shape), preparation)
    assert region.shape == preparation.image_size == prepared.shape
    assert (prepared > 200).sum() > 20  # the square is at 250 in a head of 60; intensities in between are its rim
    assert region[prepared > 200].all()
    assert (prepared[region] > 70).all()


def test_box_holds_the_pixels_whose_centres_lie_in_it():
    region = box_region((0.5, 0.25, 0.5, 0.5), (8, 4))
    assert np.flatnonzero(region.any(axis=1)).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(region.any(axis=0)).tolist() == [1, 2]
    assert box_region((0.5, 0.5, 1, 1), (3, 5)).all()


def test_mask_gives_the_same_region_as_its_box(tmp_path):
    picture = head_with_square((200, 160), BOX)
    save(tmp_path / "images" / "a.png", picture)
    save(tmp_path / "masks" / "a.png", np.where(picture == 250, 255, 0))
    by_mask = open_target(record(tmp_path / "images" / "a.png"), Preparation())
    by_box = open_target(record(tmp_path / "images" / "a.png", box=BOX), Preparation())
    assert np.array_equal(by_mask.region, by_box.region)
    assert np.array_equal(by_mask.slice_, to_slices(as_scan(picture), Preparation())[0])


def test_mask_is_found_beside_the_folder_or_beside_the_manifest(tmp_path):
    own = record(tmp_path / "images" / "a.jpg", "images/a.jpg")
    assert find_mask(own) is None
    save(tmp_path / "masks" / "images" / "a.png", np.zeros((8, 8)))
    assert find_mask(own) == tmp_path / "masks" / "images" / "a.png"
    save(tmp_path / "masks" / "a.png", np.zeros((8, 8)))
    assert find_mask(own) == tmp_path / "masks" / "a.png"
    assert find_mask(record(tmp_path / "images" / "a.jpg", str(tmp_path / "images" / "a.jpg"))) is not None


def test_mask_of_another_size_and_a_finding_below_a_pixel(tmp_path):
    picture = head_with_square((400, 400), BOX)
    save(tmp_path / "images" / "a.png", picture)
    save(tmp_path / "masks" / "a.png", np.zeros((200, 400)))
    with pytest.raises(ManifestError, match="Expected a mask of 400 x 400 pixels for images/a.png, got 400 x 200"):
        open_target(record(tmp_path / "images" / "a.png"), Preparation())
    mask = np.zeros((400, 400))
    mask[200, 200] = 255
    save(tmp_path / "masks" / "a.png", mask)
    assert open_target(record(tmp_path / "images" / "a.png"), Preparation()) is None


def test_image_of_several_slices_is_refused(tmp_path):
    pages = [Image.fromarray(np.full((20, 20), grey, np.uint8)) for grey in (1, 2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ManifestError, match="Expected one slice in a.tif, which has a box or a mask, got 2"):
        open_target(record(tmp_path / "a.tif", box=BOX), Preparation())


def test_only_marked_findings_of_people_never_learned_from_count():
    path = Path("nowhere/images/a.png")
    test = record(path, box=BOX)
    apart = record(path, box=BOX, split=None, use="localisation", group="apart")
    others = [
        record(path, box=None),
        record(path, box=BOX, label="normal"),
        record(path, box=BOX, split="train", group="seen"),
        record(path, box=BOX, split=None, use="gap"),
        record(path, box=BOX, split=None, use="localisation", group="seen"),
        record(path, box=BOX, disease=None, label=None),
    ]
    assert localisable([test, apart, *others]) == [test, apart]


def test_pointing_and_energy_by_hand():
    region = np.zeros((4, 4), bool)
    region[1, 2] = True
    map_ = np.ones((4, 4))
    map_[1, 2] = 5
    assert points_inside(map_, region)
    assert energy_inside(map_, region) == 5 / 20
    map_[3, 3] = 6
    assert not points_inside(map_, region)
    region[0, 0] = True
    assert not points_inside(np.ones((4, 4)), region)  # a flat map has no highest value, though argmax names a corner
    assert energy_inside(np.zeros((4, 4)), region) == 0


def test_rank_correlation_is_spearmans_with_ties():
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 5, (4, 4)), generator.integers(0, 5, (4, 4))
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic)
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1)
    assert rank_correlation(first, np.ones((4, 4))) == 0


def measured(n_hits: int, random_hits: float = 0.0, n_slices: int = 20, n_flat: int = 0) -> Localisation:
    """Returns what is measured of maps, ``n_hits`` of which point at the lesion, and of ten random classifiers.

    The lesion is a quarter of the slice, and half of the head, its upper half.
    """
    region, slice_, maps = np.zeros((8, 8), bool), np.zeros((8, 8), np.uint8), np.zeros((n_slices, 8, 8))
    region[:4, :4], slice_[:4] = True, 200
    maps[:n_hits, 1, 1] = maps[n_hits:, 6, 6] = 1
    maps[n_slices - n_flat :] = 0
    targets = [Target(record(Path("a.png"), group=f"g{row}"), slice_, region) for row in range(n_slices)]
    rows = [measure_slice(target, map_, map_) for target, map_ in zip(targets, maps, strict=True)]
    return measure_maps(pd.DataFrame(rows).assign(random_pointing=random_hits, random_correlation=0.0), 10, 0)


def test_metrics_over_slices_and_the_random_point():
    found = measured(15, n_flat=1)
    assert found.true == found.predicted
    assert found.true.pointing.value == found.true.energy.value == 0.75
    assert found.true.n_flat == 1
    assert found.random_point == RandomPoint(slice=0.25, head=0.5)
    assert (found.n_slices, found.n_groups, found.random_head.n_heads) == (20, 20, 10)


@pytest.mark.parametrize(
    ("n_hits", "random_hits", "said"),
    [
        (18, 0.3, ["peaks inside the lesion in 0.90 (", "it localises the lesion"]),
        (18, 1.0, ["it localises the lesion", "due to the encoder"]),
        (10, 0.3, ["no better than chance"]),
    ],
)
def test_messages_say_what_the_game_is_worth(n_hits, random_hits, said):
    messages = measured(n_hits, random_hits).messages
    assert all(part in " ".join(messages) for part in said)
    assert len(messages) == (2 if "due to the encoder" in said else 1)


def test_few_groups_leave_the_message_open():
    assert measured(3, n_slices=4).messages == ("Too few test groups to say whether the maps point at the lesion.",)
