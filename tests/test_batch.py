"""Screening of folders: prepared ahead by worker processes, in the order of the files, never silent about a fault."""

import csv
import dataclasses
import hashlib
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
from sslmri.models.cards import INTENDED_USE
from sslmri.scans.group_files import gather
from sslmri.scans.prepare import prepare_file
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation
from sslmri.screening import batch
from sslmri.screening.batch import csv_rows, overlay_png, screen_files, write_overlays
from sslmri.screening.report.report_data import Refusal
from sslmri.screening.screener import Screener, Screening
from tests.dicom_files import axial_series
from tests.test_workers import die_while_preparing_scans

SMALL = Preparation(image_size=(32, 32))


class Encoderless:
    """Stands in for a Screener: its screenings hold what a model would have seen, and no findings."""

    def __init__(self) -> None:
        self.card: Any = SimpleNamespace(encoder=SimpleNamespace(preparation=SMALL))

    def screen_slices(self, prepared: Sequence[tuple[Scan, np.ndarray, tuple[int, ...]]]) -> list[Screening]:
        return [
            Screening(
                name=scan.name,
                sha256=scan.sha256,
                model_sha256="",
                created="",
                slices=own,
                slice_numbers=numbers,
                n_file_slices=len(scan.voxels),
                spacing_mm=scan.spacing_mm,
                orientation=scan.orientation,
                modality=scan.modality,
                source=scan.source,
                not_brain_reason=None,
                features=np.empty((len(own), 0), np.float32),
                findings=(),
                warnings=(),
            )
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
    pending = []

    def counted(function: Any, tasks: Any, workers: int) -> Any:
        return in_order(function, (pending.append(len(task)) or task for task in tasks), workers)

    in_order = batch.in_order
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(batch, "in_order", counted)
    outcomes = screen_files(screener, files)
    next(outcomes)
    assert sum(pending) <= (2 * AHEAD + torch.get_num_threads() + 1) * 16 < len(files)
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
    monkeypatch.setattr(batch, "prepare_scans", die_while_preparing_scans)
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


def silenced(screening: Screening) -> Screening:
    """Returns a screening whose first finding does not apply, and all others do."""
    first, *others = screening.findings
    applying = [dataclasses.replace(finding, applicable=True, reason=None) for finding in others]
    silent = dataclasses.replace(first, applicable=False, reason="Every training slice was normal.")
    return dataclasses.replace(screening, findings=(silent, *applying))


def test_a_head_that_does_not_apply_says_why_in_its_row_and_has_no_number(files, model_folder):
    outcome = next(screen_files(Screener.load(model_folder), files[:1]))
    assert outcome.screening is not None
    printed = dataclasses.replace(outcome, screening=silenced(outcome.screening)).to_json()
    rows = list(csv.DictReader(io.StringIO(csv_rows([printed]))))
    assert [row["reason"] for row in rows] == ["Every training slice was normal.", "", "", ""]
    assert [rows[0][key] for key in ("predicted", "probability", "prediction_set", "status", "coverage")] == [""] * 5
    assert all(row["probability"] and row["prediction_set"] for row in rows[1:])


def test_a_head_that_does_not_apply_has_no_overlay(files, model_folder, tmp_path):
    outcome = next(screen_files(Screener.load(model_folder), files[:1]))
    assert outcome.screening is not None
    write_overlays(tmp_path / "maps", 7, silenced(outcome.screening))
    _, *others = outcome.screening.findings
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [f"0007-{f.disease}.png" for f in others]


@pytest.fixture
def mixed(tmp_path, files) -> list[Path]:
    """Returns two series in one folder, shuffled, the first of them in another folder as well, and a picture."""
    voxels = np.stack([np.asarray(Image.open(path).convert("L")) for path in files[:4]]).astype(np.uint16)
    paths = []
    for folder, uid in (("a", "1.2.3"), ("a", "1.2.9"), ("b", "1.2.3")):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, data in axial_series(voxels, SeriesInstanceUID=uid, PixelSpacing=[4, 4]):
            paths.append(tmp_path / folder / f"{uid}-{name}.dcm")
            paths[-1].write_bytes(data)
    return [paths[5], *paths[:4], files[0], *paths[4:5], *paths[6:]]


def test_loose_files_of_one_series_in_one_folder_are_one_scan_in_the_place_of_the_first(mixed, screener):
    scans = gather(mixed)
    assert [len(scan) for scan in scans] == [4, 4, 1, 4]
    assert [scan[0] for scan in scans] == [mixed[0], mixed[1], mixed[5], mixed[-4]]
    outcomes = list(screen_files(screener, mixed))
    assert [outcome.to_json()["n_files"] for outcome in outcomes] == [4, 4, 1, 4]
    found = [outcome.screening for outcome in outcomes if outcome.screening]
    assert [screening.n_file_slices for screening in found] == [4, 4, 1, 4]
    assert [screening.source for screening in found] == ["DICOM", "DICOM", "JPEG", "DICOM"]
    assert found[1].sha256 == found[3].sha256 != found[0].sha256


def test_a_damaged_file_of_a_series_is_alone_and_refused_by_its_name(mixed, screener):
    mixed[1].write_bytes(mixed[1].read_bytes()[:140])
    refused = [outcome for outcome in screen_files(screener, mixed) if outcome.reason]
    assert [outcome.files for outcome in refused] == [(mixed[1],)]
    assert str(refused[0].reason).startswith(f"{mixed[1].name}: Expected")


def test_what_a_report_keeps_of_a_refused_file_is_its_hash_and_a_sentence_without_its_name(files, screener):
    bad = files[6].rename(files[6].with_name("DOE^JANE.jpg"))
    refused, missing = (outcome.to_report() for outcome in screen_files(screener, [bad, bad.with_name("DOE.png")]))
    assert isinstance(refused, Refusal)
    assert isinstance(missing, Refusal)
    assert refused.sha256 == hashlib.sha256(b"<html>").hexdigest()
    assert missing.sha256 is None
    assert refused.reason.startswith("Expected a ")
    assert not any("DOE" in refusal.reason for refusal in (refused, missing))


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
