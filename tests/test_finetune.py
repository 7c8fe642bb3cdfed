"""Fine-tuning: the label budget, the balance, both regimes, early stopping and resuming."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.regions import read_regions
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import Store, open_store
from sslmri.diseases import DISEASES
from sslmri.errors import TrainingError
from sslmri.learning.encoder import Encoder, Maps
from sslmri.learning.finetune import finetune
from sslmri.learning.labels import balanced_epoch, macro_auroc, stopping_score
from sslmri.learning.model import Head
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.history import read_history
from sslmri.scans.slices import Preparation
from tests.small_encoder import SMALL_ENCODER

SMALL = Preparation(image_size=(32, 32))
SETTINGS = FinetuneSettings(epochs=2, batch_size=16, labels_per_class=4)


@pytest.fixture(scope="module")
def stores(cohort, tmp_path_factory) -> tuple[Store, Store]:
    store = open_store(assign_splits(read_manifest(cohort)), SMALL, tmp_path_factory.mktemp("store"))
    return store.where(split="train"), store.where(split="validation")


def record(label: str, group: str) -> Record:
    return Record(Path("x"), "x", "c", "ms", label, group, None)


def store_of(counts: dict[tuple[str, str], int]) -> Store:
    records = [record(label, group) for (label, group), count in counts.items() for _ in range(count)]
    return Store(np.zeros((len(records), 8, 8), np.uint8), records, [])


def test_the_budget_is_shared_among_the_groups_of_a_class():
    store = store_of({("normal", "a"): 50, ("normal", "b"): 3, ("normal", "c"): 50, ("multiple_sclerosis", "d"): 5})
    kept = Counter((r.label, r.group) for r in store.evenly_per_class(23).records)
    assert kept == {("normal", "a"): 10, ("normal", "b"): 3, ("normal", "c"): 10, ("multiple_sclerosis", "d"): 5}


def test_small_classes_are_raised_to_the_largest_of_their_disease():
    store = store_of({("normal", "a"): 20, ("multiple_sclerosis", "d"): 3})
    rows = balanced_epoch(store, 450, 100, Generator().manual_seed(0))
    assert Counter(store.records[row].label for row in rows) == {"normal": 20, "multiple_sclerosis": 20}
    assert set(rows) == set(range(23))


def test_every_original_slice_is_used_before_one_is_repeated():
    store = store_of({("normal", "a"): 7, ("multiple_sclerosis", "d"): 3})
    repeats = Counter(balanced_epoch(store, 450, 100, Generator().manual_seed(0)))
    assert {repeats[row] for row in range(7, 10)} == {2, 3}


def test_macro_auroc_is_one_for_sure_answers_and_a_half_for_none():
    truth = np.array([0, 0, 1, 1, 2])
    assert macro_auroc(np.eye(3)[truth], truth, [0, 1, 2]) == 1.0
    assert macro_auroc(np.full((5, 3), 1 / 3), truth, [0, 1, 2]) == 0.5


def test_a_disease_with_too_few_validation_groups_does_not_choose_the_epoch():
    def groups(disease: str, label: str, count: int) -> list[Record]:
        return [dataclasses.replace(record(label, f"{label}{i}"), disease=disease) for i in range(count)]

    records = [
        *groups("ms", "normal", 3),
        *groups("ms", "multiple_sclerosis", 6),
        *groups("parkinsons", "normal", 2),
        *groups("parkinsons", "parkinsons_disease", 9),
    ]
    store = Store(np.zeros((len(records), 8, 8), np.uint8), records, [])
    assert stopping_score({"ms": 0.8, "parkinsons": 0.4}, store) == 0.8
    few = store.select(range(9, 20))
    assert stopping_score({"parkinsons": 0.4}, few) == 0.4


def test_fine_tuning_changes_the_encoder_and_returns_a_head_for_each_disease(stores, tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(SMALL_ENCODER)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    tuned, heads = finetune(encoder, *stores, SMALL, tmp_path, SETTINGS)
    assert list(heads) == list(DISEASES)
    assert heads["tumours"].weight.shape == (4, SMALL_ENCODER.feature_dim)
    assert any(not torch.equal(before[name], value) for name, value in tuned.state_dict().items())


def test_the_second_phase_leaves_the_first_stages_and_reads_the_second_one(stores, tmp_path):
    def trained(late_epochs: int) -> tuple[Encoder, dict[str, Head]]:
        torch.manual_seed(0)
        settings = dataclasses.replace(SETTINGS, late_epochs=late_epochs, refits_atrophy=True)
        return finetune(Encoder(SMALL_ENCODER), *stores, SMALL, tmp_path / str(late_epochs), settings)

    (first, first_heads), (late, late_heads) = trained(0), trained(1)
    changed = {name for name, value in late.state_dict().items() if not torch.equal(value, first.state_dict()[name])}
    assert {name.split(".")[0] for name in changed} == {"layer3", "layer4"}
    assert "layer4.0.bn1.running_mean" in changed
    assert torch.equal(late_heads["alzheimers"].weight, first_heads["alzheimers"].weight)
    widths = {key: head.weight.shape[1] - SMALL_ENCODER.feature_dim for key, head in late_heads.items()}
    assert widths == {"alzheimers": 0, "tumours": SMALL_ENCODER.texture_dim // 2, "ms": 0, "parkinsons": 0}
    assert late_heads["tumours"].weight[1:, : widths["tumours"]].any()
    assert [entry["epoch"] for entry in read_history(tmp_path / "1" / "late" / "history.jsonl")] == [1]


def test_an_epoch_of_the_second_phase_has_as_many_copies_as_slices_of_each_class(stores):
    import sslmri.learning.finetune as module

    train = stores[0]
    slices = module._Slices(train, train.select([]), stores[1], read_regions(train.records, SMALL), SMALL)
    late = slices.late(["tumours", "ms"])
    training = module._Training(None, None, None, late, SETTINGS)
    drawn = Counter((r.disease, r.label) for r in module._draw(training, Generator().manual_seed(0)).records)
    copies = Counter((r.disease, r.label) for r in late.copies.records)
    assert drawn.keys() == {*copies, ("ms", "normal"), ("ms", "multiple_sclerosis")}
    plain = Counter(
        (r.disease, r.label) for r in late.train.select(balanced_epoch(late.train, 450, 8, Generator())).records
    )
    assert drawn["tumours", "glioma"] > plain["tumours", "glioma"] > 0
    assert drawn["ms", "normal"] == plain["ms", "normal"]
    painted = next(record for record in late.copies.records if record.label == "no_tumour")
    assert not late.region(painted).any()
    assert late.region(dataclasses.replace(painted, label="glioma")).any()


def test_a_linear_probe_leaves_the_encoder_as_it_was(stores, tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(SMALL_ENCODER)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    probe = dataclasses.replace(SETTINGS, regime="linear-probe")
    tuned, heads = finetune(encoder, *stores, SMALL, tmp_path, probe)
    assert list(heads) == list(DISEASES)
    assert all(torch.equal(before[name], value) for name, value in tuned.state_dict().items())


@pytest.mark.parametrize("n_saved", [1, 3], ids=["first phase", "second phase"])
def test_a_resumed_fine_tuning_equals_one_never_stopped(stores, tmp_path, monkeypatch, n_saved):
    def run(folder: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        settings = dataclasses.replace(SETTINGS, late_epochs=2)
        encoder, heads = finetune(Encoder(SMALL_ENCODER), *stores, SMALL, tmp_path / folder, settings)
        return encoder.state_dict() | {key: head.weight for key, head in heads.items()}

    whole, n_left = run("whole"), n_saved

    import sslmri.learning.finetune as module

    real = module.save_checkpoint

    def save_then_die(path: Path, state: dict) -> None:
        nonlocal n_left
        real(path, state)
        n_left -= 1
        if n_left == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_checkpoint", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    monkeypatch.setattr(module, "save_checkpoint", real)
    resumed = run("stopped")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_training_stops_when_validation_does_not_improve(stores, tmp_path, monkeypatch):
    import sslmri.learning.finetune as module

    scores = iter([0.5, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    monkeypatch.setattr(module, "_validate", lambda *_: {"ms": next(scores)})
    finetune(Encoder(SMALL_ENCODER), *stores, SMALL, tmp_path, dataclasses.replace(SETTINGS, epochs=7, patience=2))
    assert len(read_history(tmp_path / "history.jsonl")) == 4


def test_a_score_that_is_no_number_stops_the_training_and_is_not_written(stores, tmp_path, monkeypatch):
    import sslmri.learning.finetune as module

    monkeypatch.setattr(module, "_validate", lambda *_: {"ms": float("nan")})
    with pytest.raises(TrainingError, match="Expected a finite score, got nan in epoch 1"):
        finetune(Encoder(SMALL_ENCODER), *stores, SMALL, tmp_path, SETTINGS)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("spoilt", ["best", "model", "average", "optimizer", "best_score", "best_epoch"])
def test_a_checkpoint_whose_parts_do_not_fit_is_refused_before_training_goes_on(stores, tmp_path, monkeypatch, spoilt):
    import sslmri.learning.finetune as module

    model = module.MultiHead(Encoder(SMALL_ENCODER), ["ms"])
    slices = module._Slices(stores[0], stores[0].select([]), stores[1], {}, SMALL)
    training = module._start(model, slices, SETTINGS)
    state = training.state() | {"epoch": 1, "best_score": 0.5, "best_epoch": 1}
    begun = module.begun_with(SETTINGS, stores[0].records)
    state |= {"settings": begun, "best": model.state_dict(), spoilt: {"conv1": torch.ones(2)}}
    module.save_checkpoint(tmp_path / "checkpoint.pt", state)
    with pytest.raises(TrainingError, match="got parts that do not fit it"):
        module._resume(training, tmp_path)


def test_a_group_gives_few_of_its_slices_in_an_epoch_and_others_in_the_next():
    store = store_of({("normal", "a"): 20, ("normal", "b"): 1, ("multiple_sclerosis", "d"): 30})
    epochs = [balanced_epoch(store, 450, 4, Generator().manual_seed(seed)) for seed in range(2)]
    drawn = [Counter(store.records[row].group for row in epoch) for epoch in epochs]
    assert drawn == [{"a": 4, "b": 1, "d": 5}] * 2
    assert set(epochs[0]) != set(epochs[1])


def test_annotated_lesions_move_with_their_slices(monkeypatch):
    import sslmri.learning.finetune as module

    slices = np.zeros((4, 64, 64), np.uint8)
    slices[:, 20:36, 30:40] = 200
    paths = [Path(str(index)) for index in range(4)]
    annotated = [dataclasses.replace(record("glioma", "a"), disease="tumours", path=path) for path in paths]
    annotated[1] = dataclasses.replace(annotated[1], label="no_tumour")
    regions = {path: slice_ > 0 for path, slice_ in zip(paths[2:], slices[2:], strict=True)}
    seen: dict[str, torch.Tensor] = {}

    class Watched(Encoder):
        def maps(self, slices: torch.Tensor) -> Maps:
            seen["slices"] = slices
            return super().maps(slices)

    def keep(local: torch.Tensor, truth: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        seen["truth"], seen["regions"] = truth, regions
        return torch.tensor(5.0)

    monkeypatch.setattr(module, "dense_loss", keep)
    model = module.MultiHead(Watched(SMALL_ENCODER), ["tumours"])
    batch = Store(slices, annotated, [])
    settings = dataclasses.replace(SETTINGS, dense_weight=0.5)
    slices_ = module._Slices(batch, batch.select([]), batch.select([]), regions, Preparation(image_size=(64, 64)))
    training = module._start(model, slices_, settings)
    plain, full = (
        module._loss(dataclasses.replace(training, settings=each), batch, Generator().manual_seed(0))
        for each in (dataclasses.replace(settings, dense_weight=0.0), settings)
    )
    assert full.item() == pytest.approx(plain.item() + 0.5 * 5.0 * 3 / 4, rel=1e-2)  # one has neither lesion nor none
    assert seen["truth"].tolist() == [0, 1, 1]
    assert not seen["regions"][0].any()
    low, high = torch.aminmax(seen["slices"][2:].flatten(1), dim=1)
    shown, in_region = seen["slices"][2:] > ((low + high) / 2).view(2, 1, 1, 1), seen["regions"][1:] > 0.5
    assert (shown & in_region).sum() / (shown | in_region).sum() > 0.95
    assert not torch.equal(seen["regions"][1], seen["regions"][2])


@pytest.mark.parametrize("regime", ["fine-tune", "linear-probe"])
def test_a_class_without_training_slices_gets_no_probability(stores, tmp_path, regime):
    train, validation = stores
    kept = [row for row, record in enumerate(train.records) if record.label != "glioma"]
    settings = dataclasses.replace(SETTINGS, regime=regime, epochs=1)
    _, heads = finetune(Encoder(SMALL_ENCODER), train.select(kept), validation, SMALL, tmp_path, settings)
    logits = heads["tumours"].logits(torch.randn(5, SMALL_ENCODER.feature_dim)).double()
    glioma = DISEASES["tumours"].classes.index("glioma")
    assert (logits.softmax(dim=1)[:, glioma] == 0).all()
    assert (heads["tumours"].weight[glioma] == 0).all()


def test_without_a_validation_side_the_last_epoch_is_kept(stores, tmp_path):
    train, validation = stores
    tuned, heads = finetune(Encoder(SMALL_ENCODER), train, validation.select([]), SMALL, tmp_path, SETTINGS)
    assert len(read_history(tmp_path / "history.jsonl")) == SETTINGS.epochs
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["best_epoch"] == SETTINGS.epochs
    assert list(heads) == list(DISEASES)
    assert tuned.architecture.output_stride == SETTINGS.output_stride


def test_one_slice_of_a_group_is_one_from_its_middle():
    store = store_of({("normal", "a"): 9, ("normal", "b"): 9})
    pixels = np.arange(18, dtype=np.uint8)[:, None, None].repeat(8, axis=1).repeat(8, axis=2)
    kept = dataclasses.replace(store, pixels=pixels).evenly_per_class(2)
    assert kept.slices[:, 0, 0].tolist() == [4, 13]


def test_no_labels_are_refused(stores, tmp_path):
    train, validation = stores
    bare = dataclasses.replace(train, records=[dataclasses.replace(r, disease=None, label=None) for r in train.records])
    with pytest.raises(TrainingError, match="labelled training slices"):
        finetune(Encoder(SMALL_ENCODER), bare, validation, SMALL, tmp_path, SETTINGS)
