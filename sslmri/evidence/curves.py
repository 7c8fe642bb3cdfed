"""Curves of stored predictions, for the performance page."""

import pandas as pd
from sklearn.metrics import roc_curve

from sslmri.diseases import Disease
from sslmri.evidence.sample import ratio

COLUMNS = ("label", "false_positive_rate", "true_positive_rate", "precision", "threshold")


def roc_curves(frame: pd.DataFrame, disease: Disease) -> pd.DataFrame:
    """Returns the ROC and the precision-recall curve of each class against the rest, a row for each threshold.

    Columns label, both rates, precision and threshold; recall is the true positive rate. Classes without a test
    slice, or without any other, have no curve. In the first point nothing is called positive: its threshold is 1 and
    its precision, of nothing, 1 by convention.

    Args:
        frame: as from ``read_predictions``.
        disease: the head's disease.
    """
    parts = []
    for label in disease.classes:
        is_label = (frame["label"] == label).to_numpy()
        if is_label.all() or not is_label.any():
            continue
        score = frame[label].to_numpy(dtype=float)
        # every threshold: between two points of a ROC curve, precision is no straight line
        false_rate, true_rate, threshold = roc_curve(is_label, score, drop_intermediate=False)
        hits, misses = true_rate * is_label.sum(), false_rate * (~is_label).sum()
        values = (label, false_rate, true_rate, ratio(hits, hits + misses, 1.0), threshold.clip(max=1.0))
        parts.append(pd.DataFrame(dict(zip(COLUMNS, values, strict=True))))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
