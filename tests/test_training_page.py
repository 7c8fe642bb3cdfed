"""The encoder page follows a pre-training on this server: where runs are, how far each is, and what is drawn."""

import io
import json
import os
import time
from pathlib import Path

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from sslmri.dashboard.encoder import runs, training
from sslmri.dashboard.encoder.messages import duration, run_sentence
from sslmri.dashboard.encoder.runs import find_runs, read_run
from sslmri.models.cards import ModelCard
from sslmri.models.folder import ENCODER_CARD
from sslmri.models.history import HISTORY_FILE, VIEWS_FILE
from tests.pages import open_page, words_of

PAGE = "pages/encoder.py"


def entry(epoch: int, std: float = 0.1) -> dict[str, object]:
    """Returns a line of history of an encoder with 64 features; evenly spread they have a deviation of 0.125."""
    measures = {"feature_std": std, "effective_rank": 20.0, "alignment": 0.3, "uniformity": -1.5, "feature_dim": 64}
    speed = {"seconds": 90.0, "seconds_left": 1530.0, "slices_per_s": 5.7, "learning_rate": 0.0008}
    knn = {"ms": 0.7} if epoch == 2 else None
    return {"epoch": epoch, "epochs": 20, "loss": 4.5, "batch_size": 64, **measures, **speed, "knn": knn}


def write_run(run: Path, entries: list[dict[str, object]], age_s: float = 0) -> Path:
    folder = run / "pretrain"
    folder.mkdir(parents=True)
    image = io.BytesIO()
    Image.new("L", (64, 16), 90).save(image, "PNG")
    (folder / VIEWS_FILE).write_bytes(image.getvalue())
    if entries:
        (folder / HISTORY_FILE).write_text("".join(json.dumps(one) + "\n" for one in entries))
    for path in folder.iterdir():
        os.utime(path, (time.time() - age_s,) * 2)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSLMRI_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_runs_are_found_below_the_named_folder_or_the_data_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_runs() == {}
    folder = write_run(root / "mine", [entry(1)])
    shared = write_run(root / "folds-of-mine" / "start", [])
    (root / "adopted" / "pretrain").mkdir(parents=True)  # an encoder that was trained elsewhere has no history
    assert find_runs() == {"mine": folder, "folds-of-mine/start": shared}
    monkeypatch.delenv("SSLMRI_RUNS")
    monkeypatch.setenv("SSLMRI_DATA_ROOT", str(root.parent))
    assert find_runs().keys() == {"mine", "folds-of-mine/start"}
    monkeypatch.delenv("SSLMRI_DATA_ROOT")
    monkeypatch.setattr(runs, "is_needed", lambda: False)  # which would read the settings of another folder
    monkeypatch.chdir(root.parent)
    assert find_runs().keys() == {"mine", "folds-of-mine/start"}
    monkeypatch.setattr(runs, "is_needed", lambda: True)
    assert find_runs() == {}


@pytest.mark.parametrize(
    ("epochs", "age_s", "state"),
    [(0, 60, "running"), (0, 4000, "stopped"), (3, 10, "running"), (3, 260, "running"), (3, 280, "stopped")],
)
def test_a_run_is_running_while_its_last_epoch_is_not_older_than_three(
    epochs: int, age_s: float, state: str, root: Path
) -> None:
    folder = write_run(root / "mine", [entry(epoch + 1) for epoch in range(epochs)], age_s)
    assert read_run(folder).state == state
    assert run_sentence(read_run(folder)).startswith(f"**{state.title()}**")
    (folder / ENCODER_CARD).write_text("{}")
    assert read_run(folder).state == "finished"


def test_a_run_that_goes_while_it_is_read_has_stopped(root: Path) -> None:
    assert read_run(root / "none" / "pretrain") == runs.Run([], None, "stopped")
    folder = write_run(root / "mine", [])
    (folder / HISTORY_FILE).write_bytes(b"\xff\xfe\n")
    assert read_run(folder).entries == []


def test_how_far_a_run_is_is_said_in_one_sentence(root: Path) -> None:
    running = read_run(write_run(root / "mine", [entry(3)]))
    assert run_sentence(running) == (
        "**Running**: epoch 3 of 20, loss 4.500, learning rate 0.0008, 5.7 slices per second, about 26 min left."
    )
    stopped = read_run(write_run(root / "other", [entry(3)], 4000))
    assert run_sentence(stopped).startswith("**Stopped** after epoch 3 of 20. The same command with --resume")
    assert (duration(1), duration(7200)) == ("1 min", "2 h")


def follow(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[AppTest, list[float | None]]:
    """Opens the page, chooses a run, and returns every how many seconds the page then looks at it."""
    every: list[float | None] = []
    fragment = st.fragment

    def noted(function=None, *, run_every=None, **named):
        every.append(run_every) if getattr(function, "__name__", "") == "_follow" else None
        return fragment(function, run_every=run_every, **named)

    monkeypatch.setattr(st, "fragment", noted)
    app = open_page(PAGE)
    next(box for box in app.selectbox if box.label == "Run").set_value(name).run()
    assert not app.exception
    return app, every


def test_the_page_follows_a_running_training_and_draws_what_tells_a_collapse(
    root: Path, configured: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(root / "mine", [entry(1), entry(2), entry(3)])
    app, every = follow(monkeypatch, "mine")
    assert every == [5]
    words = words_of(app)
    assert "Running" in words
    assert "epoch 3 of 20" in words
    for title in ("NT-Xent loss by epoch", "kNN probe by epoch", "Standard deviation of the features",
                  "Effective rank of the features", "Alignment and uniformity", "Sample views"):  # fmt: skip
        assert title in words
    assert "No sign of a collapse" in words


@pytest.mark.parametrize("entries", [[], [entry(1)]])
def test_a_run_that_stopped_is_shown_and_not_looked_at_again(
    entries: list, root: Path, configured: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(root / "mine", entries, 4000)
    app, every = follow(monkeypatch, "mine")
    assert every == [None]
    assert "Stopped" in words_of(app)
    assert "no validation groups" not in words_of(app)


def test_a_collapse_is_said_on_the_page(root: Path, configured: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(root / "mine", [entry(1, std=0.001)])
    app, _ = follow(monkeypatch, "mine")
    assert "The features have collapsed" in app.warning[0].value


def test_a_run_that_begins_while_the_page_is_open_is_listed(
    root: Path, configured: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, drawn_again = open_page(PAGE), []
    assert not app.selectbox
    write_run(root / "mine", [entry(1)])
    monkeypatch.setattr(st, "rerun", lambda: drawn_again.append(True))
    for known in ([], ["mine"], ["mine", "gone"]):
        training.look_for_runs(known)
    assert len(drawn_again) == 2
    assert "mine" in app.run().selectbox[0].options


def test_without_runs_there_is_nothing_to_choose(root: Path, configured: ModelCard) -> None:
    app = open_page(PAGE)
    assert not app.exception
    assert not app.selectbox
    assert "Features by epoch" in words_of(app)
