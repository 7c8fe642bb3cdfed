"""The people of the 6,400-image set are recovered from the order of its files, or the set is refused."""

from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sslmri.cohorts.alzheimers_6400 import LAYOUTS, Layout, group_6400, read_small, recover_subjects
from sslmri.cohorts.simulated import simulate_subject
from sslmri.errors import ManifestError
from tests.conftest import SHARED, needs_shared

N_SLICES = 32
LOWEST = 28  # slice of a simulated volume: from here on 32 slices show much of the brain
TEST_BLOCKS = 6
PEOPLE, LEFT_OVER = 8, 3


def small(image: np.ndarray) -> np.ndarray:
    """Returns an image as the adapter makes it small."""
    return np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX))


@pytest.fixture(scope="module")
def volumes() -> np.ndarray:
    """Returns simulated people: (8, 32, 64, 64) of subject, slice, row, column."""
    people = (simulate_subject("alzheimers", "non_demented", seed, 64).volume for seed in range(PEOPLE))
    return np.stack([[small(part) for part in volume[LOWEST : LOWEST + N_SLICES]] for volume in people])


def public_order(n: int, n_left_over: int, seed: int, in_turn: bool = False) -> list[tuple[int, int]]:
    """Returns (subject, slice) of each file in the order of the set, which its own code is not asked for.

    Args:
        n: people.
        n_left_over: people whose slice 25 is in the test part.
        seed: of the orders in the test part.
        in_turn: whether those left over stand in the order of the other blocks: all positions modulo n.
    """
    rng = np.random.default_rng(seed)
    left_over = [int(i) for i in rng.permutation(np.arange(n - n_left_over, n))]
    order = [int(i) for i in rng.permutation(n)]
    if in_turn:
        order = [i for i in order if i not in left_over] + left_over
    cut = N_SLICES - TEST_BLOCKS - (n_left_over > 0)
    test = [(i, cut) for i in left_over] + [(i, s) for s in range(N_SLICES - TEST_BLOCKS, N_SLICES) for i in order]
    train = [(i, s) for s in range(cut) for i in range(n)]
    return test + train + [(i, cut) for i in range(n - n_left_over) if n_left_over]


def layout_of(n: int, n_left_over: int) -> Layout:
    return Layout(n, TEST_BLOCKS * n + n_left_over, N_SLICES)


def pictures_of(volumes: np.ndarray, files: list[tuple[int, int]]) -> np.ndarray:
    return np.stack([volumes[subject, number] for subject, number in files])


def refusal(images: np.ndarray, n: int = PEOPLE, n_left_over: int = LEFT_OVER) -> str:
    """Returns the sentence that refuses the images."""
    with pytest.raises(ManifestError) as caught:
        recover_subjects(images, layout_of(n, n_left_over), "mild_demented")
    assert "download the 6,400-image set again" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("n", "n_left_over", "in_turn"), [(8, 3, False), (8, 3, True), (7, 1, False), (6, 5, False), (2, 0, False)]
)
def test_every_file_goes_to_its_person_and_slice(volumes, n: int, n_left_over: int, in_turn: bool, seed: int) -> None:
    files = public_order(n, n_left_over, seed, in_turn)
    subjects, slices = recover_subjects(pictures_of(volumes, files), layout_of(n, n_left_over), "mild_demented")
    found = zip(subjects.tolist(), slices.tolist(), strict=True)
    assert list(found) == files


def test_layouts_are_those_of_the_public_set() -> None:
    sizes = {label: layout.n_subjects * layout.n_slices for label, layout in LAYOUTS.items()}
    assert sum(sizes.values()) == 6400
    assert sum(layout.n_subjects for layout in LAYOUTS.values()) == 200
    assert {label: layout.n_test for label, layout in LAYOUTS.items()} == {k: n // 5 for k, n in sizes.items()}


def test_shuffled_files_are_refused(volumes) -> None:
    images = pictures_of(volumes, public_order(PEOPLE, LEFT_OVER, 0))
    assert "download the 6,400-image set again" in refusal(np.random.default_rng(0).permutation(images))


# The first file of the first and last whole block of the test part, then of three blocks of the training part.
@pytest.mark.parametrize("first", [3, 43, 51, 131, 243])
def test_swapped_pair_in_one_block_is_refused(volumes, first: int) -> None:
    images = pictures_of(volumes, public_order(PEOPLE, LEFT_OVER, 0))
    images[[first, first + 3]] = images[[first + 3, first]]
    assert "got another order of subjects" in refusal(images)


def test_person_in_place_of_another_is_refused(volumes) -> None:
    n_test = TEST_BLOCKS * 7 + LEFT_OVER
    files = [(7 if i == 2 and at < n_test else i, s) for at, (i, s) in enumerate(public_order(7, LEFT_OVER, 0))]
    refusal(pictures_of(volumes, files), 7)


def test_halves_of_the_divided_block_are_matched_in_any_order(volumes) -> None:
    files = public_order(PEOPLE, LEFT_OVER, 0)
    files[-5:] = [files[-5:][i] for i in (2, 0, 4, 3, 1)]
    subjects, slices = recover_subjects(pictures_of(volumes, files), layout_of(PEOPLE, LEFT_OVER), "mild_demented")
    assert list(zip(subjects.tolist(), slices.tolist(), strict=True)) == files


@pytest.mark.parametrize(("at", "person"), [(0, 2), (254, 6)])
def test_person_in_both_halves_of_the_divided_block_is_refused(volumes, at: int, person: int) -> None:
    files = public_order(PEOPLE, LEFT_OVER, 0)
    files[at] = (person, files[at][1])
    refusal(pictures_of(volumes, files))


def test_test_part_in_another_order_in_every_block_is_refused(volumes) -> None:
    files = public_order(PEOPLE, 0, 0)
    for start in range(0, TEST_BLOCKS * PEOPLE, PEOPLE):
        files[start : start + PEOPLE] = np.roll(files[start : start + PEOPLE], start // PEOPLE, axis=0).tolist()
    refusal(pictures_of(volumes, files), n_left_over=0)


@pytest.mark.parametrize("noise", [0, 0.01])
def test_two_people_who_look_the_same_are_refused(volumes, noise: float) -> None:
    twins = volumes.copy()
    twins[6] = twins[2] + np.random.default_rng(0).normal(0, noise, twins[2].shape)
    assert "of mild_demented" in refusal(pictures_of(twins, public_order(PEOPLE, LEFT_OVER, 0)))


def test_image_replaced_by_a_turned_copy_of_another_is_refused(volumes) -> None:
    images = pictures_of(volumes, public_order(PEOPLE, LEFT_OVER, 0))
    images[150] = np.rot90(images[71])
    assert "image 151 " in refusal(images)


def test_adapter_names_the_group_after_the_training_part(volumes, tmp_path: Path) -> None:
    files = [PurePosixPath(f"moderate{'' if i == 1 else f'_{i}'}.png") for i in range(1, 65)]
    truth = public_order(2, 0, 0)
    for file, (subject, number) in zip(files, truth, strict=True):
        Image.fromarray(np.uint8(255 * volumes[subject, number].clip(0, 1))).save(tmp_path / file)
    rows = list(group_6400(tmp_path, "moderate_demented", files))
    assert rows == [(file, f"moderate_demented-{i:03d}", str(s)) for file, (i, s) in zip(files, truth, strict=True)]
    with pytest.raises(ManifestError, match="Expected 64 images of moderate_demented"):
        list(group_6400(tmp_path, "moderate_demented", files[:-1]))


@cache
def real_people(label: str) -> np.ndarray:
    """Returns the real people of a class: (N, 32, 64, 64) of subject, slice, row, column."""
    rows = pd.read_csv(SHARED / "data" / "manifest.csv")
    people = rows[(rows["cohort"] == "oasis_2d") & (rows["label"] == label)].sort_values("slice").groupby("group")
    return np.stack([[read_small(SHARED / "data" / path) for path in own["path"]] for _, own in people])


@needs_shared("data")
@pytest.mark.parametrize("label", LAYOUTS)
@pytest.mark.parametrize("seed", range(2))
def test_real_people_are_recovered_from_the_public_order(label: str, seed: int) -> None:
    volumes = real_people(label)
    n, whole = len(volumes), LAYOUTS[label]
    n_left_over = round(n * (whole.n_test % whole.n_subjects) / whole.n_subjects)
    files = public_order(n, n_left_over, seed)
    subjects, slices = recover_subjects(pictures_of(volumes, files), layout_of(n, n_left_over), label)
    assert list(zip(subjects.tolist(), slices.tolist(), strict=True)) == files
