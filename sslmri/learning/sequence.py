"""The sequence of a slice, T1, T1 with contrast agent, T2 or FLAIR: a linear head on the textures of the encoder.

Textures of the second stage show how bright each kind of tissue is; the features of the last stage, which SimCLR makes
invariant to brightness and contrast, were less accurate.
"""

from collections import defaultdict

import numpy as np

from sslmri.cohorts.sampling import sample_groups
from sslmri.cohorts.store import Store
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import extract_textures
from sslmri.learning.logistic import fit_logistic
from sslmri.learning.model import Head
from sslmri.scans.scan import SEQUENCES
from sslmri.scans.slices import Preparation

_PER_SEQUENCE = 400  # slices of each cohort: a pass of the encoder over all takes a minute on two cores
_INVERSE_PENALTY = 0.1  # C


def sequence_truth(slices: Store) -> np.ndarray:
    """Returns the index in ``SEQUENCES`` of each slice's sequence, -1 where the manifest names none of them: (N,)."""
    index = {name: number for number, name in enumerate(SEQUENCES)}
    return np.array([index.get(record.contrast, -1) for record in slices.records], dtype=np.int64)


def sample_sequences(slices: Store, per_sequence: int = _PER_SEQUENCE) -> Store:
    """Returns at most ``per_sequence`` slices of each sequence in each cohort, as equally many of each group as it has.

    So cohorts with several sequences, in which the source says nothing, count as much as large ones with a single one.
    """
    rows: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row, (index, record) in enumerate(zip(sequence_truth(slices).tolist(), slices.records, strict=True)):
        if index >= 0:
            rows[index, record.cohort].append(row)
    return slices.select(
        sorted(
            own[position]
            for own in rows.values()
            for position in sample_groups([slices.records[row] for row in own], per_sequence)
        )
    )


def fit_sequence_head(encoder: Encoder, slices: Store, preparation: Preparation) -> Head | None:
    """Returns a class-balanced logistic regression of the sequence on textures; None with fewer than two sequences.

    Args:
        encoder: as it is used later.
        slices: of the training groups, labelled or not.
        preparation: of the slices.
    """
    chosen = sample_sequences(slices)
    truth = sequence_truth(chosen)
    if len(np.unique(truth)) < 2:
        return None
    features = extract_textures(encoder, chosen, preparation).numpy()
    return fit_logistic(features, truth, len(SEQUENCES), _INVERSE_PENALTY)
