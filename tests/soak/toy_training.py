"""What the trials of training use: a synthetic cohort, a small encoder, and processes that can be killed."""

import hashlib
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm import tqdm

from sslmri.cohorts.manifest import write_manifest
from sslmri.diseases import DISEASES
from sslmri.learning.checkpoint import check_finite, load_checkpoint
from sslmri.learning.model import Model
from sslmri.learning.settings import FinetuneSettings, PretrainSettings, ViewSettings
from sslmri.models.architecture import Architecture
from sslmri.models.folder import MODEL_FILE, find_model
from sslmri.models.history import read_history
from sslmri.scans.slices import Preparation
from sslmri.training.options import RunOptions

SIDE = 32  # pixels of a slice
N_SLICES = 55  # of a cohort: every class of every disease, once in each of five folds
PREPARATION = Preparation(image_size=(SIDE, SIDE))
_ENCODER = Architecture(widths=(8, 128, 8, 512), blocks=(1, 1, 1, 1))  # a step takes 50 ms, a checkpoint has 90 MB
PRETRAIN = PretrainSettings(
    epochs=2, batch_size=8, probe_every=2, architecture=_ENCODER, views=ViewSettings(size=SIDE), device="cpu"
)
FINETUNE = FinetuneSettings(epochs=2, labels_per_class=4, batch_size=8, device="cpu")
_CLASSES = [(disease.key, label) for disease in DISEASES.values() for label in disease.classes]
_SCRATCH = 4 << 30  # bytes that a trial may need
_FIVE = 5  # groups a class: one for each fold


def picture(seed: int) -> bytes:
    """Returns a disc of noise on black whose intensities follow from the seed, as a small PNG."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] - SIDE // 2
    noise = np.random.default_rng(seed).integers(60, 250, (SIDE, SIDE))
    buffer = io.BytesIO()
    Image.fromarray(np.where(rows**2 + columns**2 < 160, noise, 0).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_cohort(folder: Path, n_slices: int) -> Path:
    """Returns the manifest of that many synthetic slices: every class of every disease, in five folds."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(n_slices):
        disease, label = _CLASSES[number % len(_CLASSES)]
        group = number // len(_CLASSES) % _FIVE
        name = f"{number:05d}.png"
        (folder / name).write_bytes(picture(number))
        own = {"path": name, "cohort": "noise", "disease": disease, "label": label, "slice": number, "fold": group}
        rows.append({**own, "group": f"{disease}-{label}-{group}"})
    write_manifest(folder / "manifest.csv", pd.DataFrame(rows))
    return folder / "manifest.csv"


def options_of(manifest: Path, run: Path, cache: Path) -> RunOptions:
    """Returns the options of a run that goes on where it stopped, or begins."""
    return RunOptions(data=manifest, run=run, resume=True, cache=cache, preparation=PREPARATION)


@contextmanager
def scratch() -> Iterator[Path]:
    """Gives a folder for the time of a trial: in memory where there is enough, for a disk that others use is slow."""
    shared = Path("/dev/shm")
    is_roomy = shared.is_dir() and os.statvfs(shared).f_bavail * os.statvfs(shared).f_frsize > _SCRATCH
    with TemporaryDirectory(prefix="sslmri-soak-", dir=shared if is_roomy else None) as name:
        yield Path(name)


def start(work: Callable[[], object], log: Path) -> int:
    """Returns the id of a fork of this process that does the work and exits with its result, its words in the log.

    The fork has one thread: so must have what torch did here before it.
    """
    torch.set_num_threads(1)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    tqdm.set_lock(RLock())  # processes share the parent's: one that is killed with it would stop all later ones
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        result = work()
        code = result if isinstance(result, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def flags_of(settings: PretrainSettings | FinetuneSettings, name: str) -> list[str]:
    """Returns the settings that are not the defaults as flags of the command line, under ``--name.``."""
    plain, flags = asdict(type(settings)()), []
    for key, value in asdict(settings).items():
        if isinstance(value, dict):
            changed = {f"{key}.{inner}": found for inner, found in value.items() if found != plain[key][inner]}
        else:
            changed = {key: value} if value != plain[key] else {}
        for flag, found in changed.items():
            flags += [f"--{name}.{flag}", *map(str, found if isinstance(found, tuple) else [found])]
    return [flag.replace("_", "-") if flag.startswith("--") else flag for flag in flags]


def arguments_of(step: str, manifest: Path, folder: Path, flags: Sequence[str]) -> list[str]:
    """Returns the command line of a step that goes on where it stopped, or begins, with run and cache in the folder."""
    places = ["--data", manifest, "--run", folder / "run", "--cache", folder / "cache", "--resume"]
    return ["train.py", step, *map(str, [*places, "--preparation.image-size", SIDE, SIDE]), *flags]


def finish(child: int) -> int:
    """Returns the exit code of a process that was started, negative for a signal, once it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_to_the_end(work: Callable[[], object], log: Path) -> None:
    """Does the work in a fork of this process.

    Raises:
        RuntimeError: it did not end well.
    """
    code = finish(start(work, log))
    if code:
        said = log.read_text(encoding="utf-8", errors="replace").strip()
        raise RuntimeError(f"Expected a training that ends, got code {code}: {said[-300:]}")


def epoch_of(run: Path, step: str, settings: Mapping[str, object]) -> int:
    """Returns the epoch of a step's checkpoint in a run folder, 0 where there is none.

    Raises:
        SslmriError: there is one, and it does not load or holds what is not finite; or the model does not load.
    """
    path = run / step / "checkpoint.pt"
    state = load_checkpoint(path, dict(settings)) if path.exists() else {"epoch": 0}
    check_finite(state)
    if (find_model(run) / MODEL_FILE).exists():
        Model.load(run)
    return int(state["epoch"])


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """Returns all tensors of a checkpoint, each under the path that leads to it."""
    found: dict[str, torch.Tensor] = {}

    def collect(value: Any, name: str) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                collect(inner, f"{name}.{key}")

    collect(torch.load(path, map_location="cpu", weights_only=True), "")
    return found


def fingerprint(run: Path) -> dict[str, str]:
    """Returns a hash of everything that a run learned: its checkpoints, its weights and its history, without times."""
    found = {}
    for path in sorted(run.rglob("*.safetensors")):
        found[str(path.relative_to(run))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(run.rglob("checkpoint.pt")):
        digest = hashlib.sha256()
        for name, tensor in sorted(tensors_of(path).items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        found[str(path.relative_to(run))] = digest.hexdigest()
    for path in sorted(run.rglob("history.jsonl")):
        timed = ("seconds", "seconds_left", "slices_per_s")
        lines = [{key: value for key, value in entry.items() if key not in timed} for entry in read_history(path)]
        found[str(path.relative_to(run))] = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    for path in sorted(run.rglob("metrics.json")):
        content = json.loads(path.read_text(encoding="utf-8")) | {"created": ""}
        found[str(path.relative_to(run))] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return found


def left_over(folder: Path) -> list[Path]:
    """Returns the temporary files below a folder that nobody will put in their place any more."""
    return [path for path in folder.rglob(".*") if path.is_file()]
