"""Trainings whose disk fills up or becomes read-only: they end with one sentence and lose nothing."""

import io
import json
import random
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import train
from sslmri.errors import SslmriError
from tests.soak.failing import ROOMY, Disk, has_mounts, watch
from tests.soak.result import Row, is_plain_sentence, row
from tests.soak.toy_training import (
    FINETUNE,
    N_SLICES,
    PRETRAIN,
    arguments_of,
    epoch_of,
    fingerprint,
    finish,
    flags_of,
    left_over,
    run_to_the_end,
    scratch,
    start,
    write_cohort,
)

_NEEDED_KB = 160_000  # of a disk on which a pre-training ends
_FLAGS = {"pretrain": flags_of(PRETRAIN, "pretrain"), "evaluate": []}
_FLAGS["finetune"] = flags_of(FINETUNE, "finetune")
STEPS = ("pretrain", "finetune", "evaluate")
_BARS = ("pre-training", "fine-tuning", "preparing")


@dataclass(frozen=True)
class _Try:
    """One run of the command line on a disk that fails.

    Attributes:
        step: of training.
        state: folder with what is on the disk before.
        place: how many files are opened for writing before the disk fails; None: it is too small by itself.
        size: of the disk in bytes.
        is_read_only: whether the disk becomes read-only in place of full.
    """

    step: str
    state: Path
    place: int | None = 0
    size: int = ROOMY
    is_read_only: bool = False


def full_at_each_file(most: int = 8, steps: Sequence[str] = STEPS) -> Row:
    """Returns the row of a disk that is full from the first, second, third ... file on that a step writes.

    Args:
        most: places of a step that are tried, spread over all.
        steps: of training, beginning with the first.
    """
    with scratch() as folder:
        states, whole = _prepare(folder, steps)
        tries = []
        for step in steps:
            n_places = whole[step]["places"]
            chosen = sorted({n_places * i // min(most, n_places) for i in range(min(most, n_places))})
            tries += [_Try(step, states[step], place) for place in chosen]
        return _row("disk full from the n-th file on", tries, whole, folder)


def full_after(count: int = 20, seed: int = 0) -> Row:
    """Returns the row of disks of that many random sizes, from 4 KB on, all too small for a pre-training."""
    random_ = random.Random(seed)
    with scratch() as folder:
        states, whole = _prepare(folder, ("pretrain",))
        sizes = [int(1024 * _NEEDED_KB ** random_.uniform(0.12, 0.98)) for _ in range(count)]
        tries = [_Try("pretrain", states["pretrain"], None, size) for size in sizes]
        return _row("disk full after n KB", tries, whole, folder)


def read_only(steps: Sequence[str] = STEPS) -> Row:
    """Returns the row of a folder that is read-only from the start, with a begun training in it or none."""
    with scratch() as folder:
        states, whole = _prepare(folder, steps)
        tries = [_Try(state.split("-")[0], folder, is_read_only=True) for state, folder in states.items()]
        return _row("read-only folder", tries, whole, folder)


def _row(what: str, tries: list[_Try], whole: dict[str, Any], folder: Path) -> Row:
    """Returns the row of all tries."""
    is_real = has_mounts()
    faults = []
    for number, try_ in enumerate(tries):
        disk, answer = folder / f"disk-{number}", folder / f"answer-{number}"
        disk.mkdir()
        code = finish(start(lambda: _attempt(try_, disk, answer, is_real), folder / "log"))  # noqa: B023
        if code:
            faults.append(f"{try_}: the trial itself ended with {code}: {(folder / 'log').read_text()[-300:]}")
        else:
            found = json.loads(answer.read_text(encoding="utf-8"))
            place = "" if try_.place is None else f", file {try_.place}"
            told = _faults_of(found, whole[try_.step]["fingerprint"])
            faults += [f"{try_.step}{place}, {try_.size >> 10} KB: {'; '.join(told)}"] if told else []
    stands_in = "" if is_real else "no mounts here: files may not grow, or have lost the right to be written, instead"
    return row(f"{what}: exit 1, one sentence, nothing lost, resumes", len(tries), faults, stands_in)


def _faults_of(found: dict[str, Any], whole: dict[str, str]) -> list[str]:
    """Returns what did not hold in a try."""
    said, told = found["said"], []
    if found["code"] != 1:
        told.append(f"exit code {found['code']}")
    if len(said) != 1 or not said[0].startswith("error: ") or not is_plain_sentence(said[0]):
        told.append(f"said {said}")
    if found["damage"]:
        told.append(found["damage"])
    if found["left"]:
        told.append(f"left {found['left']}")
    if found["again"] != 0:
        told.append(f"did not go on once there was room: {found['said_again']}")
    elif found["fingerprint"] != whole:
        odd = [name for name, value in found["fingerprint"].items() if whole.get(name) != value]
        told.append(f"came to another {', '.join(odd)}")
    return told


def _attempt(try_: _Try, disk: Path, answer: Path, is_real: bool) -> None:
    """Runs the command line on a failing disk, looks at what is left, makes room and runs it again."""
    failing = Disk(disk, try_.size, is_real)
    copytree(try_.state, disk, dirs_exist_ok=True)
    epoch = epoch_of(disk / "run", try_.step, {})
    failing.fail(try_.place, try_.is_read_only)
    code, said = _command(try_.step, disk, try_.state.parent)
    damage = _damage(disk, try_.step, epoch)
    left = [path.name for path in left_over(disk)]
    failing.relieve()
    again, said_again = _command(try_.step, disk, try_.state.parent)
    found = {"code": code, "said": said, "damage": damage, "left": left, "again": again, "said_again": said_again}
    answer.write_text(json.dumps({**found, "fingerprint": fingerprint(disk / "run")}), encoding="utf-8")


def _command(step: str, disk: Path, folder: Path) -> tuple[int, list[str]]:
    """Returns the exit code of ``train.py``, and the lines on standard error that are no bars."""
    said = io.StringIO()
    sys.argv = arguments_of(step, folder / "cohort" / "manifest.csv", disk, _FLAGS[step])
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        try:
            code = train.main()
        except BaseException:
            code = 70
            traceback.print_exc()
    lines = (line.rpartition("\r")[2] for line in said.getvalue().split("\n"))
    return code, [line for line in lines if line.strip() and not line.startswith(_BARS)]


def _damage(disk: Path, step: str, epoch: int) -> str:
    """Returns what has been lost of what was on the disk before, empty if nothing has."""
    try:
        found = epoch_of(disk / "run", step, {})
    except SslmriError as error:
        return str(error)
    return f"epoch {found} after epoch {epoch}" if found < epoch else ""


def _prepare(folder: Path, steps: Sequence[str]) -> tuple[dict[str, Path], dict[str, Any]]:
    """Returns what is on the disk before each step, and amid it, and what each comes to on a disk without faults."""
    write_cohort(folder / "cohort", N_SLICES)
    states, whole, disk = {}, {}, folder / "disk"
    disk.mkdir()
    for step in steps:
        states[step] = folder / step
        copytree(disk, states[step])
        answer = folder / f"{step}.json"
        pending = folder / f"{step}-begun"
        run_to_the_end(lambda: _undisturbed(step, disk, pending, answer), folder / "log")  # noqa: B023
        whole[step] = json.loads(answer.read_text(encoding="utf-8"))
        if pending.exists():
            states[pending.name] = pending
    return states, whole


def _undisturbed(step: str, disk: Path, pending: Path, answer: Path) -> int:
    """Runs a step, counts the files it opens for writing, and keeps a copy of the disk from the midst of it."""
    seen: list[str] = []

    def look(path: str) -> None:
        seen.append(path)
        begun = {one for one in seen if Path(one).name.startswith(".history.jsonl-")}  # one for each epoch
        if len(begun) == 2 and not pending.exists():
            copytree(disk, pending, ignore=ignore_patterns(".*"))

    watch(disk, look)
    code, said = _command(step, disk, disk.parent)
    n_places = len(seen)
    print(said)
    answer.write_text(json.dumps({"places": n_places, "fingerprint": fingerprint(disk / "run")}), encoding="utf-8")
    return code
