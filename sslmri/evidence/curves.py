"""Curves of stored predictions, for the performance page."""

import pandas as pd
from sklearn.metrics import roc_curve

from sslmri.diseases import Disease

COLUMNS = ("label", "false_positive_rate", "true_positive_rate", "threshold")


def roc_curves(frame: pd.DataFrame, disease: Disease) -> pd.DataFrame:
    """Returns the ROC curve of each class against the rest: columns label, both rates and the threshold.

    Classes without a test slice, or without any other, have no curve. The first point, at which nothing is called
    positive, has the threshold 1.

    Args:
        frame: as from ``evaluate.read_predictions``.
        disease: the head's disease.
    """
    parts = []
    for label in disease.classes:
        is_label = (frame["label"] == label).to_numpy()
        if is_label.all() or not is_label.any():
            continue
        false_rate, true_rate, threshold = roc_curve(is_label, frame[label].to_numpy(dtype=float))
        values = (label, false_rate, true_rate, threshold.clip(max=1.0))
        parts.append(pd.DataFrame(dict(zip(COLUMNS, values, strict=True))))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
