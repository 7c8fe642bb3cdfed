"""Trainings killed at random moments: they go on where they stopped, to the weights of one that never was."""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import copytree

from sslmri.errors import SslmriError
from sslmri.learning.precision import with_precision
from sslmri.learning.settings import PretrainSettings
from sslmri.models.architecture import RESNET50
from sslmri.training.steps import run_finetune, run_pretrain
from tests.soak.result import Row, row
from tests.soak.toy_training import (
    FINETUNE,
    N_SLICES,
    PRETRAIN,
    epoch_of,
    fingerprint,
    finish,
    left_over,
    options_of,
    run_to_the_end,
    scratch,
    start,
    write_cohort,
)

_PRETRAIN, _FINETUNE = replace(PRETRAIN, epochs=3), replace(FINETUNE, epochs=3)
_KILLS_PER_RUN = 16  # then a run may end
_PAUSE_S = 0.0005  # between two looks for a save that begins
_LONGEST_S = 120.0  # that a process may take
_MOST_FAULTS = 20  # then there is no need for more kills


@dataclass(frozen=True)
class _Step:
    """A step of training, how it is run, and what it comes to when nobody stops it.

    Attributes:
        name: of the step and of its folder.
        settings: as a checkpoint has them.
        run: runs the step in a run folder.
        begun: a run folder before the step.
        whole: fingerprint of a run that was never stopped.
        seconds: that it took.
        n_bytes: of its checkpoint.
    """

    name: str
    settings: dict[str, object]
    run: Callable[[Path], object]
    pending: Path
    whole: dict[str, str]
    seconds: float
    n_bytes: int


@dataclass
class _Tally:
    """What has happened so far.

    Attributes:
        kills, in_saves: processes killed, and how many of them while a checkpoint was being written.
        runs: that ended after their kills.
        most_left: most temporary files that lay in a run folder at a time.
        faults: a line on each thing that did not hold.
    """

    kills: int = 0
    in_saves: int = 0
    runs: int = 0
    most_left: int = 0
    faults: list[str] = field(default_factory=list)


def killed(
    count: int = 200,
    least_in_saves: int = 50,
    steps: Sequence[str] = ("pretrain", "pretrain", "finetune"),
    is_small: bool = True,
    seed: int = 0,
) -> Row:
    """Returns the row of trainings killed that often by SIGKILL, every second time amid a save where one is met.

    After each kill the checkpoint is loaded; after its kills each run is finished and compared, bit for bit, with one
    never stopped: checkpoints with the state of the optimiser, encoder, heads, bank and history.

    Args:
        count: how many kills.
        least_in_saves: how many of them at least must have hit a checkpoint that was being written.
        steps: of the runs, in turn.
        is_small: whether the encoder is a small one; else it is ResNet-50: a checkpoint takes 300 MB and a second.
        seed: of the moments.
    """
    random_, tally = random.Random(seed), _Tally()
    pretraining = _PRETRAIN if is_small else replace(_PRETRAIN, architecture=RESNET50)
    with scratch() as folder:
        known = _steps(folder, pretraining, "finetune" in steps)
        while tally.kills < count and len(tally.faults) < _MOST_FAULTS:
            _live(known[steps[tally.runs % len(steps)]], folder / f"{tally.runs}" / "run", count, random_, tally)
    if tally.in_saves < least_in_saves:
        tally.faults.append(f"expected {least_in_saves} kills amid a save, got {tally.in_saves}")
    measured = f"{tally.in_saves} amid a save, {tally.runs} runs finished, {tally.most_left} left-over file(s) at most"
    encoder = "a small encoder" if is_small else "ResNet-50"
    return row(f"kill -9 of a training ({encoder}): resumes, bit-identical", tally.kills, tally.faults, measured)


def _steps(folder: Path, pretraining: PretrainSettings, with_finetune: bool) -> dict[str, _Step]:
    """Returns the steps by name, with what a run that is never stopped comes to."""
    manifest, cache = write_cohort(folder / "cohort", N_SLICES), folder / "cache"
    whole, empty, pretrained = folder / "whole" / "run", folder / "empty", folder / "pretrained"
    empty.mkdir()

    def pretrain(run: Path) -> None:
        run_pretrain(options_of(manifest, run, cache), pretraining)

    def finetune(run: Path) -> None:
        run_finetune(options_of(manifest, run, cache), _FINETUNE)

    _to_the_end(pretrain, whole)  # builds the store: later runs find it
    steps = {"pretrain": _step("pretrain", asdict(with_precision(pretraining)), pretrain, empty, whole)}
    if with_finetune:
        copytree(whole, pretrained)
        steps["finetune"] = _step("finetune", asdict(with_precision(_FINETUNE)), finetune, pretrained, whole)
    return steps


def _step(name: str, settings: dict[str, object], run: Callable[[Path], object], pending: Path, whole: Path) -> _Step:
    seconds = _to_the_end(run, whole)
    n_bytes = (whole / name / "checkpoint.pt").stat().st_size
    return _Step(name, settings, run, pending, fingerprint(whole), seconds, n_bytes)


def _to_the_end(run: Callable[[Path], object], folder: Path) -> float:
    """Returns the seconds that a run took which nobody stopped."""
    began = time.perf_counter()
    log = folder.with_suffix(".log")
    folder.mkdir(parents=True, exist_ok=True)
    run_to_the_end(lambda: run(folder), log)
    return time.perf_counter() - began


def _live(step: _Step, run: Path, count: int, random_: random.Random, tally: _Tally) -> None:
    """Starts a run, kills it again and again, lets it finish and looks at what became of it."""
    copytree(step.pending, run)
    log, epoch, code = run.with_suffix(".log"), 0, None
    for kill in range(_KILLS_PER_RUN + 1):
        known = set(left_over(run))
        child = start(lambda: step.run(run), log)
        if kill == _KILLS_PER_RUN or tally.kills == count:
            code = finish(child)
        else:
            code = _wait(child, step, run / step.name, known, random_)
        if code is not None:
            break
        tally.kills += 1
        tally.in_saves += any(".checkpoint.pt-" in path.name for path in set(left_over(run)) - known)
        epoch = _look(step, run, epoch, tally)
    tally.runs += 1
    tally.faults += _faults(step, run, code, f"{step.name} {tally.runs}")
    for path in sorted(run.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def _faults(step: _Step, run: Path, code: int | None, name: str) -> list[str]:
    """Returns a line on a run that ended with a code, if it is not what it is when nobody stops it."""
    if code:
        return [f"{name} ended with {code}: {_last_line(run.with_suffix('.log'))}"]
    if left_over(run):
        return [f"{name} left {left_over(run)[0].name}"]
    found = fingerprint(run)
    odd = sorted(own for own in found.keys() | step.whole.keys() if found.get(own) != step.whole.get(own))
    return [f"{name} came to another {', '.join(odd)}"] if odd else []


def _wait(child: int, step: _Step, folder: Path, known: set[Path], random_: random.Random) -> int | None:
    """Kills the process at a random moment, or aimed: once it has written a random share of a checkpoint.

    Returns the exit code of one that had ended by itself before, None of one that was killed; it is gone either way.
    """
    aimed = random_.random() < 0.6
    until = time.monotonic() + (_LONGEST_S if aimed else random_.uniform(0.0, 0.6 * step.seconds))
    passed = random_.choice((0, 0, 1))  # checkpoints that are let through
    share = random_.random()
    seen = {path.name for path in known}
    while time.monotonic() < until:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return finish(child)
        names = set(os.listdir(folder)) if folder.exists() else set()
        new = {name for name in names if name.startswith(".checkpoint.pt-")} - seen
        if aimed and new and passed:
            seen |= new
            passed -= 1
        elif aimed and any(_size(folder / name) >= share * step.n_bytes for name in new):
            break
        time.sleep(_PAUSE_S)
    os.kill(child, signal.SIGKILL)
    code = finish(child)  # its own where it ended since the last look
    return None if code == -signal.SIGKILL else code


def _size(path: Path) -> int:
    """Returns the bytes of a file, -1 where it has been put in its place meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _look(step: _Step, run: Path, epoch: int, tally: _Tally) -> int:
    """Returns the epoch of the checkpoint in a run folder just after a kill, and notes what is wrong there."""
    left = left_over(run)
    tally.most_left = max(tally.most_left, len(left))
    kinds = {path.name[: -len("-12345678")] for path in left}
    if len(kinds) < len(left):
        tally.faults.append(f"{len(left)} left-over files of {len(kinds)} kinds after kill {tally.kills}")
    try:
        found = epoch_of(run, step.name, step.settings)
    except SslmriError as error:
        tally.faults.append(f"after kill {tally.kills}: {error}")
        return epoch
    if found < epoch:
        tally.faults.append(f"epoch {found} after epoch {epoch}, after kill {tally.kills}")
    return found


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "nothing was said")
