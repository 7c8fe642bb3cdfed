"""The agreement of readings: kappa as scikit-learn has it, intervals over scans, and what counts as left open."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from sslmri.dashboard.agreement import MODEL, agreement_table
from sslmri.evidence.agreement import agreement_of
from sslmri.evidence.sample import draw_weights
from sslmri.screening.register import Reading


def readings(initials: str, said: str, verdicts: str, disease: str = "tumours") -> list[Reading]:
    """Returns a reader's readings, one a letter: no tumour, glioma, meningioma, other, cannot tell."""
    classes = {"n": "no_tumour", "g": "glioma", "m": "meningioma", "o": "other", "c": "cannot_tell"}
    names = {"f": "flagged", "n": "not flagged", "i": "inconclusive", "a": "not assessed"}
    return [
        Reading(f"scan{index}", "model", disease, initials, names[verdict], classes[letter], "")
        for index, (letter, verdict) in enumerate(zip(said, verdicts, strict=True))
    ]


def test_kappa_and_its_interval_are_those_of_scikit_learn_on_the_same_resamples() -> None:
    generator = np.random.default_rng(0)
    first = generator.integers(4, size=40)
    second = np.where(generator.random(40) < 0.6, first, generator.integers(4, size=40))
    agreement, kappa = agreement_of(first, second)
    weights = draw_weights(np.zeros(40))
    expected = [cohen_kappa_score(first, second, sample_weight=one) for one in weights]
    assert kappa.value == pytest.approx(expected[0])
    assert (kappa.low, kappa.high) == pytest.approx(tuple(np.percentile(expected[1:], (2.5, 97.5))))
    assert agreement.value == pytest.approx(np.mean(first == second))


def test_the_interval_holds_the_true_kappa_in_most_studies() -> None:
    generator, n_held = np.random.default_rng(0), 0
    for _ in range(100):  # readers who agree by chance but for every second scan: kappa is 0.5
        first = generator.integers(2, size=80)
        second = np.where(generator.random(80) < 0.5, first, generator.integers(2, size=80))
        kappa = agreement_of(first, second)[1]
        n_held += bool(kappa.low is not None and kappa.high is not None and kappa.low <= 0.5 <= kappa.high)
    assert n_held >= 88


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("abab", "abba", "not estimable: 4 scans, 5 needed"),
        ("aaaaaa", "aaaaaa", "not defined: one class only"),
        ("aababa", "aababa", "no interval: all alike"),
    ],
)
def test_kappa_that_cannot_be_estimated_says_why(first: str, second: str, reason: str) -> None:
    agreement, kappa = agreement_of(np.array(list(first)), np.array(list(second)))
    assert (kappa.value, kappa.reason) == (None, reason)
    if len(first) == 6:  # as for any proportion, Clopper & Pearson
        assert (agreement.low, agreement.high) == (pytest.approx(0.5407, abs=1e-4), 1.0)


def test_readers_are_compared_with_the_model_on_disease_and_with_each_other_on_the_class() -> None:
    table = agreement_table(readings("AB", "gmngonc", "ffnnfia") + readings("CD", "mmngog", "ffnnfi"))
    rows = {(row["Reader"], row["Compared with"]): row for row in table.to_dict("records")}
    assert set(rows) == {("AB", MODEL), ("CD", MODEL), ("AB", "CD")}
    with_model, with_reader = rows["AB", MODEL], rows["AB", "CD"]
    assert (with_model["Scans"], with_model["Left open"], with_model["Agreement"]) == (4, 3, "0.75")
    assert (with_reader["Scans"], with_reader["Left open"], with_reader["Agreement"]) == (6, 0, "0.67")
    assert set(table["Disease"]) == {"Tumour"}


def test_readers_of_different_scans_are_not_compared() -> None:
    apart = [Reading("another", "model", "tumours", "CD", "flagged", "cannot_tell", "")]
    table = agreement_table(readings("AB", "gmngmn", "ffnffn") + apart)
    assert list(table["Compared with"]) == [MODEL, MODEL]
    assert table["Kappa"].tolist() == ["1.00", "-"]
    assert table["95 % interval of kappa"].tolist() == ["no interval: all alike", "nothing to compare"]
