"""Screening of folders: batches in parallel, in the order of the files, never silent about a fault."""

import csv
import dataclasses
import hashlib
import io
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sslmri.errors import ScanError
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import INTENDED_USE
from sslmri.scans.group_files import list_scans
from sslmri.scans.prepare import prepare_files
from sslmri.scans.slices import Preparation, PreparedScan
from sslmri.screening import batch
from sslmri.screening.batch import screen_files, write_overlays
from sslmri.screening.outcome import Outcome, Refusal, Screening, ScreeningArrays, ScreeningSummary
from sslmri.screening.report.export import json_line, report_csv
from sslmri.screening.report.images import scaled
from sslmri.screening.screener import Screener
from tests.harness.dicom_files import axial_series

SMALL = Preparation(image_size=(32, 32))


class Encoderless:
    """Stands in for a Screener: its screenings hold what a model would have seen, and no findings."""

    def __init__(self) -> None:
        self.card: Any = SimpleNamespace(encoder=SimpleNamespace(preparation=SMALL))

    def align(self, screening: Screening, read: Any, choice: Any) -> Screening:
        return screening

    def screen_slices(self, prepared: Sequence[PreparedScan]) -> list[Screening]:
        return [
            Screening(
                summary := ScreeningSummary(
                    sha256=scan.info.sha256,
                    model_sha256="",
                    created="",
                    slice_numbers=scan.slice_numbers,
                    n_file_slices=scan.info.n_slices,
                    spacing_mm=scan.info.spacing_mm,
                    orientation=scan.info.orientation,
                    modality=scan.info.modality,
                    source=scan.info.source,
                    sequence=None,
                    sequence_from=None,
                    is_brain_mri=None,
                    reason=None,
                    findings={},
                    warnings=(),
                ),
                ScreeningArrays(scan.slices, np.empty((len(scan.slices), 0), np.float32), {}, {}),
                summary,
            )
            for scan in prepared
        ]


@pytest.fixture
def screener() -> Any:
    return Encoderless()


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Returns 100 images, the seventh of which is none."""
    rows, columns = np.mgrid[0:40, 0:40]
    disc = (rows - 20) ** 2 + (columns - 20) ** 2 < 200
    for number in range(100):
        noise = np.random.default_rng(number).integers(100, 250, (40, 40))
        Image.fromarray(np.where(disc, noise, 0).astype(np.uint8)).save(tmp_path / f"{number:03d}.jpg")
    (tmp_path / "006.jpg").write_bytes(b"<html>")
    return sorted(tmp_path.glob("*.jpg"))


@pytest.mark.usefixtures("two_threads")
def test_scans_are_screened_in_their_order(files, screener):
    outcomes = list(screen_files(screener, files))
    assert [(entry.number, entry.file) for entry, _ in outcomes] == list(enumerate(map(str, files), start=1))
    for path, (entry, arrays) in zip(files, outcomes, strict=True):
        alone = prepare_files([path], SMALL)
        if isinstance(alone, PreparedScan):
            assert arrays is not None
            assert entry.outcome.sha256 == alone.info.sha256
            assert np.array_equal(arrays.slices, alone.slices)
        else:
            assert (entry.outcome.reason, arrays) == (alone.reason, None)
    assert [entry.file for entry, _ in outcomes if isinstance(entry.outcome, Refusal)] == [str(files[6])]


@pytest.mark.parametrize("count", [0, 1, 16])
def test_a_single_batch_is_screened(files, screener, count):
    assert len(list(screen_files(screener, files[:count]))) == count


@pytest.mark.usefixtures("two_threads")
def test_no_more_files_are_prepared_than_are_taken_soon(files, screener, monkeypatch):
    prepared = []

    def counted(scan: Any, preparation: Preparation) -> PreparedScan | ScanError:
        prepared.append(scan)
        return prepare_files(scan, preparation)

    monkeypatch.setattr(batch, "prepare_files", counted)
    outcomes = screen_files(screener, files)
    next(outcomes)
    assert len(prepared) <= 3 * 16 < len(files)
    outcomes.close()


def test_the_next_batch_is_read_while_one_is_in_the_encoder(files, screener, monkeypatch):
    is_read, screen_slices = threading.Event(), screener.screen_slices

    def prepared(scan: Any, preparation: Preparation) -> PreparedScan | ScanError:
        if scan[0] == files[16]:
            is_read.set()
        return prepare_files(scan, preparation)

    def screened(scans: list[PreparedScan]) -> list[Screening]:
        assert is_read.wait(60)
        return screen_slices(scans)

    monkeypatch.setattr(batch, "prepare_files", prepared)
    monkeypatch.setattr(screener, "screen_slices", screened)
    with batch._threads_of_a_batch(1):
        assert len(list(screen_files(screener, files[:17]))) == 17


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_batches_side_by_side_leave_the_threads_as_they_were_and_change_no_answer(files, model_folder):
    screener = Screener.load(model_folder)
    together = {entry.file: entry.outcome for entry, _ in screen_files(screener, files)}
    assert torch.get_num_threads() == 2
    for path in files[::9]:
        alone, among = next(screen_files(screener, [path]))[0].outcome, together[str(path)]
        assert type(alone) is type(among)
        if isinstance(alone, ScreeningSummary) and isinstance(among, ScreeningSummary):
            for key, finding in alone.findings.items():
                assert finding.probabilities == pytest.approx(among.findings[key].probabilities, abs=1e-5)


def test_a_prepared_scan_keeps_what_is_known_of_it(files):
    found = prepare_files(files[:1], SMALL)
    assert isinstance(found, PreparedScan)
    assert (found.info.name, found.info.source, found.info.n_slices) == ("000.jpg", "JPEG", 1)
    assert (found.slice_numbers, found.slices.shape) == ((1,), (1, 32, 32))


def silenced(summary: Outcome) -> ScreeningSummary:
    """Returns a summary in which only the first classifier was not assessed."""
    assert isinstance(summary, ScreeningSummary)
    findings = {
        key: dataclasses.replace(finding, verdict=Verdict.INCONCLUSIVE, reason=None)
        for key, finding in summary.findings.items()
    }
    first = next(iter(findings))
    findings[first] = dataclasses.replace(findings[first], verdict=Verdict.NOT_ASSESSED, reason="=Trained on normal.")
    return dataclasses.replace(summary, findings=findings)


def test_lines_and_rows_have_the_same_values_and_a_classifier_not_assessed_has_no_number(files, model_folder):
    card = (screener := Screener.load(model_folder)).card
    entries = [entry for entry, _ in screen_files(screener, files[5:7])]
    entries[0] = dataclasses.replace(entries[0], outcome=silenced(entries[0].outcome))
    lines = [json.loads(json_line(card, entry, None)) for entry in entries]
    rows = list(csv.DictReader(io.StringIO(report_csv(card, entries, None).decode())))
    assert [line["notice"] for line in lines] == [INTENDED_USE] * 2
    assert [line["model_sha256"] for line in lines] == [card.sha256] * 2
    for row, finding in zip(rows, lines[0]["findings"], strict=False):
        head = card.heads[finding["disease"]]
        assert (finding["flagged_from"], finding["not_flagged_below"]) == (head.threshold_high, head.threshold_low)
        for key in ("disease", "verdict", "flagged_from", "probability_any", "coverage", "peak", "key_slice"):
            assert row[key] == ("" if finding[key] is None else str(finding[key])), key
        assert (row["file"], row["warnings"]) == (str(files[5]), " ".join(lines[0]["warnings"]))
    assert all(row["notice"] == INTENDED_USE for row in rows)
    assert [row["reason"] for row in rows] == ["'=Trained on normal.", "", "", "", lines[1]["reason"]]
    numbers = [key for key in rows[0] if key.startswith(("probab", "peak", "top", "prediction", "coverage", "key"))]
    assert {rows[0][key] for key in numbers} == {""}
    assert all(row["probability_any"] and row["top_class"] for row in rows[1:4])


def test_a_classifier_that_was_not_assessed_has_no_overlay(files, model_folder, tmp_path):
    screener = Screener.load(model_folder)
    entry, arrays = next(screen_files(screener, files[:1]))
    assert arrays is not None
    silent = silenced(entry.outcome)
    write_overlays(tmp_path, screener.card, dataclasses.replace(entry, number=7, outcome=silent), arrays)
    assert {path.name for path in tmp_path.glob("0007-*.png")} == {f"0007-{key}.png" for key in silent.assessed}
    assert len(silent.assessed) == 3


@pytest.fixture
def mixed(tmp_path, files) -> list[Path]:
    """Returns two series in one folder, shuffled, the first of them in another folder as well, and an image."""
    voxels = np.stack([np.asarray(Image.open(path).convert("L")) for path in files[:4]]).astype(np.uint16)
    paths = []
    for folder, uid in (("a", "1.2.3"), ("a", "1.2.9"), ("b", "1.2.3")):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, data in axial_series(voxels, SeriesInstanceUID=uid, PixelSpacing=[4, 4]):
            paths.append(tmp_path / folder / f"{uid}-{name}.dcm")
            paths[-1].write_bytes(data)
    return [paths[5], *paths[:4], files[0], *paths[4:5], *paths[6:]]


def test_loose_files_of_one_series_in_one_folder_are_one_scan_in_the_place_of_the_first(mixed, screener):
    scans = list_scans(mixed)
    assert [len(scan) for scan in scans] == [4, 4, 1, 4]
    assert [scan[0] for scan in scans] == [mixed[0], mixed[1], mixed[5], mixed[-4]]
    entries = [entry for entry, _ in screen_files(screener, mixed)]
    assert [entry.n_files for entry in entries] == [4, 4, 1, 4]
    found = [entry.outcome for entry in entries if isinstance(entry.outcome, ScreeningSummary)]
    assert [screening.n_file_slices for screening in found] == [4, 4, 1, 4]
    assert [screening.source for screening in found] == ["DICOM", "DICOM", "JPEG", "DICOM"]
    assert found[1].sha256 == found[3].sha256 != found[0].sha256


def test_a_damaged_file_of_a_series_is_alone_and_refused_by_its_name(mixed, screener):
    mixed[1].write_bytes(mixed[1].read_bytes()[:140])
    refused = [entry for entry, _ in screen_files(screener, mixed) if isinstance(entry.outcome, Refusal)]
    assert [(entry.file, entry.n_files) for entry in refused] == [(str(mixed[1]), 1)]
    assert refused[0].outcome.reason


def test_a_refusal_has_the_hash_of_its_file_where_it_could_be_read(files, screener):
    refused, missing = (entry.outcome for entry, _ in screen_files(screener, [files[6], files[6].with_name("none")]))
    assert isinstance(refused, Refusal)
    assert refused.sha256 == hashlib.sha256(b"<html>").hexdigest()
    assert missing.sha256 is None


@pytest.mark.parametrize(("shape", "size"), [((496, 248), (256, 512)), ((32, 64), (512, 256)), ((40, 40), (512, 512))])
def test_a_image_keeps_the_proportions_of_the_slice(shape, size):
    assert scaled(np.zeros(shape, np.uint8), 512).size == size


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path):
    Image.new("L", (40, 40)).save(tmp_path / "black.png")
    missing, blank = (prepare_files([tmp_path / name], SMALL) for name in ("none.png", "black.png"))
    assert str(missing) == "none.png: The file cannot be read: No such file or directory."
    assert str(blank) == "black.png: The image is blank: all pixels have the same intensity."
