"""Curves are those of scikit-learn, point for point."""

import numpy as np
import pytest
from sklearn import metrics

from sslmri.evidence.predictions import CURVE_COLUMNS, roc_curves
from tests.test_evaluate import MS, TUMOURS, frame_of


def test_curves_of_every_class_are_those_of_scikit_learn() -> None:
    frame = frame_of(TUMOURS, strength=0.5)
    curves = roc_curves(frame, TUMOURS)
    assert list(curves.columns) == list(CURVE_COLUMNS)
    for label in TUMOURS.classes:
        own, is_label = curves[curves["label"] == label], frame["label"] == label
        area = metrics.auc(own["false_positive_rate"], own["true_positive_rate"])
        assert area == pytest.approx(metrics.roc_auc_score(is_label, frame[label]))
        precision, recall, _ = metrics.precision_recall_curve(is_label, frame[label])
        assert np.allclose(own["precision"], precision[::-1])
        assert np.allclose(own["true_positive_rate"], recall[::-1])
    assert curves["threshold"].between(0, 1).all()


def test_class_without_test_slices_has_no_curve() -> None:
    frame = frame_of(TUMOURS)
    assert set(roc_curves(frame[frame["label"] != "glioma"], TUMOURS)["label"]) == set(TUMOURS.classes) - {"glioma"}
    assert roc_curves(frame_of(MS).iloc[:3], MS).empty
