"""Screening and embedding of folders against the bare forward pass: ``python -m benchmarks.screen``.

All see the same images in batches of the same size, one after the other in every round, with the encoder that screens,
its batch norms folded into the convolutions. The bare pass starts from slices that are read and prepared already;
screening starts from files and ends with the lines that the command prints, embedding with the table of features. CPU
time is that of this process and of those that read for it.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import tyro

from benchmarks.images import write_images
from sslmri.learning.encoder import pool
from sslmri.learning.model import Model
from sslmri.learning.onnx_file import INPUT, Outputs
from sslmri.project import DEFAULT_MODEL
from sslmri.scans.slices import to_slices
from sslmri.screening.batch import BATCH_SCANS, screen_files
from sslmri.screening.embed import write_features
from sslmri.screening.report.export import json_line
from sslmri.screening.screener import Screener
from tests.harness.memory import below, forget_peak, peak_mb
from tests.harness.parsing import parse_scan

_KINDS = {128: ".jpg", 512: ".png"}


@dataclass(frozen=True)
class Settings:
    """Time screening and embedding of folders against the bare forward pass.

    Attributes:
        model: the model folder.
        files: images of each kind.
        scans: images of one's own, in place of those that are drawn.
        rounds: rounds after the one that warms up; the table shows their medians.
        onnx: also time this file, which ``sslmri export --onnx`` wrote of the same model, against torch.
    """

    model: Path = DEFAULT_MODEL
    files: int = 640
    scans: tuple[Path, ...] = ()
    rounds: int = 5
    onnx: Path | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints tables and, last, one line of JSON."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    figures: dict[str, float] = {}
    print(f"Batches of {BATCH_SCANS}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}.\n")
    print("| files | bare, slices/s | screening / bare, by CPU time | embedding / bare, by CPU time | embedding, MB |")
    print("|---|---|---|---|---|")
    model = Model.load(settings.model)
    model = replace(model, encoder=model.encoder.folded())
    if settings.scans:
        figures |= _row(settings, model, list(settings.scans), "own")
    for size, suffix in {} if settings.scans else _KINDS.items():
        with TemporaryDirectory() as folder:
            files = write_images(Path(folder), settings.files, size, suffix)
            figures |= _row(settings, model, files, f"{size}_px_{suffix[1:]}")
    if settings.onnx:
        figures |= compare_runtimes(model, settings.onnx, settings.rounds)
    print(json.dumps(figures))


def _row(settings: Settings, model: Model, files: list[Path], kind: str) -> dict[str, float]:
    """Prints the row of some files; returns its ratios, and how much more memory all take than a tenth of them."""
    screener = Screener.load(settings.model)
    preparation = model.card.encoder.preparation
    slices = np.concatenate([to_slices(parse_scan(file.read_bytes(), file.name), preparation) for file in files])
    with TemporaryDirectory() as folder:
        table = Path(folder) / "features.parquet"
        runs = (
            lambda: _bare(model, slices),
            lambda: _screen(screener, files),
            lambda: write_features(screener, files, table),
        )
        costs = _interleaved(runs, settings.rounds)
        peaks = []
        for part in (files[: len(files) // 10], files):
            forget_peak()
            write_features(screener, part, table)
            peaks.append(peak_mb())
    ratios = costs[:1] / costs  # (3, 2): of bare, screening and embedding, by wall-clock and by CPU time
    cells = [f"{wall:.3f}, {cpu:.3f}" for wall, cpu in ratios[1:]]
    memory = " to ".join(f"{peak:.0f}" for peak in peaks)
    print(f"| {len(files)} {kind} | {len(slices) / costs[0, 0]:.1f} | {' | '.join(cells)} | {memory} |", flush=True)
    rounded = ratios[1:].round(3).ravel().tolist()
    names = ("ours_over_bare", "ours_over_bare_cpu", "embed_over_bare", "embed_over_bare_cpu")
    figures = {f"{name}_{kind}": ratio for name, ratio in zip(names, rounded, strict=True)}
    return figures | {f"embed_growth_mb_{kind}": round(peaks[1] - peaks[0])}


def compare_runtimes(model: Model, path: Path, rounds: int) -> dict[str, float]:
    """Prints a row for each number of threads, of one batch in torch and in ONNX Runtime, and returns the ratios."""
    import onnxruntime  # an extra

    network, before = Outputs(model), torch.get_num_threads()
    figures: dict[str, float] = {}
    drawn = np.random.default_rng(0).integers(0, 256, (BATCH_SCANS, 1, *model.card.encoder.preparation.image_size))
    slices = drawn.astype(np.uint8)
    print("\n| threads | torch, ms | ONNX Runtime, ms | torch / ONNX Runtime, by CPU time | largest difference |")
    print("|---|---|---|---|---|")
    for threads in sorted({1, before}):
        torch.set_num_threads(threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        @torch.inference_mode()
        def in_torch() -> list[np.ndarray]:
            return [found.numpy() for found in network(torch.from_numpy(slices))]

        def in_onnx(session: onnxruntime.InferenceSession = session) -> list[np.ndarray]:
            return list(session.run(None, {INPUT: slices}))

        difference = max(np.abs(one - other).max() for one, other in zip(in_torch(), in_onnx(), strict=True))
        costs = _interleaved((in_torch, in_onnx), rounds)
        wall, cpu = costs[0] / costs[1]
        times = " | ".join(f"{1e3 * seconds:.0f}" for seconds in costs[:, 0])
        print(f"| {threads} | {times} | {wall:.2f}, {cpu:.2f} | {difference:.0e} |", flush=True)
        ratios = {f"torch_over_onnx_{threads}": wall, f"torch_over_onnx_cpu_{threads}": cpu}
        figures |= {name: round(float(ratio), 3) for name, ratio in ratios.items()}
    torch.set_num_threads(before)
    return figures


def _interleaved(runs: Sequence[Callable[[], object]], rounds: int) -> np.ndarray:
    """Returns the median seconds of each run after one round that warms up: (R, 2), wall-clock and CPU time."""
    costs = []
    for number in range(rounds + 1):
        costs.append([_cost(run) for run in runs])
        print(f"{'warm-up' if number == 0 else number}: {costs[-1]}", file=sys.stderr)
    return np.median(costs[1:], axis=0)


def _cost(run: Callable[[], object]) -> tuple[float, float]:
    started = time.perf_counter(), _cpu_seconds()
    run()
    return time.perf_counter() - started[0], _cpu_seconds() - started[1]


def _cpu_seconds() -> float:
    """Returns what this process and those below it have used."""
    seconds = time.process_time()
    for pid in below(os.getpid())[1:]:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


@torch.inference_mode()
def _bare(model: Model, slices: np.ndarray) -> None:
    for first in range(0, len(slices), BATCH_SCANS):
        pool(model.maps(slices[first : first + BATCH_SCANS]).last)


def _screen(screener: Screener, files: list[Path]) -> None:
    printed = [json_line(screener.card, entry, None) for entry, _ in screen_files(screener, files)]
    if any('"refused"' in line for line in printed):
        raise RuntimeError(f"Expected every image to be screened, got a refusal among {len(printed)}.")


if __name__ == "__main__":
    main()
