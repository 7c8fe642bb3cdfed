"""Decisions of each fold, and of groups apart from slices, judge the cases that they are of."""

import numpy as np
import pytest
from sklearn import metrics

from sslmri.evidence.decisions import answer
from sslmri.models.cards import Decisions
from sslmri.training.measure import _answered
from tests.test_evaluate import MS, answers_of, evaluated, frame_of


def test_each_fold_is_judged_by_its_own_thresholds() -> None:
    frame = frame_of(MS, n_groups=20, strength=1.0)
    folds = frame["group"].str[-1].astype(int).to_numpy() % 2
    nothing = (0.0, 0.0)
    by_fold = {
        0: Decisions(nothing, 1.0, 0.2, 0.4, {"normal": 0.3, "multiple_sclerosis": 0.6}),
        1: Decisions(nothing, 1.0, 0.5, 0.9, {"normal": 0.1, "multiple_sclerosis": 0.2}),
    }
    own = Decisions(nothing, 1.0, 0.3, 0.5, by_fold[0].set_thresholds)
    result = evaluated(MS, frame, None, _answered(np.log(frame[list(MS.classes)].to_numpy()), folds, by_fold, own))
    any_ms, is_ms = frame["multiple_sclerosis"].to_numpy(), frame["label"].to_numpy() == "multiple_sclerosis"
    is_flagged = any_ms >= np.where(folds == 0, 0.4, 0.9)
    assert result.thresholds is not None
    assert result.sets is not None
    assert result.thresholds.high.threshold == 0.5
    assert result.thresholds.high.slices.sensitivity.raw == pytest.approx(is_flagged[is_ms].mean())
    assert result.thresholds.high.slices.specificity.raw == pytest.approx(1 - is_flagged[~is_ms].mean())
    sizes = (frame["normal"] >= np.where(folds == 0, 0.3, 0.1)).astype(int)
    sizes += any_ms >= np.where(folds == 0, 0.6, 0.2)
    assert result.sets.slices.mean_size.raw == pytest.approx(sizes.mean())


def test_groups_have_decisions_of_their_own() -> None:
    frame = frame_of(MS, n_groups=20, strength=1.0)
    own = np.random.default_rng(1).dirichlet([1, 1], frame["group"].nunique())
    limits: dict[str, float | None] = {"normal": 0.7, "multiple_sclerosis": 0.8}
    of_groups = answer(own, Decisions((0.0, 0.0), 1.0, 0.1, 0.9, limits))
    result = evaluated(MS, frame, None, answers_of(frame, MS, 0.3, 0.5), of_groups)
    is_ms = frame.groupby("group")["label"].first().to_numpy() == "multiple_sclerosis"
    assert result.groups.auroc.raw == pytest.approx(metrics.roc_auc_score(is_ms, own[:, 1]))
    assert result.thresholds is not None
    assert result.sets is not None
    assert (result.thresholds.high.threshold, result.thresholds.high.group_threshold) == (0.5, 0.9)
    assert result.thresholds.high.groups.sensitivity.raw == pytest.approx((own[is_ms, 1] >= 0.9).mean())
    assert result.sets.groups.mean_size.raw == pytest.approx((own >= [0.7, 0.8]).sum(axis=1).mean())
