"""Tumour or none on slices of the same patients: the AUROC over all, and within a patient, by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from sslmri.evidence.shortcuts import same_source_aurocs, same_source_message
from sslmri.models.metrics import Estimate


def test_auroc_within_a_patient_by_hand() -> None:
    # patient a: pairs 1 of 2 in order; b: 1 of 1; c has no slice without a lesion and counts over all slices only
    score = np.array([0.5, 0.2, 0.6, 0.9, 0.4, 0.1])
    has_lesion = np.array([True, False, False, True, False, True])
    groups = np.array(["a", "a", "a", "b", "b", "c"])
    overall, within, n_both = same_source_aurocs(score, has_lesion, groups)
    assert n_both == 2
    assert within.raw == pytest.approx((0.5 + 1.0) / 2)
    assert overall.raw == pytest.approx(roc_auc_score(has_lesion, score)) == pytest.approx(5 / 9)


def test_interval_is_that_of_resampled_patients() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat([f"g{n}" for n in range(12)], 6)
    has_lesion = np.tile([True, False, True, False, True, False], 12)
    score = (generator.normal(size=72) + has_lesion + generator.normal(size=12).repeat(6)).round(1)  # with ties
    overall, within, _ = same_source_aurocs(score, has_lesion, groups)
    resampled = []
    for _ in range(400):
        drawn = generator.choice(np.unique(groups), 12)
        rows = np.concatenate([np.flatnonzero(groups == name) for name in drawn])
        inside = [roc_auc_score(has_lesion[groups == name], score[groups == name]) for name in drawn]
        resampled.append((roc_auc_score(has_lesion[rows], score[rows]), np.mean(inside)))
    low, high = np.percentile(resampled, (2.5, 97.5), axis=0)
    assert (overall.low, overall.high) == pytest.approx((low[0], high[0]), abs=0.03)
    assert (within.low, within.high) == pytest.approx((low[1], high[1]), abs=0.03)


def test_message_says_whether_it_is_better_than_chance() -> None:
    chance, better = Estimate(0.49, 0.42, 0.56, 0.49, None), Estimate(0.8, 0.7, 0.9, 0.8, None)
    assert same_source_message(chance, chance).endswith("0.49 (0.42 to 0.56): no better than chance.")
    assert same_source_message(better, better).endswith(": better than chance.")
