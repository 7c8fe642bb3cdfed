"""NaN and infinities put into a training: it stops within that step, and nothing on the disk holds one."""

import gc
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import torch
from safetensors.torch import load_file
from torch.optim import AdamW

from sslmri.errors import TrainingError
from sslmri.learning import finetune, pretrain
from sslmri.learning.views import augment, make_views
from sslmri.training.options import RunOptions
from sslmri.training.steps import run_finetune, run_pretrain
from tests.soak.result import Row, is_plain_sentence, row
from tests.soak.toy_training import (
    FINETUNE,
    N_SLICES,
    PRETRAIN,
    finish,
    options_of,
    run_to_the_end,
    scratch,
    start,
    tensors_of,
    write_cohort,
)

KINDS = ("view", "weight", "statistics", "gradient", "optimiser")
_VALUES = (math.nan, math.inf, -math.inf)
_STEPS: dict[str, Callable[[RunOptions], object]] = {
    "pretrain": lambda options: run_pretrain(options, PRETRAIN),
    "finetune": lambda options: run_finetune(options, FINETUNE),
}
_N_STEPS = 6  # of the optimiser in a whole training of either kind


@dataclass(frozen=True)
class _Fault:
    """A value that is not finite, and where and when it gets into a training.

    Attributes:
        step: of training.
        kind: out of KINDS.
        value: that is put there.
        at: how many steps of the optimiser are begun by then; the optimiser has a state from the second on.
        seed: of the tensor and the place in it.
    """

    step: str
    kind: str
    value: float
    at: int
    seed: int


def not_finite(count: int = 60, kinds: Sequence[str] = KINDS, seed: int = 0) -> Row:
    """Returns the row of that many trainings into which one value is put that is not finite, at a random step."""
    random_, faults = random.Random(seed), []
    with scratch() as folder:
        manifest, pending, run = write_cohort(folder / "cohort", N_SLICES), folder / "begun", folder / "run"
        options = options_of(manifest, pending, folder / "cache")
        run_to_the_end(lambda: run_pretrain(options, PRETRAIN), folder / "log")
        for number in range(count):
            step, kind = tuple(_STEPS)[number % 2], kinds[number // 2 % len(kinds)]
            value, at = random_.choice(_VALUES), random_.randint(2, _N_STEPS)
            told = _try(_Fault(step, kind, value, at, number), options_of(manifest, run, folder / "cache"), pending)
            faults += [f"{step}, {value} in a {kind} at step {at}: {'; '.join(told)}"] if told else []
    return row("NaN or infinity in a training: stops within the step, none on the disk", count, faults)


def _try(fault: _Fault, options: RunOptions, pending: Path) -> list[str]:
    """Returns what did not hold when a training met the fault."""
    if fault.step == "finetune":
        copytree(pending, options.run)
    answer, log = options.run.with_suffix(".json"), options.run.with_suffix(".log")
    log.unlink(missing_ok=True)
    code = finish(start(lambda: _meet(fault, options, answer), log))
    if code:
        told = [f"ended with {code}: {log.read_text(encoding='utf-8')[-200:]}"]
    else:
        found = json.loads(answer.read_text(encoding="utf-8"))
        told = [] if is_plain_sentence(found["said"]) else [f"said {found['said']!r}"]
        told += [f"went on to step {found['steps']}"] if found["steps"] > fault.at else []
        told += [] if found["is_met"] else ["the fault was never put there"]
    told += [f"{path.name} is not finite" for path in sorted(options.run.rglob("*")) if not _is_finite(path)]
    rmtree(options.run, ignore_errors=True)
    return told


def _meet(fault: _Fault, options: RunOptions, answer: Path) -> None:
    """Runs the step with the fault in it and writes how it ended."""
    met: dict[str, Any] = {"said": "", "steps": 0, "is_met": False}
    optimisers: list[AdamW] = []
    real_step, real_init = AdamW.step, AdamW.__init__
    number = random.Random(fault.seed)

    def keep(self: AdamW, *arguments: Any, **named: Any) -> None:
        real_init(self, *arguments, **named)
        optimisers.append(self)

    def step(self: AdamW, *arguments: Any) -> object:
        met["steps"] += 1
        if met["steps"] == fault.at and fault.kind in ("gradient", "optimiser"):
            _spoil(_tensors(fault.kind, self), fault.value, number)
            met["is_met"] = True
        return real_step(self, *arguments)

    def spoilt(real: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def make(*arguments: Any) -> torch.Tensor:
            made = real(*arguments)
            if met["steps"] == fault.at - 1 and fault.kind in ("view", "weight", "statistics"):
                _spoil([made] if fault.kind == "view" else _tensors(fault.kind, optimisers[-1]), fault.value, number)
                met["is_met"] = True
            return made

        return make

    for owner, name, changed in (
        (AdamW, "__init__", keep),
        (AdamW, "step", step),
        (pretrain, "make_views", spoilt(make_views)),
        (finetune, "augment", spoilt(augment)),
    ):
        setattr(owner, name, changed)  # in this process alone, which ends after it
    try:
        _STEPS[fault.step](options)
    except TrainingError as error:
        met["said"] = str(error)
    answer.write_text(json.dumps(met), encoding="utf-8")


def _tensors(kind: str, optimiser: AdamW) -> list[torch.Tensor]:
    """Returns the tensors of a training out of which one is spoilt."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    if kind == "weight":
        return [weight.data for weight in weights]
    if kind == "gradient":
        return [weight.grad for weight in weights if weight.grad is not None]
    if kind == "optimiser":
        return [state[name] for state in optimiser.state.values() for name in ("exp_avg", "exp_avg_sq")]
    layers = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.nn.BatchNorm2d)]  # no dead proxy
    trained = {id(weight) for weight in weights}
    return [layer.running_var for layer in layers if id(layer.weight) in trained and layer.running_var is not None]


def _spoil(tensors: list[torch.Tensor], value: float, random_: random.Random) -> None:
    chosen = random_.choice(tensors)
    chosen[tuple(random_.randrange(length) for length in chosen.shape)] = value


def _is_finite(path: Path) -> bool:
    """Returns whether a file of a run holds finite numbers only."""
    if path.suffix in (".json", ".jsonl"):
        return not any(word in path.read_text(encoding="utf-8") for word in ("NaN", "Infinity"))
    if path.name == "checkpoint.pt":
        tensors = tensors_of(path)
    else:
        tensors = load_file(path) if path.suffix == ".safetensors" else {}
    return all(bool(torch.isfinite(values).all()) for values in tensors.values() if values.is_floating_point())
