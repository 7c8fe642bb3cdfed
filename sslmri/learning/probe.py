"""The kNN probe: what features are worth, without training a classifier on them."""

import numpy as np
from sklearn.metrics import recall_score
from sklearn.neighbors import KNeighborsClassifier

from sslmri.cohorts.store import Store
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import extract_features
from sslmri.learning.settings import Precision
from sslmri.scans.slices import Preparation

_NEIGHBOURS = 20
_PROBED_PER_CLASS = 100  # slices of a class that are used
_VOTE_TEMPERATURE = 0.07  # of the neighbours' votes


def knn_probe(
    encoder: Encoder, bank: Store, queries: Store, preparation: Preparation, precision: Precision = "auto"
) -> dict[str, float]:
    """Returns the balanced accuracy, per disease, of a weighted kNN from the bank's features to the queries'.

    Wu et al. 2018, arXiv:1805.01978, section 3.4.
    """
    scores = {}
    for disease in sorted({record.disease for record in bank.records if record.disease}):
        train, test = (store.where(disease=disease).evenly_per_class(_PROBED_PER_CLASS) for store in (bank, queries))
        if not test.records:
            continue
        features, queried = (extract_features(encoder, s, preparation, precision).numpy() for s in (train, test))
        vote = KNeighborsClassifier(
            min(_NEIGHBOURS, len(features)),
            metric="cosine",
            weights=lambda distances: np.exp((1 - distances) / _VOTE_TEMPERATURE),
        )
        predicted = vote.fit(features, train.truth).predict(queried)
        scores[disease] = float(recall_score(test.truth, predicted, labels=np.unique(test.truth), average="macro"))
    return scores
