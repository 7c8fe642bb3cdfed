"""A model folder is written once: it appears whole, and a process killed at any moment leaves the old or the new."""

import errno
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sslmri.models import folder as folder_module
from sslmri.models import integrity
from sslmri.models.cards import FORMAT, Counts, HeadCard
from sslmri.models.convert import convert_model
from sslmri.models.folder import (
    BANK_CARD,
    BANK_FILE,
    ENCODER_CARD,
    MODEL,
    MODEL_FILE,
    find_model,
    read_model_card,
    replaced,
    write_card,
    write_model_file,
)
from tests.former_model import write_former_model

_WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.chmod", "shutil.rmtree", "shutil.copytree"}


@pytest.fixture
def whole(tmp_path) -> Path:
    """Returns a model folder with a gate bank and evidence, all of it small."""
    folder = tmp_path / "whole"
    write_former_model(folder)
    card = read_model_card(convert_model(folder))
    (folder / "evidence").mkdir()
    (folder / "evidence" / "metrics.json").write_text("{}")
    for name in (BANK_FILE, BANK_CARD):
        (folder / name).write_text("{}")
    write_model_file(folder, "old", card.training, card.created)
    return folder


def write_again(source: Path, folder: Path, name: str, is_kept: bool) -> None:
    """Writes a model, a copy of the source under another name, in the place of a folder."""
    card = read_model_card(source)
    with replaced(folder, is_kept) as new:
        if not is_kept:
            shutil.copytree(source, new, ignore=shutil.ignore_patterns("evidence"), dirs_exist_ok=True)
        write_model_file(new, name, card.training, card.created)


def killed_after(source: Path, folder: Path, is_kept: bool, n_writes: int) -> bool:
    """Returns whether a process that writes a model again was killed at its write of that number."""
    child = os.fork()
    if not child:
        count = 0

        def kill(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            is_write = event in _WRITES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 3)
            count += bool(is_write)
            if count > n_writes:
                os._exit(9)

        sys.addaudithook(kill)
        try:
            write_again(source, folder, "new", is_kept)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def name_of_gated(run: Path) -> str:
    """Returns the name of the model in a run, which has its gate, or ``none`` where there is no model."""
    if not (find_model(run) / MODEL_FILE).exists():
        return "none"
    card = read_model_card(run)
    return card.name if BANK_FILE in card.files else f"{card.name} without its gate"


@pytest.mark.parametrize(("is_there", "is_kept"), [(False, False), (True, False), (True, True)])
def test_a_kill_at_any_write_leaves_no_model_the_old_or_the_new_and_never_one_without_its_gate(
    whole, tmp_path, is_there, is_kept
):
    names, n_writes = [], 0
    while True:
        run = tmp_path / f"run-{n_writes}"
        run.mkdir()
        if is_there:
            shutil.copytree(whole, run / MODEL, copy_function=os.link)
        was_killed = killed_after(whole, run / MODEL, is_kept, n_writes)
        names.append(name_of_gated(run))
        if not was_killed:
            break
        write_again(whole, run / MODEL, "again", is_kept=False)
        assert read_model_card(run).name == "again"
        assert sorted(path.name for path in run.iterdir()) == [MODEL]
        shutil.rmtree(run)
        n_writes += 1
    former = "old" if is_there else "none"
    assert n_writes > 20
    assert names == [former] * names.count(former) + ["new"] * names.count("new")
    assert names[-1] == "new"


def test_an_error_leaves_the_model_as_it_was_and_nothing_else(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "run" / MODEL))
    before = read_model_card(folder).sha256

    def fail() -> None:
        with replaced(folder) as new:
            (new / MODEL_FILE).unlink()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert read_model_card(folder.parent).sha256 == before
    assert [path.name for path in folder.parent.iterdir()] == [MODEL]


@pytest.mark.parametrize("n_read", range(1, 5))
def test_a_model_that_is_replaced_while_it_is_read_is_read_again(n_read, whole, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(whole, tmp_path / "run" / MODEL))
    read, names = integrity.read_bounded, []

    def read_then_replace(*arguments: str) -> bytes:
        names.append(arguments[1])
        if len(names) == n_read + 1:
            write_again(whole, folder, "new", is_kept=False)
            write_card(folder / ENCODER_CARD, replace(read_model_card(whole).encoder, created="later"))
            card = read_model_card(whole)
            write_model_file(folder, "new", card.training, card.created)
        return read(*arguments)

    monkeypatch.setattr(integrity, "read_bounded", read_then_replace)
    monkeypatch.setattr(folder_module, "read_bounded", read_then_replace)
    card = read_model_card(folder)
    assert (card.name, card.encoder.created) == ("new", "later")


def test_a_disk_that_is_full_when_files_are_linked_leaves_the_model_and_nothing_else(whole, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = Path(shutil.copytree(whole, tmp_path / "run" / MODEL))
    for module, name in ((os, "link"), (shutil, "copy2")):
        monkeypatch.setattr(module, name, full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_again(whole, folder, "new", is_kept=True)
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in folder.parent.iterdir()] == [MODEL]


def test_evidence_stays_with_a_model_that_is_written_again(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "run" / MODEL))
    metrics = (folder / "evidence" / "metrics.json").read_bytes()
    write_again(whole, folder, "new", is_kept=False)
    assert (folder / "evidence" / "metrics.json").read_bytes() == metrics
    assert find_model(folder.parent) == find_model(folder) == folder


@pytest.fixture
def head(whole) -> HeadCard:
    return read_model_card(whole).heads["ms"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"saliency_scale": 0.0}, "greater than 0"), ({"calibration_temperature": float("nan")}, "finite"),
        ({"threshold_low": 0.9, "threshold_high": 0.1}, "not above"), ({"threshold_high": 1.1}, "less than or equal"),
        ({"classes": ("multiple_sclerosis", "normal")}, "classes in order"), ({"disease": "flu"}, "known disease"),
        ({"set_thresholds": {}}, "each class"), ({"regime": "other"}, "fine-tune"), ({"counts": {}}, "each class"),
        ({"finetuning": {"epochs": float("inf")}}, "JSON"), ({"encoder_sha256": "7"}, "match pattern"),
    ],
)  # fmt: skip
def test_a_card_that_would_be_refused_when_read_cannot_be_made(head, changed, message):
    with pytest.raises(ValueError, match=message):
        replace(head, **changed)


def test_a_card_comes_back_as_it_was_written(head, whole, tmp_path):
    copied = Path(shutil.copytree(whole, tmp_path / "model"))
    written = replace(head, counts={label: {"train": Counts(0, 0)} for label in head.classes})
    write_card(copied / "heads" / "ms.json", written)
    card = read_model_card(whole)
    write_model_file(copied, "other", card.training, card.created, "A note.")
    again = read_model_card(copied)
    assert (again.heads["ms"], again.name, again.evidence_note) == (written, "other", "A note.")
    assert (again.encoder, again.heads["ms"].untrained) == (card.encoder, head.classes)
    assert FORMAT in (copied / MODEL_FILE).read_text()
