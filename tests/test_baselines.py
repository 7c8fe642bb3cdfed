"""Floors are what pixels give without learning."""

import numpy as np
import pytest

from sslmri.errors import TrainingError
from sslmri.evidence.baselines import baseline_probabilities, dark_fraction, trait_probabilities


def pictures(labels: list[int], seed: int = 0, size: int = 96) -> np.ndarray:
    """Returns noisy images (N, size, size) uint8 that are brighter at the bottom for higher labels."""
    generator = np.random.default_rng(seed)
    slices = generator.integers(0, 60, size=(len(labels), size, size))
    for picture, label in zip(slices, labels, strict=True):
        picture[size // 2 :] += 60 * label
    return slices.astype(np.uint8)


def test_every_floor_gives_probabilities() -> None:
    truth = [0, 0, 0, 1, 1, 2, 2]
    floors = baseline_probabilities(pictures(truth), np.array(truth), pictures([0, 1, 2], seed=1), 3)
    assert set(floors) == {"majority", "nearest_neighbour", "pca_logistic"}
    for probabilities in floors.values():
        assert probabilities.shape == (3, 3)
        assert probabilities.sum(axis=1) == pytest.approx(np.ones(3))


def test_pixel_floors_tell_apart_what_pixels_tell_apart() -> None:
    truth = [0, 1, 2] * 6
    floors = baseline_probabilities(pictures(truth), np.array(truth), pictures([2, 0, 1], seed=1), 3)
    assert floors["nearest_neighbour"].argmax(axis=1).tolist() == [2, 0, 1]
    assert floors["pca_logistic"].argmax(axis=1).tolist() == [2, 0, 1]


def test_majority_gives_the_shares_of_the_training_classes() -> None:
    truth = [1, 1, 1, 0]
    floors = baseline_probabilities(pictures(truth), np.array(truth), pictures([0, 0]), 2)
    assert floors["majority"].tolist() == [[0.25, 0.75], [0.25, 0.75]]


def test_nearest_neighbour_is_that_of_a_double_loop() -> None:
    generator = np.random.default_rng(3)
    train, test = (generator.integers(0, 256, size=(n, 48, 48)).astype(np.uint8) for n in (30, 10))
    truth = generator.integers(0, 4, size=30)
    found = baseline_probabilities(train, truth, test, 4)["nearest_neighbour"]
    for one, probabilities in zip(test.astype(float), found, strict=True):
        distances = [((one - other) ** 2).sum() for other in train.astype(float)]
        assert probabilities[truth[int(np.argmin(distances))]] == 1.0


def test_class_without_training_slices_gets_nothing() -> None:
    truth = [0, 2] * 5
    floors = baseline_probabilities(pictures(truth), np.array(truth), pictures([1], seed=1), 4)
    assert all(probabilities[:, [1, 3]].sum() == 0 for probabilities in floors.values())


@pytest.mark.parametrize("n_train", [1, 2])
def test_single_training_class_is_certain(n_train: int) -> None:
    floors = baseline_probabilities(pictures([1] * n_train), np.array([1] * n_train), pictures([0, 1]), 2)
    assert all(probabilities.tolist() == [[0, 1], [0, 1]] for probabilities in floors.values())


def test_floors_are_the_same_every_time() -> None:
    truth = np.arange(80) % 2
    train, test = pictures(truth.tolist()), pictures([0, 1] * 5, seed=1)
    first, second = (baseline_probabilities(train, truth, test, 2) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_no_training_slices_are_refused() -> None:
    with pytest.raises(TrainingError, match="got none"):
        baseline_probabilities(pictures([]), np.array([], dtype=int), pictures([0]), 2)


def test_one_number_predicts_what_it_tells_apart_and_a_missing_one_nothing() -> None:
    truth = np.array([0, 0, 0, 1, 1, 1])
    ages, tested = np.array([60.0, 62, 64, 80, 82, 84]), np.array([61.0, 83, np.nan])
    given = trait_probabilities(ages[:, None], truth, tested[:, None], 3)
    assert given.argmax(axis=1)[:2].tolist() == [0, 1]
    assert given[2, 0] == pytest.approx(given[2, 1], abs=1e-6)
    assert not given[:, 2].any()


def test_the_dark_fraction_grows_with_the_ventricles() -> None:
    slices = np.zeros((2, 64, 64), np.uint8)
    slices[:, 8:56, 8:56] = 180
    slices[0, 28:36, 28:36] = 20
    slices[1, 24:40, 24:40] = 20
    small, large = dark_fraction(slices)
    assert small == pytest.approx(64 / 48**2, abs=0.02)
    assert large == pytest.approx(256 / 48**2, abs=0.02)
    assert dark_fraction(np.zeros((1, 64, 64), np.uint8)).tolist() == [0.0]
