"""The kNN probe that monitors pre-training (Wu et al. 2018, arXiv:1805.01978, section 3.4)."""

import numpy as np
from sklearn.metrics import recall_score
from sklearn.neighbors import KNeighborsClassifier

from sslmri.cohorts.store import Store
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import extract_features
from sslmri.learning.settings import Precision
from sslmri.scans.slices import Preparation

NEIGHBOURS = 20
PER_CLASS = 100  # slices of a class that are used
_TEMPERATURE = 0.07  # of the neighbours' votes


def knn_probe(
    encoder: Encoder, bank: Store, queries: Store, preparation: Preparation, precision: Precision = "auto"
) -> dict[str, float]:
    """Returns the balanced accuracy, per disease, of a weighted kNN from the bank's features to the queries'."""
    scores = {}
    for disease in sorted({record.disease for record in bank.records if record.disease}):
        train, test = (store.where(disease=disease).evenly_per_class(PER_CLASS) for store in (bank, queries))
        if not test.records:
            continue
        features, queried = (extract_features(encoder, s, preparation, precision).numpy() for s in (train, test))
        predicted = knn_predict(features, train.truth, queried)
        scores[disease] = float(recall_score(test.truth, predicted, labels=np.unique(test.truth), average="macro"))
    return scores


def knn_predict(bank: np.ndarray, labels: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Returns the label of each query (Q,) by the weighted vote of its nearest neighbours in cosine similarity."""
    vote = KNeighborsClassifier(min(NEIGHBOURS, len(bank)), metric="cosine", weights=_weights)
    return np.asarray(vote.fit(bank, labels).predict(queries))


def _weights(distances: np.ndarray) -> np.ndarray:
    """Returns the weight of neighbours at cosine distances (Q, k)."""
    return np.asarray(np.exp((1 - distances) / _TEMPERATURE))
