"""Screening of folders: prepared ahead by worker processes, in the order of the files, never silent about a fault."""

import csv
import dataclasses
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sslmri.cohorts.workers import AHEAD
from sslmri.errors import WorkerError
from sslmri.learning.cards import INTENDED_USE
from sslmri.scans.prepare import prepare_file
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation
from sslmri.screening import batch
from sslmri.screening.batch import csv_rows, overlay_png, screen_files
from sslmri.screening.screener import Screener, Screening
from tests.test_workers import die_while_preparing

SMALL = Preparation(image_size=(32, 32))


class Encoderless:
    """Stands in for a Screener: its screenings hold what a model would have seen, and no findings."""

    def __init__(self) -> None:
        self.card: Any = SimpleNamespace(encoder=SimpleNamespace(preparation=SMALL))

    def screen_slices(self, prepared: Sequence[tuple[Scan, np.ndarray, tuple[int, ...]]]) -> list[Screening]:
        return [
            Screening(scan.name, scan.sha256, "", "", own, numbers, len(scan.voxels), (), ())
            for scan, own, numbers in prepared
        ]


@pytest.fixture
def screener() -> Any:
    return Encoderless()


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Returns 100 pictures, the seventh of which is none."""
    rows, columns = np.mgrid[0:40, 0:40]
    disc = (rows - 20) ** 2 + (columns - 20) ** 2 < 200
    for number in range(100):
        noise = np.random.default_rng(number).integers(100, 250, (40, 40))
        Image.fromarray(np.where(disc, noise, 0).astype(np.uint8)).save(tmp_path / f"{number:03d}.jpg")
    (tmp_path / "006.jpg").write_bytes(b"<html>")
    return sorted(tmp_path.glob("*.jpg"))


@pytest.fixture
def workers_asked_for(monkeypatch) -> list[int]:
    """Returns the list of how many workers each screening starts, on a computer of two cores."""
    asked = []

    def watched(function: Any, tasks: Any, workers: int) -> Any:
        asked.append(workers)
        return in_order(function, tasks, workers)

    in_order = batch.in_order
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(batch, "in_order", watched)
    return asked


def test_workers_screen_what_the_calling_process_would_in_the_same_order(files, screener, workers_asked_for):
    outcomes = list(screen_files(screener, files))
    assert workers_asked_for == [2]
    assert [outcome.file for outcome in outcomes] == list(map(str, files))
    for path, outcome in zip(files, outcomes, strict=True):
        alone = prepare_file(path, SMALL)
        if isinstance(alone, str):
            assert (outcome.screening, outcome.reason) == (None, alone)
        else:
            assert outcome.screening is not None
            assert outcome.screening.sha256 == alone[0].sha256
            assert np.array_equal(outcome.screening.slices, alone[1])
    assert [outcome.file for outcome in outcomes if outcome.reason] == [str(files[6])]


@pytest.mark.parametrize("count", [0, 1, 16])
def test_a_few_files_start_no_worker(files, screener, workers_asked_for, count):
    assert len(list(screen_files(screener, files[:count]))) == count
    assert workers_asked_for == [1]


def test_no_more_files_are_prepared_than_the_encoder_will_soon_see(files, screener, monkeypatch):
    begun = []

    def counted(function: Any, tasks: Any, workers: int) -> Any:
        return in_order(function, (begun.append(len(task)) or task for task in tasks), workers)

    in_order = batch.in_order
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(batch, "in_order", counted)
    outcomes = screen_files(screener, files)
    next(outcomes)
    assert sum(begun) <= (2 * AHEAD + torch.get_num_threads() + 1) * 16 < len(files)
    outcomes.close()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_batches_side_by_side_leave_the_threads_as_they_were_and_change_no_answer(files, model_folder):
    screener = Screener.load(model_folder)
    together = {outcome.file: outcome for outcome in screen_files(screener, files)}
    assert torch.get_num_threads() == 2
    for path in files[::9]:
        alone = next(iter(screen_files(screener, [path])))
        assert (alone.reason is None) == (together[str(path)].reason is None)
        if alone.screening is not None:
            for mine, theirs in zip(alone.screening.findings, together[str(path)].screening.findings, strict=True):
                assert mine.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)


def test_a_killed_worker_ends_in_a_sentence_after_the_outcomes_before_it(
    files, screener, workers_asked_for, monkeypatch
):
    monkeypatch.setattr(batch, "prepare_files", die_while_preparing)
    outcomes = screen_files(screener, files)
    seen = []
    with pytest.raises(WorkerError, match="got one that was killed"):
        seen.extend(outcome.file for outcome in outcomes)
    assert workers_asked_for == [2]


def test_a_prepared_scan_keeps_what_is_known_of_it_but_not_its_voxels(files):
    found = prepare_file(files[0], SMALL)
    assert not isinstance(found, str)
    scan, slices, numbers = found
    assert scan.voxels.nbytes == 0
    assert len(scan.voxels) == 1
    assert numbers == (1,)
    assert (scan.name, scan.source, len(scan.sha256)) == ("000.jpg", "JPEG", 64)
    assert slices.shape == (1, 32, 32)
    assert {field.name for field in dataclasses.fields(scan)} >= {"spacing_mm", "orientation", "modality"}


def test_every_line_and_row_says_model_thresholds_and_notice(files, model_folder):
    screener = Screener.load(model_folder)
    printed = [outcome.to_json() for outcome in screen_files(screener, files[5:7])]
    assert [entry["notice"] for entry in printed] == [INTENDED_USE] * 2
    assert [entry["model_sha256"] for entry in printed] == [screener.card.sha256, None]
    rows = list(csv.DictReader(io.StringIO(csv_rows(printed))))
    for row, finding in zip(rows, printed[0]["findings"], strict=False):
        card = screener.card.heads[finding["disease"]]
        assert (finding["threshold_low"], finding["threshold_high"]) == (card.threshold_low, card.threshold_high)
        assert (row["threshold_low"], row["threshold_high"]) == (str(card.threshold_low), str(card.threshold_high))
        assert (row["model_sha256"], row["warnings"]) == (screener.card.sha256, " ".join(printed[0]["warnings"]))
    assert all(row["notice"] == INTENDED_USE for row in rows)
    assert rows[-1]["reason"] == printed[1]["reason"]


def test_a_head_that_does_not_apply_says_why_in_its_row(files, model_folder):
    outcome = next(screen_files(Screener.load(model_folder), files[:1])).to_json()
    outcome["findings"][0] |= {"applicable": False, "reason": "Every training slice was normal."}
    rows = list(csv.DictReader(io.StringIO(csv_rows([outcome]))))
    assert [row["reason"] for row in rows] == ["Every training slice was normal.", "", "", ""]


@pytest.mark.parametrize(("shape", "size"), [((496, 248), (256, 512)), ((32, 64), (512, 256)), ((40, 40), (512, 512))])
def test_an_overlay_keeps_the_proportions_of_the_slice(shape, size):
    finding: Any = SimpleNamespace(
        probabilities={"normal": 1.0},
        predicted="normal",
        key_slice=0,
        saliency=np.ones((1, 1, 4, 4)),
        saliency_scale=1.0,
    )
    screening: Any = SimpleNamespace(findings=(finding,), slices=np.zeros((1, *shape), np.uint8))
    assert Image.open(io.BytesIO(overlay_png(screening, 0))).size == size


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path):
    assert prepare_file(tmp_path / "none.png", SMALL) == (
        "none.png: Expected a readable file, got: No such file or directory."
    )
    buffer = io.BytesIO()
    Image.new("L", (40, 40)).save(buffer, "PNG")
    (tmp_path / "black.png").write_bytes(buffer.getvalue())
    assert "every pixel is alike" in str(prepare_file(tmp_path / "black.png", SMALL))
