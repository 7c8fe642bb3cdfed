"""A saved model: whole, unchanged and of one encoder, or refused in a sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sslmri.diseases import DISEASES
from sslmri.errors import ModelError
from sslmri.files import sha256_of, write_atomically, write_json
from sslmri.learning.features import extract_logits
from sslmri.learning.model import Model, load_encoder
from sslmri.models.folder import read_model_card


@pytest.fixture
def copied(model_folder, tmp_path) -> Path:
    """Returns a copy of the model, without its checkpoints, that a test may spoil."""
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder, ignore=shutil.ignore_patterns("pretrain", "finetune"))
    return folder


def rehash(folder: Path) -> None:
    """Writes the hashes again, as somebody would who changed a file on purpose."""
    content = json.loads((folder / "model.json").read_text())
    content["files"] = {name: sha256_of(folder / name) for name in content["files"]}
    write_json(folder / "model.json", content)


def logits_of(model: Model, slices: np.ndarray) -> dict[str, torch.Tensor]:
    return extract_logits(model.encoder, model.heads, slices, model.card.encoder.preparation, "float32")


def test_a_model_needs_nothing_but_its_own_folder(copied):
    model = Model.load(copied)
    assert list(model.heads) == sorted(DISEASES)
    logits = logits_of(model, np.zeros((3, 128, 128), np.uint8))
    assert {key: values.shape for key, values in logits.items()} == {
        k: (3, len(d.classes)) for k, d in DISEASES.items()
    }


def test_batches_do_not_change_the_logits(copied):
    model = Model.load(copied)
    slices = np.random.default_rng(0).integers(0, 255, (40, 128, 128), dtype=np.uint8)
    together = logits_of(model, slices)["ms"]
    alone = np.concatenate([logits_of(model, slices[i : i + 1])["ms"] for i in (0, 20, 39)])
    assert np.allclose(together[[0, 20, 39]], alone, atol=1e-4)


@pytest.mark.parametrize("name", ["encoder.safetensors", "heads/ms.safetensors", "heads/ms.json", "encoder.json"])
def test_a_changed_byte_is_refused_naming_the_file(copied, name):
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(ModelError, match=f"Expected {name}.*was changed"):
        Model.load(copied)


@pytest.mark.parametrize("name", ["encoder.safetensors", "heads/ms.json"])
def test_a_missing_file_is_refused(copied, name):
    (copied / name).unlink()
    with pytest.raises(ModelError, match=f"Expected the file {name}"):
        Model.load(copied)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="got no such file"):
        Model.load(tmp_path)


@pytest.mark.parametrize("text", ["not json", "[]", '{"format": "other-9"}', '{"format": "sslmri-1"}'])
def test_a_folder_of_another_format_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelError, match="Expected"):
        Model.load(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("name", None), ("training", None), ("created", None), ("training", [])])
def test_a_model_without_its_name_its_training_or_its_date_is_refused(copied, key, value):
    content = json.loads((copied / "model.json").read_text())
    changed = content | {key: value} if value is not None else {k: v for k, v in content.items() if k != key}
    write_json(copied / "model.json", changed)
    with pytest.raises(ModelError, match=rf"model\.json, got {key}: "):
        read_model_card(copied)


def test_a_model_of_the_former_format_is_refused_naming_the_command_that_converts_it(tmp_path):
    (tmp_path / "model.json").write_text('{"format": "sslmri-2"}')
    with pytest.raises(ModelError, match=rf"run `python -m sslmri convert {tmp_path}`"):
        read_model_card(tmp_path)


def test_a_head_of_another_encoder_is_refused_showing_both(copied):
    card = json.loads((copied / "heads/ms.json").read_text())
    own = card["encoder_sha256"]
    card["encoder_sha256"] = "f" * 64
    write_json(copied / "heads/ms.json", card)
    rehash(copied)
    with pytest.raises(ModelError, match=f"ms head of the encoder {own[:12]}, got one of ffffffffffff"):
        read_model_card(copied)


def test_a_head_with_its_classes_in_another_order_is_refused(copied):
    card = json.loads((copied / "heads/ms.json").read_text())
    card["classes"].reverse()
    write_json(copied / "heads/ms.json", card)
    rehash(copied)
    with pytest.raises(ModelError, match="classes in order"):
        Model.load(copied)


def test_a_card_with_an_unknown_field_is_refused(copied):
    card = json.loads((copied / "heads/ms.json").read_text())
    write_json(copied / "heads/ms.json", card | {"surprise": 1})
    rehash(copied)
    with pytest.raises(ModelError, match="surprise"):
        read_model_card(copied)


@pytest.mark.parametrize("spoil", ["shape", "missing", "extra", "not finite", "pickle"])
def test_weights_that_do_not_fit_are_refused(copied, spoil):
    path = copied / "heads/ms.safetensors"
    state = {name: value.clone() for name, value in load_file(path).items()}  # the file is mapped and written below
    if spoil == "shape":
        state["weight"] = state["weight"][:, :7].contiguous()
    elif spoil == "missing":
        del state["bias"]
    elif spoil == "extra":
        state["more"] = torch.zeros(1)
    elif spoil == "not finite":
        state["bias"][0] = torch.nan
    if spoil == "pickle":
        torch.save(state, path)
    else:
        save_file(state, path)
    rehash(copied)
    with pytest.raises(ModelError, match="Expected"):
        Model.load(copied)


def test_a_path_out_of_the_folder_is_refused(copied):
    content = json.loads((copied / "model.json").read_text())
    content["files"]["../outside.json"] = "0" * 64
    write_json(copied / "model.json", content)
    (copied.parent / "outside.json").write_text("{}")
    with pytest.raises(ModelError, match=r"\.\./outside\.json"):
        read_model_card(copied)


@pytest.mark.parametrize("name", ["a\0.json", "\ud800.json", "a" * 300 + ".json"])
def test_a_name_that_no_file_can_have_is_refused(copied, name):
    listed = json.loads((copied / "model.json").read_text())
    listed["files"][name] = "0" * 64
    (copied / "model.json").write_text(json.dumps(listed))
    with pytest.raises(ModelError, match="Expected"):
        Model.load(copied)


@pytest.mark.parametrize(
    ("low", "high"), [(0.9, 0.1), (-0.1, 0.5), (0.5, 1.5), (0.5, 10**400), (0.5, "1"), (None, 0.5)]
)
def test_thresholds_that_are_no_pair_of_probabilities_are_refused(copied, low, high):
    card = json.loads((copied / "heads/ms.json").read_text())
    (copied / "heads/ms.json").write_text(json.dumps(card | {"threshold_low": low, "threshold_high": high}))
    rehash(copied)
    with pytest.raises(ModelError, match=r"Expected .*heads/ms\.json"):
        read_model_card(copied)


def test_a_list_of_endless_files_is_refused(copied):
    listed = json.loads((copied / "model.json").read_text())
    listed["files"] |= {f"{number}.json": "0" * 64 for number in range(64)}
    (copied / "model.json").write_text(json.dumps(listed))
    with pytest.raises(ModelError, match="at most 64 files"):
        read_model_card(copied)


def test_a_file_that_is_a_link_to_itself_is_refused(copied):
    (copied / "encoder.json").unlink()
    (copied / "encoder.json").symlink_to("encoder.json")
    with pytest.raises(ModelError, match="Expected the file encoder.json"):
        Model.load(copied)


def test_an_encoder_file_that_is_none_is_refused(tmp_path, model_folder):
    shutil.copy(model_folder / "encoder.json", tmp_path)
    (tmp_path / "encoder.safetensors").write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="encoder.safetensors, got a damaged file"):
        load_encoder(tmp_path / "encoder.safetensors")


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "card.json"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["card.json"]
