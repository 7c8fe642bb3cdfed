"""What can be watched of a pre-training: its measures are those of the papers, a collapse is said, events are kept."""

import math
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from sslmri.cohorts.store import Store
from sslmri.errors import TrainingError
from sslmri.learning.pretrain import pretrain
from sslmri.learning.progress import collapse_measures
from sslmri.models.history import MIN_RANK, MIN_STD, VIEWS_FILE, collapse_sentence, read_history
from tests.test_distributed import PREPARATION, SETTINGS, pool

N, K, D = 48, 24, 12


def random_pair(n: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, n, K, generator=generator), torch.randn(2, n, D, generator=generator)


def run(folder: Path, epochs: int = 2, has_events: bool = False) -> list[dict]:
    slices: Store = pool()
    pretrain(slices, (slices, slices), PREPARATION, folder, replace(SETTINGS, epochs=epochs), has_events=has_events)
    return read_history(folder / "history.jsonl")


def test_deviation_and_rank_are_those_of_a_loop_over_features_and_of_the_singular_values() -> None:
    features, projections = random_pair()
    found = collapse_measures(features, projections)
    rows = features[0].double().numpy()
    unit = [row / math.sqrt(sum(value**2 for value in row)) for row in rows]
    deviations = [np.std([row[k] for row in unit], ddof=1) for k in range(K)]
    assert found["feature_std"] == pytest.approx(sum(deviations) / K, abs=1e-5)
    values = np.linalg.svd(rows, compute_uv=False)
    entropy = -sum(p * math.log(p) for p in values / values.sum())
    assert found["effective_rank"] == pytest.approx(math.exp(entropy), abs=1e-4)


def test_alignment_and_uniformity_are_those_of_a_double_loop() -> None:
    features, projections = random_pair()
    found = collapse_measures(features, projections)
    first, second = ([z / np.linalg.norm(z) for z in view.double().numpy()] for view in projections)
    assert found["alignment"] == pytest.approx(
        np.mean([((a - b) ** 2).sum() for a, b in zip(first, second, strict=True)]), abs=1e-5
    )
    logs = [
        math.log(np.mean([math.exp(-2 * ((a - b) ** 2).sum()) for a, b in combinations(view, 2)]))
        for view in (first, second)
    ]
    assert found["uniformity"] == pytest.approx(np.mean(logs), abs=1e-5)


def test_evenly_spread_features_have_the_known_deviation_and_full_rank() -> None:
    features = torch.randn(2, 4096, K, generator=torch.Generator().manual_seed(0))
    found = collapse_measures(features, features[:, :64])
    assert found["feature_std"] == pytest.approx(1 / math.sqrt(K), rel=0.01)
    assert found["effective_rank"] == pytest.approx(K, rel=0.01)
    assert found["alignment"] > 1
    assert collapse_sentence(found) == ""


def test_a_collapse_to_one_point_is_said() -> None:
    features, projections = random_pair()
    found = collapse_measures(features * 1e-3 + 1, projections * 1e-3 + 1)
    assert found["feature_std"] < MIN_STD / math.sqrt(K)
    assert found["uniformity"] == pytest.approx(0, abs=1e-3)
    assert found["alignment"] == pytest.approx(0, abs=1e-3)
    assert collapse_sentence(found).startswith("The features have collapsed: different slices have nearly the same")


def test_a_collapse_into_a_few_directions_is_said() -> None:
    features, projections = random_pair()
    found = collapse_measures(features[:, :, :2] @ torch.randn(2, K), projections)
    assert found["feature_std"] > MIN_STD / math.sqrt(K)
    assert found["effective_rank"] < 2.01 < MIN_RANK
    assert collapse_sentence(found).startswith("The features have collapsed into ")


def test_features_that_are_all_zero_are_a_collapse_and_no_error() -> None:
    assert "have collapsed" in collapse_sentence(collapse_measures(torch.zeros(2, 4, K), torch.zeros(2, 4, D)))


def test_a_history_from_before_has_no_sentence() -> None:
    assert collapse_sentence({"epoch": 1, "loss": 3.0}) == ""


def test_a_collapse_is_said_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslmri.learning.pretrain.standardise", lambda images, _: torch.zeros_like(images))
    history = run(tmp_path)
    assert [entry["epoch"] for entry in history] == [1, 2]
    said = capsys.readouterr().out
    assert "epoch 1: The features have collapsed: " in said
    assert "epoch 2: The features have collapsed: " in said


def test_an_epoch_says_its_learning_rate_its_speed_and_the_time_left(tmp_path: Path) -> None:
    first, last = run(tmp_path)
    assert (first["epochs"], last["learning_rate"], last["seconds_left"]) == (2, 0, 0)
    assert first["learning_rate"] == SETTINGS.learning_rate
    assert first["seconds_left"] == pytest.approx(first["seconds"], abs=0.1)
    assert 16 / first["slices_per_s"] == pytest.approx(first["seconds"], abs=0.006)
    assert 1 < first["effective_rank"] <= 16


def test_sample_views_are_pairs_and_the_same_for_a_seed(tmp_path: Path) -> None:
    run(tmp_path / "a", 1), run(tmp_path / "b", 1)
    first, second = (np.asarray(Image.open(tmp_path / name / VIEWS_FILE)) for name in "ab")
    assert first.shape == (2 * 32, 8 * 32)
    assert np.array_equal(first, second)
    assert first.std() > 10


def events(folder: Path) -> list[tuple[str, int]]:
    """Returns tag and step of all scalars that TensorBoard keeps: what a later session begins with replaces theirs."""
    kept: list[tuple[str, int]] = []
    for path in sorted(folder.iterdir()):
        for event in LegacyEventFileLoader(str(path)).Load():
            if event.HasField("session_log"):
                kept = [(tag, step) for tag, step in kept if step < event.step]
            kept += [(value.tag, event.step) for value in event.summary.value]
    return kept


def test_events_have_each_epoch_once_though_one_was_written_before_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sslmri.learning.pretrain.save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, has_events=True)
    history = run(tmp_path, has_events=True)
    found = events(tmp_path / "tensorboard")
    assert len(set(found)) == len(found)
    assert sorted(step for tag, step in found if tag == "loss") == [1, 2]
    assert {"views", "effective_rank", "uniformity", "learning_rate"} <= {tag for tag, _ in found}
    assert {tag for tag, _ in found} >= history[0].keys() - {"epoch", "knn"}


def test_events_without_the_package_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match=r'^Expected the package tensorboard, got none: run `pip install "sslmri\['):
        run(tmp_path, has_events=True)
