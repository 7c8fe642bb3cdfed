"""Features of slices, and the kNN probe that watches pre-training (Wu et al. 2018, arXiv:1805.01978, section 3.4)."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sslmri.cohorts.store import Store
from sslmri.learning.encoder import Encoder, normalise
from sslmri.scans.slices import Preparation

BATCH = 64
NEIGHBOURS = 20
PER_CLASS = 100  # slices of a class that the probe looks at, spread evenly over its records
_TEMPERATURE = 0.07  # of the neighbours' votes


@torch.inference_mode()
def extract_features(encoder: Encoder, slices: np.ndarray, preparation: Preparation) -> Tensor:
    """Returns the features h of prepared slices (N, H, W) uint8: (N, 2048) float32, computed in bfloat16."""
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.eval()
    features = []
    for start in range(0, len(slices), BATCH):
        batch = normalise(torch.from_numpy(slices[start : start + BATCH]).to(device), preparation)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            features.append(encoder(batch.contiguous(memory_format=torch.channels_last)).float().cpu())
    encoder.train(was_training)
    return torch.cat(features) if features else torch.zeros(0, encoder.architecture.feature_dim)


def knn_probe(encoder: Encoder, bank: Store, queries: Store, preparation: Preparation) -> dict[str, float]:
    """Returns the balanced accuracy, per disease, of a weighted kNN from the bank's features to the queries'."""
    scores = {}
    for disease in sorted({record.disease for record in bank.records if record.disease}):
        known, asked = (own.where(disease=disease).evenly_per_class(PER_CLASS) for own in (bank, queries))
        if not asked.records:
            continue
        bank_features, query_features = (extract_features(encoder, s.slices, preparation) for s in (known, asked))
        labels = np.array([record.label for record in known.records])
        truth = np.array([record.label for record in asked.records])
        predicted = knn_predict(bank_features, labels, query_features)
        scores[disease] = float(np.mean([(predicted[truth == c] == c).mean() for c in np.unique(truth)]))
    return scores


def knn_predict(bank: Tensor, labels: np.ndarray, queries: Tensor) -> np.ndarray:
    """Returns the label of each query (Q,) by the weighted vote of its nearest neighbours in cosine similarity."""
    similarity = functional.normalize(queries, dim=1) @ functional.normalize(bank, dim=1).T
    nearest = similarity.topk(min(NEIGHBOURS, len(bank)), dim=1)
    weights = (nearest.values / _TEMPERATURE).exp().numpy()
    names = np.unique(labels)
    neighbours = labels[nearest.indices.numpy()]
    votes = np.stack([np.where(neighbours == name, weights, 0.0).sum(axis=1) for name in names], axis=1)
    return names[votes.argmax(axis=1)]
