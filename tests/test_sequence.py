"""The sequence of a slice: the head that names it and how it is measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sslmri.cohorts.store import Store
from sslmri.dashboard.encoder.messages import sequence_sentence
from sslmri.learning import logistic
from sslmri.learning.encoder import Encoder
from sslmri.learning.logistic import fit_sequence_head, sample_sequences, sequence_truth
from sslmri.learning.model import Model
from sslmri.models.folder import SEQUENCE_FILE
from sslmri.scans.scan import SEQUENCES
from sslmri.scans.slices import Preparation
from sslmri.training import final
from sslmri.training.final import measure_sequences
from tests.small_encoder import SMALL_ENCODER
from tests.test_folds import record


def store_of(contrasts: list[str], cohort: str = "c") -> Store:
    records = [
        replace(record(f"{cohort}{i}", f"{cohort}{i // 2}", None, i // 2 % 2), contrast=contrast, cohort=cohort)
        for i, contrast in enumerate(contrasts)
    ]
    return Store(np.zeros((len(records), 8, 8), np.uint8), records, [])


def test_slices_of_a_known_sequence_are_drawn_evenly():
    store = store_of([*["T1"] * 10, *["FLAIR"] * 4, "mixed", ""])
    assert sequence_truth(store).tolist() == [0] * 10 + [3] * 4 + [-1] * 2
    assert sequence_truth(sample_sequences(store, 3)).tolist() == [0] * 3 + [3] * 3
    parts = store_of(["T1"] * 10), store_of(["T1"] * 4 + ["FLAIR"] * 2, "other")
    both = Store(np.zeros((16, 8, 8), np.uint8), [record for part in parts for record in part.records], [])
    assert [r.cohort for r in sample_sequences(both, 3).records] == ["c"] * 3 + ["other"] * 5


@pytest.mark.parametrize("kinds", [("T1", "T2"), ("T1", "T1ce", "FLAIR")])
def test_the_head_equals_a_logistic_regression_on_standardised_features(monkeypatch, kinds):
    generator = np.random.default_rng(0)
    store = store_of([kind for kind in kinds for _ in range(30)])
    truth = sequence_truth(store)
    features = generator.normal(size=(len(truth), 6)) * [1, 2, 3, 4, 5, 6] + truth[:, None]
    monkeypatch.setattr(logistic, "extract_textures", lambda *_: torch.from_numpy(features))
    head = fit_sequence_head(Encoder(SMALL_ENCODER), store, Preparation())
    scaled = StandardScaler().fit_transform(features)
    expected = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000).fit(scaled, truth)
    given = head.logits(torch.from_numpy(features).float()).softmax(dim=1).numpy()
    np.testing.assert_allclose(given[:, expected.classes_], expected.predict_proba(scaled), atol=1e-5)
    assert not given[:, [i for i in range(4) if i not in expected.classes_]].any()


def test_one_sequence_alone_teaches_nothing():
    assert fit_sequence_head(Encoder(SMALL_ENCODER), store_of(["T1"] * 8 + ["mixed"] * 8), Preparation()) is None


def test_slices_are_measured_by_patient_and_apart_where_the_source_cannot_tell(monkeypatch, tmp_path):
    one, several = store_of(["T2"] * 20, "one"), store_of(["T1", "FLAIR"] * 10, "several")
    store = Store(np.zeros((40, 2, 2), np.uint8), [*one.records, *several.records], [])
    names = np.array([r.name for r in store.records])
    logits = np.eye(4)[sequence_truth(store)]
    logits[20:25] = [0, 1, 0, 0]
    folds = {f: np.array([r.fold == f for r in store.records]) for f in (0, 1)}
    arrays = {f: {"sequence": logits[rows], "sequence_names": names[rows]} for f, rows in folds.items()}
    monkeypatch.setattr(final, "fold_arrays", lambda run, fold: arrays[fold])
    found = measure_sequences(tmp_path, store, "0" * 64)
    assert found.accuracy.rate.raw == pytest.approx(35 / 40)
    assert (found.same_source.rate.raw, found.same_source.n_slices) == (pytest.approx(15 / 20), 20)
    assert np.array(found.confusion).trace() == 35
    assert "correct for **0.88 " in sequence_sentence(found)
    assert "same scanners, 0.75 " in sequence_sentence(found)
    monkeypatch.setattr(final, "fold_arrays", lambda run, fold: None)
    assert measure_sequences(tmp_path, store, "0" * 64) is None


def test_a_trained_model_carries_its_head(model_folder: Path):
    model = Model.load(model_folder)
    assert (model.sequence is not None) == (SEQUENCE_FILE in model.card.files)
    assert model.sequence is None or len(model.sequence.bias) == len(SEQUENCES)
