"""A fine-tuning may start from a model or from weights of others, but from none that saw what is held out."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18, resnet50

from sslmri.dashboard.encoder.messages import facts
from sslmri.errors import ModelError, TrainingError
from sslmri.learning.model import load_encoder
from sslmri.models.architecture import RESNET50
from sslmri.models.folder import ENCODER_FILE, read_encoder_card, read_model_card
from sslmri.models.model_card import model_card_markdown
from sslmri.training.crossvalidation import run_crossvalidate
from sslmri.training.data import open_cohort
from sslmri.training.label_efficiency import run_label_efficiency
from sslmri.training.options import LabelEfficiencySettings, RunOptions
from sslmri.training.start import adopt, open_start, read_resnet50
from sslmri.training.steps import run_pretrain
from tests.conftest import Call
from tests.test_protocols import changed, turned
from tests.tiny import TINY_FINETUNE, TINY_PRETRAIN


@pytest.fixture
def options(cohort: Path, model_folder: Path, tmp_path: Path) -> RunOptions:
    """Returns the options of a new run on people of whom the tiny model saw none: their cohort has another name."""
    data = changed(cohort, tmp_path, lambda table: table.assign(cohort="mine"))
    return RunOptions(data, tmp_path / "run", cache=model_folder.parent / "cache")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a state dict of torchvision's ResNet-50 as it begins."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(resnet50().state_dict(), path)
    return path


def test_a_shipped_model_is_fine_tuned_on_data_of_ones_own_and_measured(
    options: RunOptions, gated_folder: Path, call: Call
) -> None:
    named = ("--data", options.data, "--run", options.run, "--cache", options.cache)
    tuning = ("--finetune.epochs", "1", "--finetune.labels-per-class", "4", "--finetune.batch-size", "16")
    done = call("train.py", "finetune", "--start", gated_folder, *named, *tuning)
    assert done.returncode == 0, done.stderr
    shipped, own = read_model_card(gated_folder), read_model_card(options.run)
    said = (
        f"Its training started from the encoder of the model {shipped.name} ({shipped.sha256[:12]}), which had learned"
    )
    assert done.stdout.startswith(said)
    assert own.evidence_note == own.encoder.start
    assert own.encoder.start.startswith(said)
    assert own.encoder.architecture.widths == shipped.encoder.architecture.widths
    assert own.encoder.data.groups_sha256 == shipped.encoder.data.groups_sha256
    assert {"simulated"} == own.encoder.data.cohorts.keys()
    assert {"mine"} == own.training.cohorts.keys()
    begun = load_encoder(options.run / "pretrain" / ENCODER_FILE).state_dict()
    assert torch.equal(begun["conv1.weight"], load_encoder(gated_folder / ENCODER_FILE).state_dict()["conv1.weight"])
    assert call("train.py", "evaluate", *named).returncode == 0
    assert said in model_card_markdown(own, None, None)
    assert said.split(" (")[0] in facts(own)


def test_a_start_that_trained_on_the_same_groups_may_be_tested_on_the_others(
    options: RunOptions, cohort: Path, model_folder: Path
) -> None:
    same = replace(options, data=cohort)
    records = open_cohort(same).used
    assert open_start(same, records, model_folder).card.data.cohorts.keys() == {"simulated"}
    with pytest.raises(TrainingError, match="got another start in .*: name another --run"):
        adopt(model_folder.parent / "pretrain", same, [records])
    adopt(model_folder, same, [records])  # as a run that goes on does


@pytest.mark.parametrize("part", [".", "pretrain", "pretrain/encoder.safetensors"])
def test_a_start_that_may_have_seen_people_of_the_test_split_is_refused(
    part: str, options: RunOptions, cohort: Path, model_folder: Path, tmp_path: Path
) -> None:
    again = replace(options, data=changed(cohort, tmp_path, turned))
    start = model_folder.parent / part
    with pytest.raises(TrainingError) as refused:
        open_start(again, open_cohort(again).used, start)
    assert str(refused.value) == (
        f"Expected a start that learned from none of the groups held out for validation and test, got {start}, which "
        "learned from simulated with other training groups than these: name another start, or let these cohorts train "
        "only."
    )
    assert not again.run.exists()


def test_all_folds_start_from_a_model_and_none_from_one_that_saw_theirs(
    options: RunOptions, cohort: Path, model_folder: Path
) -> None:
    with pytest.raises(TrainingError, match="^Expected a start that learned from none"):
        run_crossvalidate(replace(options, data=cohort), TINY_PRETRAIN, TINY_FINETUNE, (0,), model_folder)
    run_crossvalidate(options, TINY_PRETRAIN, TINY_FINETUNE, (0,), model_folder)
    fold, shared = read_model_card(options.run / "folds" / "0"), options.run / "start" / "pretrain" / "encoder.json"
    assert fold.encoder.pretraining == read_encoder_card(shared).pretraining
    assert fold.encoder.start
    assert not (options.run / "folds" / "0" / "pretrain").exists()


def test_pre_training_continues_from_a_model_and_the_run_says_so(
    options: RunOptions, model_folder: Path, call: Call
) -> None:
    named = ("--data", options.data, "--run", options.run, "--cache", options.cache)
    settings = ("--pretrain.epochs", "1", "--pretrain.batch-size", "16", "--pretrain.views.size", "32")
    slow = ("--pretrain.learning-rate", "1e-12", "--pretrain.weight-decay", "0")
    done = call("train.py", "pretrain", "--start", model_folder, *named, *settings, *slow)
    assert done.returncode == 0, done.stderr
    shipped, card = read_model_card(model_folder), read_encoder_card(options.run / "pretrain" / "encoder.json")
    assert done.stdout.startswith("Its training started from the encoder of the model tiny (")
    assert card.start in done.stdout
    assert card.start.endswith(f" groups of simulated that ended {shipped.encoder.created}.")
    assert card.architecture == replace(shipped.encoder.architecture, output_stride=32)
    assert card.data.cohorts.keys() == {"mine", "simulated"}
    begun, learned = (load_encoder(f / ENCODER_FILE).state_dict() for f in (model_folder, options.run / "pretrain"))
    assert torch.allclose(begun["conv1.weight"], learned["conv1.weight"], atol=1e-6)
    assert open_start(options, open_cohort(options).used).card.start == card.start
    other = call("train.py", "pretrain", "--resume", *named, *settings, *slow)
    assert (other.returncode, other.stderr.count("\n")) == (1, 1)
    assert "Expected the settings of the run that is resumed, got others (" in other.stderr


@pytest.mark.parametrize("part", [".", "pretrain"])
def test_pre_training_does_not_continue_from_what_saw_the_test_split(
    part: str, options: RunOptions, cohort: Path, model_folder: Path, tmp_path: Path
) -> None:
    again = replace(options, data=changed(cohort, tmp_path, turned))
    with pytest.raises(TrainingError, match="^Expected a start that learned from none of the groups held out"):
        run_pretrain(again, TINY_PRETRAIN, start=model_folder.parent / part)
    assert not again.run.exists()


def test_what_a_continued_encoder_saw_before_is_not_tested_later(options: RunOptions, model_folder: Path) -> None:
    run_pretrain(options, replace(TINY_PRETRAIN, epochs=1), start=model_folder.parent / "pretrain")
    records = open_cohort(options).used
    test = [replace(record, cohort="simulated", split="test") for record in records if record.split == "test"]
    assert open_start(options, records)
    with pytest.raises(TrainingError, match="^The data were split again"):
        open_start(options, [*records, *test])


def test_label_efficiency_says_what_it_started_from(options: RunOptions, model_folder: Path) -> None:
    found = run_label_efficiency(options, LabelEfficiencySettings(labels=(2,), seeds=(0,)), model_folder)
    assert found.notes[0].startswith("Its training started from the encoder of the model tiny (")


def test_weights_of_others_are_a_start_whose_people_nobody_knows(options: RunOptions, weights: Path) -> None:
    card = open_start(options, open_cohort(options).used, weights).card
    assert card.start.startswith("Its training started from the weights resnet50.pth (")
    assert card.start.endswith("which do not record what they learned from: it may have been what is tested here.")
    assert (card.architecture, card.data.counts.slices, card.data.cohorts) == (RESNET50, 0, {})


def test_filters_for_three_channels_are_summed(weights: Path, tmp_path: Path) -> None:
    reference, slices = resnet50().eval(), torch.randn(2, 1, 64, 64)
    reference.load_state_dict(torch.load(weights, weights_only=True))
    reference.fc = torch.nn.Identity()
    encoder = read_resnet50(weights).eval()
    with torch.inference_mode():
        assert torch.allclose(encoder(slices), reference(slices.repeat(1, 3, 1, 1)), atol=1e-4)
    save_file(encoder.state_dict(), tmp_path / "one.safetensors")
    again = read_resnet50(tmp_path / "one.safetensors").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in encoder.state_dict().items())


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html>", pickle.dumps({"conv1.weight": _Code()})])
def test_a_damaged_start_is_one_sentence(content: bytes, suffix: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / f"start{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"^Expected the state dict of a ResNet-50 in {path}, got a damaged file"):
        read_resnet50(path)
    assert capsys.readouterr().out == ""


def test_another_architecture_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "start.pth"
    torch.save(resnet18().state_dict(), path)
    with pytest.raises(
        ModelError, match=r"^Expected the weights of this architecture in .*, got .* others, first layer"
    ):
        read_resnet50(path)
    torch.save({"state_dict": resnet18().state_dict(), "epoch": 3}, path)
    with pytest.raises(ModelError, match="got a damaged file or something else: save it again by"):
        read_resnet50(path)


def test_a_start_that_is_not_there_is_one_sentence(options: RunOptions, tmp_path: Path, call: Call) -> None:
    named = ("--data", options.data, "--run", options.run, "--cache", options.cache)
    for start in (tmp_path / "none.pth", tmp_path):
        done = call("train.py", "finetune", *named, "--start", start)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "got no such file" in done.stderr
