"""A model of the former format is rewritten whole, and no weight changes."""

import json
import shutil
from pathlib import Path

import pytest

from sslmri.errors import ModelError
from sslmri.files import sha256_of
from sslmri.models import convert
from sslmri.models.cards import SET_RULE, THRESHOLD_RULE
from sslmri.models.convert import convert_model
from sslmri.models.folder import read_model_card
from tests.former_model import SHA, write_former_model


@pytest.fixture
def former(tmp_path) -> Path:
    """Returns a model of the former format with one head."""
    write_former_model(tmp_path / "model")
    return tmp_path / "model"


def test_cards_are_rewritten_and_weights_are_not(former):
    with pytest.raises(ModelError, match="run `python -m sslmri convert"):
        read_model_card(former)
    weights = {path: sha256_of(path) for path in former.rglob("*.safetensors")}
    (former / "evidence").mkdir()
    (former / "evidence" / "metrics.json").write_text("{}")
    assert convert_model(former) == former
    assert not (former / "evidence").exists()
    assert {path: sha256_of(path) for path in former.rglob("*.safetensors")} == weights
    card = read_model_card(former)
    assert (card.name, card.created, card.evidence_note, card.training.counts.groups) == ("old", "then", None, 2)
    assert card.encoder.data.cohorts == {"a": "A.", "b": "origin and terms not recorded"}
    assert (card.encoder.architecture.name, card.encoder.preparation.image_size) == ("resnet50-1ch-os16", (96, 96))
    assert card.encoder.pretraining == {"epochs": 5, "precision": "bfloat16"}
    head = card.heads["ms"]
    assert (head.threshold_rule, head.set_rule) == (THRESHOLD_RULE, SET_RULE)
    assert head.finetuning == {"epochs": 2, "location_weight": 0.2, "precision": "bfloat16"}
    assert (head.counts["normal"]["train"].slices, head.threshold_metrics["low"]["specificity"]) == (5, 0.5)
    assert [path.name for path in former.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.json", {"format": "sslmri-3"}, "it is converted already"),
        ("model.json", {"format": "theirs"}, "train it again"),
        ("model.json", {"training": {}}, "Expected a whole model of format sslmri-2"),
        ("model.json", {"files": ["a"]}, "Expected"),
        ("encoder.json", {"std": 1}, "the file was changed"),
    ],
)
def test_what_is_not_a_whole_model_of_the_former_format_is_refused_and_left_alone(former, name, change, message):
    path = former / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    before = {path: path.read_bytes() for path in former.rglob("*") if path.is_file()}
    with pytest.raises(ModelError, match=message):
        convert_model(former)
    assert {path: path.read_bytes() for path in former.parent.rglob("*") if path.is_file()} == before


def test_a_conversion_that_fails_leaves_the_model_of_the_former_format(former, monkeypatch):
    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    copied = Path(shutil.copytree(former, former.parent / "copy"))
    monkeypatch.setattr(convert, "write_model_file", fail)
    with pytest.raises(OSError, match="disk full"):
        convert_model(former)
    monkeypatch.undo()
    for folder in (former, copied):
        assert read_model_card(convert_model(folder)).encoder.data.groups_sha256 == SHA
