"""The sequence of a slice: the head that reads it, how it is fitted and measured, and the command that adds it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sslmri.cohorts.store import Store
from sslmri.dashboard.encoder.messages import sequence_sentence
from sslmri.errors import ModelError
from sslmri.learning.encoder import Encoder, normalise
from sslmri.learning.model import Head, Model, save_head, save_sequence
from sslmri.learning.sequence import SequenceFit, fit_sequence, sample_sequences, sequence_truth
from sslmri.learning.sequence_head import SequenceHead
from sslmri.models.evidence import SequenceMetrics, find_evidence
from sslmri.models.folder import SEQUENCE_FILE, read_model_card
from sslmri.scans.slices import Preparation
from sslmri.training.sequence import measure_sequences
from tests.small_encoder import SMALL_ENCODER
from tests.test_folds import record
from tests.tiny import list_files_again


def store_of(contrasts: list[str], cohort: str = "c", side: int = 8) -> Store:
    records = [
        replace(record(f"{cohort}{i}", f"{cohort}{i // 2}", None, i // 2 % 2), contrast=contrast, cohort=cohort)
        for i, contrast in enumerate(contrasts)
    ]
    return Store(np.zeros((len(records), side, side), np.uint8), records, [])


def test_slices_of_a_known_sequence_are_drawn_evenly():
    store = store_of([*["T1"] * 10, *["FLAIR"] * 4, "mixed", ""])
    assert sequence_truth(store).tolist() == [0] * 10 + [3] * 4 + [-1] * 2
    assert sequence_truth(sample_sequences(store, 3)).tolist() == [0] * 3 + [3] * 3
    parts = store_of(["T1"] * 10), store_of(["T1"] * 4 + ["FLAIR"] * 2, "other")
    both = Store(np.zeros((16, 8, 8), np.uint8), [record for part in parts for record in part.records], [])
    assert [r.cohort for r in sample_sequences(both, 3).records] == ["c"] * 3 + ["other"] * 5


def test_the_head_learns_what_tells_sequences_apart_and_predicts_groups_it_never_saw():
    store = store_of(["T1", "T1", "FLAIR", "FLAIR"] * 40, side=32)
    truth, generator = sequence_truth(store), np.random.default_rng(0)
    store.pixels[:, 4:28, 4:28] = generator.integers(100, 140, (160, 24, 24))
    store.pixels[truth > 0, 10:22, 10:22] //= 8  # fluid is dark in one of them
    torch.manual_seed(0)
    encoder = Encoder(SMALL_ENCODER)
    found = fit_sequence(encoder, store, Preparation())
    assert (found.probabilities.argmax(axis=1) == truth).mean() > 0.9
    with torch.inference_mode():
        seen = found.head(encoder.eval().early_maps(normalise(torch.from_numpy(store.pixels), Preparation())))
    assert (seen.argmax(dim=1).numpy() == truth).all()
    assert seen.softmax(dim=1)[:, 1:3].max() < 0.2, "sequences that no slice shows"


def test_one_sequence_or_group_alone_teaches_nothing():
    assert fit_sequence(Encoder(SMALL_ENCODER), store_of(["T1", "T2"]), Preparation()) is None
    assert fit_sequence(Encoder(SMALL_ENCODER), store_of(["T1"] * 8 + ["mixed"] * 8), Preparation()) is None


def test_slices_are_measured_by_patient_and_apart_where_the_source_cannot_tell():
    one, several = store_of(["T2"] * 20, "one"), store_of(["T1", "FLAIR"] * 10, "several")
    store = Store(np.zeros((40, 2, 2), np.uint8), [*one.records, *several.records], [])
    probabilities = np.eye(4)[sequence_truth(store)]
    probabilities[20:25] = [0, 1, 0, 0]
    found = measure_sequences(SequenceFit(SequenceHead(4), store, probabilities), "0" * 64)
    assert found.accuracy.rate.raw == pytest.approx(35 / 40)
    assert (found.same_source.rate.raw, found.same_source.n_slices) == (pytest.approx(15 / 20), 20)
    assert np.array(found.confusion).trace() == 35
    assert "correct for **0.88 " in sequence_sentence(found)
    assert "same scanners, 0.75 " in sequence_sentence(found)


def test_the_command_fits_the_head_of_a_model_again(model_folder: Path, cohort: Path, tmp_path: Path, call):
    model, data = shutil.copytree(model_folder, tmp_path / "model"), ("--cache", model_folder.parent / "cache")
    before = read_model_card(model)
    done = call("train.py", "sequence", "--data", cohort, "--run", model, *data)
    assert done.returncode == 0, done.stderr
    after = Model.load(model)
    assert "| truth | T1 | T1ce | T2 | FLAIR |" in done.stdout
    assert after.card.files.keys() == before.files.keys() | {SEQUENCE_FILE}
    assert all(after.card.files[name] == sha256 for name, sha256 in before.files.items())
    assert find_evidence(after.card, SequenceMetrics).confusion[2][2] > 0
    assert isinstance(after.sequence, SequenceHead)

    manifest = pd.read_csv(cohort).assign(contrast="T1", path=lambda rows: f"{cohort.parent}/" + rows["path"])
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    done = call("train.py", "sequence", "--data", tmp_path / "manifest.csv", "--run", model, *data)
    assert (done.returncode, done.stderr) == (
        1,
        "error: Expected slices of two sequences and two groups or more, got fewer: fill in the column contrast.\n",
    )
    assert read_model_card(model).sha256 == after.card.sha256


def test_a_head_of_another_encoder_or_form_is_refused(model_folder: Path, tmp_path: Path):
    model = shutil.copytree(model_folder, tmp_path / "model")
    save_sequence(model, SequenceHead(6))
    list_files_again(model)
    with pytest.raises(ModelError, match=r"^Expected \S+ of shape .*sequence\.safetensors, got"):
        Model.load(model)
    save_head(model / SEQUENCE_FILE, Head(torch.zeros(4, 6), torch.zeros(4)))
    list_files_again(model)
    with pytest.raises(ModelError, match=r"sequence\.safetensors, got a former one: run `python train\.py sequence`"):
        Model.load(model)
