"""The same seed gives the same weights, and the shipped weights give the shipped results."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from sslmri.project import DEFAULT_MODEL
from sslmri.training.steps import run_evaluate, run_finetune, run_pretrain
from tests.harness.server import ROOT
from tests.soak.result import Row, row
from tests.soak.toy_training import (
    FINETUNE,
    PRETRAIN,
    fingerprint,
    options_of,
    run_to_the_end,
    scratch,
    write_cohort,
)

DATA = ROOT.parent / "shared" / "data" / "manifest.csv"
_LIMIT_S = 900


def same_seed(
    runs: Sequence[tuple[int, int]] = ((1, 1), (2, 1), (4, 1), (1, 2), (3, 2)),
    n_slices: int = 264,
    is_whole: bool = True,
) -> Row:
    """Returns the row of one training with one seed by any number of workers: store, weights, bank and figures.

    Args:
        runs: for each, the processes that prepare slices, and the threads of torch. With another number of threads
            sums are taken in another order and rounded otherwise: a run is compared with the first on as many.
        n_slices: of the cohort.
        is_whole: whether fine-tuning and evaluation follow pre-training.
    """
    first: dict[int, dict[str, str]] = {}
    faults, compared = [], 0
    with scratch() as folder:
        manifest = write_cohort(folder / "cohort", n_slices)
        for workers, threads in runs:
            found = _trained(manifest, folder / f"{workers}-{threads}", workers, threads, is_whole)
            compared += threads in first
            odd = _odd(first.setdefault(threads, found), found)
            faults += [f"{workers} workers on {threads} threads: another {', '.join(odd)}"] if odd else []
    listed = ", ".join(f"{workers} on {threads}" for workers, threads in runs)
    return row("same seed, same hashes for any number of workers", compared, faults, f"workers on threads: {listed}")


def shipped_figures(model: Path = DEFAULT_MODEL, data: Path = DATA, cache: Path = ROOT / ".cache") -> Row:
    """Returns the row of ``train.py evaluate --check`` on a model: each of its stored results, measured again.

    Args:
        model: its folder.
        data: the manifest it was trained and tested on.
        cache: where its prepared slices are, or will be.
    """
    hazard = "shipped results, measured again from the shipped weights"
    if not data.exists():
        return row(hazard, 0, [], "not tried: the real data is not on this machine")
    began = time.perf_counter()
    places = ["--data", str(data), "--run", str(model), "--cache", str(cache)]
    command = [sys.executable, "train.py", "evaluate", "--check", *places]
    own = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # as a user runs it
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if "The data were split again" in done.stderr:
        return row(hazard, 0, [], "not tried: the data were split again after this model was trained")
    said = re.search(r"all (\d+) values as stored", done.stdout)
    if done.returncode or said is None:
        return row(hazard, 1, [done.stderr[-500:]])
    seconds = time.perf_counter() - began
    return row(hazard, int(said[1]), [], f"equal but for rounding; {seconds:.0f} s")


def _trained(manifest: Path, folder: Path, workers: int, threads: int, is_whole: bool) -> dict[str, str]:
    """Returns the fingerprint of a training in a process of its own, with hashes of the store."""
    folder.mkdir()
    log, answer = folder / "log", folder / "answer.json"
    options = options_of(manifest, folder / "run", folder / "cache")

    def train() -> None:
        torch.set_num_threads(threads)
        os.cpu_count = lambda: workers
        run_pretrain(options, PRETRAIN)
        if is_whole:
            run_finetune(options, FINETUNE)
            run_evaluate(options)
        stored = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in options.cache.glob("store-*")}
        answer.write_text(json.dumps(stored | fingerprint(options.run)), encoding="utf-8")

    run_to_the_end(train, log)
    found: dict[str, str] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def _odd(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
