"""HostileModel models, a few through each door; and that the trial of them can fail."""

import io
import json
import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from sslmri.errors import ModelError
from sslmri.learning import model
from sslmri.models.cards import ModelCard
from sslmri.models.folder import read_model_card
from sslmri.project import DEFAULT_MODEL
from sslmri.screening.screener import Screener
from tests.soak import models, served_models
from tests.soak.hostile_models import ALL, CARD, ENCODER, LIST, WEIGHTS, HostileModel, copy_spoilt, mark_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def good(gated_folder, tmp_path) -> Path:
    folder = tmp_path / "good"
    copy_spoilt(gated_folder, folder, HostileModel("none", "", lambda folder: None))
    return folder


def named(*words: str) -> list[HostileModel]:
    return [hostile for hostile in ALL if any(word in hostile.name for word in words)]


def test_there_are_more_than_twenty_kinds_and_every_kind_of_file_is_among_them():
    assert len({hostile.name for hostile in ALL}) == len(ALL) > 20
    assert {hostile.blamed for hostile in ALL} >= {ENCODER, WEIGHTS, CARD, LIST, "encoder.json", "bank.safetensors"}


def test_the_good_model_that_they_are_made_from_loads(good):
    assert list(Screener.load(good).card.heads)


def test_the_library_refuses_hostile_models(gated_folder):
    row = models.load_hostile_models(gated_folder, ALL[::2])
    assert (row.tried, row.failed) == (len(ALL[::2]), 0), row.faults


def test_the_command_line_refuses_hostile_models_in_one_line(gated_folder):
    some = named("pickle", "64 GB", "200 MB", "pipe", "above")
    row = models.screen_with_hostile_models(gated_folder, some)
    assert (row.tried, row.failed) == (5, 0), row.faults


def test_the_dashboard_refuses_hostile_models_in_one_sentence_and_the_trial_says_no_more(gated_folder, capfd):
    some = named("torch file", "list nested", "bank of another")
    row = models.show_hostile_models(gated_folder, some)
    assert (row.tried, row.failed) == (3, 0), row.faults
    assert "ScriptRunContext" not in capfd.readouterr().err


def test_five_kinds_are_given_to_processes_of_their_own():
    assert len(served_models.SERVED) == 5


def test_processes_of_their_own_refuse_a_hostile_model_and_one_that_is_served_is_found(gated_folder):
    taken = HostileModel("one that is taken", CARD, lambda folder: mark_of(folder).mkdir())
    row = served_models.serve_hostile_models(gated_folder, [*named("a pickle"), taken])
    assert (row.tried, row.failed) == (2, 1), row.faults
    for said in ("is taken", "line ended with 0", "it was loaded", "/health answers (200", "the page says", "was run"):
        assert said in row.faults[0]


@pytest.mark.parametrize("said", ["", "Expected a.", "error: a.", "error: Expected a.\nerror: Expected a.\n", "a\n"])
def test_what_is_not_one_line_with_an_error_is_no_refusal(said):
    assert models.blame(HostileModel("any", "a", lambda folder: None), models.sentence_of(said))


def test_the_trial_fails_where_hashes_are_not_checked(gated_folder):
    with patch.object(model, "read_listed", lambda folder, hashes, name: (folder / name).read_bytes()), patch(
        "sslmri.models.folder.read_listed", lambda folder, hashes, name: (folder / name).read_bytes()
    ):  # fmt: skip
        row = models.load_hostile_models(gated_folder, named("a byte of encoder.safetensors"))
    assert (row.tried, row.failed) == (1, 1)
    assert "it was loaded" in row.faults[0]


def test_the_trial_fails_where_weights_are_unpickled(gated_folder):
    real = model.load

    def load(data: bytes) -> dict[str, torch.Tensor]:
        if data[:2] == b"PK":
            torch.load(io.BytesIO(data), weights_only=False)
        return real(data)

    with patch.object(model, "load", load):
        row = models.load_hostile_models(gated_folder, named("torch file"))
    assert (row.tried, row.failed) == (1, 1)
    assert "something of it was run" in row.faults[0]


def test_a_model_that_raises_is_its_own_fault_and_the_next_is_tried(gated_folder):
    with patch.object(Screener, "load", side_effect=[None, ZeroDivisionError("no"), ModelError("Expected it.")]):
        row = models.load_hostile_models(gated_folder, ALL[:2])
    assert row.tried == 2
    assert "got: raised ZeroDivisionError('no')" in row.faults[0]
    assert "got: Expected it." in row.faults[1]


def test_a_byte_changed_behind_the_clock_is_seen_at_the_next_load(good):
    Screener.load(good)
    path = good / WEIGHTS
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ModelError, match=rf"Expected {WEIGHTS} .* the file was changed"):
        Screener.load(good)


@pytest.mark.parametrize("name", [WEIGHTS, ENCODER, "bank.safetensors", "bank.json"])
def test_a_file_swapped_between_the_check_and_the_load_is_refused(good, name, monkeypatch):
    def read_and_swap(folder: Path) -> ModelCard:
        card = read_model_card(folder)
        data = bytearray((folder / name).read_bytes())
        data[-3] ^= 1
        (folder / name).unlink()
        (folder / name).write_bytes(data)
        return card

    monkeypatch.setattr(model, "read_model_card", read_and_swap)
    with pytest.raises(ModelError, match=f"Expected {name} .* the file was changed"):
        Screener.load(good)


def test_a_list_swapped_after_the_check_changes_neither_the_bank_nor_the_hash(good, monkeypatch):
    sha256 = read_model_card(good).sha256

    def read_and_swap(folder: Path) -> ModelCard:
        card = read_model_card(folder)
        content = json.loads((folder / LIST).read_text())
        (folder / LIST).write_text(json.dumps(content | {"files": {ENCODER: "0" * 64, "encoder.json": "0" * 64}}))
        return card

    monkeypatch.setattr(model, "read_model_card", read_and_swap)
    screener = Screener.load(good)
    assert screener.card.sha256 == sha256
    assert screener.bank is not None


def test_the_shipped_model_loads_within_the_limits_of_its_files():
    assert len(Screener.load(DEFAULT_MODEL).card.heads) == 4


def test_a_trial_leaves_nothing_and_the_good_model_as_it_was(gated_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sha256 = read_model_card(gated_folder).sha256
    models.load_hostile_models(gated_folder, named("encoder"))
    assert not list(tmp_path.iterdir())
    assert read_model_card(gated_folder).sha256 == sha256
