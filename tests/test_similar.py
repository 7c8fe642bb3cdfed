"""Similar cases: nearest first, one for each group, and close only where they are."""

import numpy as np

from sslmri.screening.similar import similar_cases
from tests.banks import features


def test_cases_are_of_the_disease_nearest_first_and_one_a_group(bank):
    found = similar_cases(bank, features(np.random.default_rng(4), 0, 3), "ms")
    assert len(found) == 5 == len({similar.case.group for similar in found})
    assert {similar.case.cohort for similar in found} == {"cohort-ms"}
    assert [similar.distance for similar in found] == sorted(similar.distance for similar in found)


def test_a_training_slice_finds_itself(bank):
    rng = np.random.default_rng(0)
    train = features(rng, 0, 40)
    found = similar_cases(bank, train[7:8], "ms", n_cases=1)
    assert found[0].case.group == bank.cases[7].group
    assert found[0].distance < 1e-3
    assert found[0].nearest == 0


def test_what_is_far_is_not_called_close(bank):
    found = similar_cases(bank, features(np.random.default_rng(4), 2, 1), "ms")
    assert found
    assert not any(case.distance <= bank.close_match["ms"] for case in found)


def test_a_disease_without_cases_has_no_similar_ones(bank):
    assert similar_cases(bank, features(np.random.default_rng(4), 0, 1), "alzheimers") == ()
