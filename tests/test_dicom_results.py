"""DICOM results: objects that other programs read, in the study of the scan, on its slices; nothing else names it."""

import io
import json
import shutil
import subprocess
import warnings
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from highdicom.seg import Segmentation
from highdicom.sr import EnhancedSR
from pydicom import dcmread
from pydicom.dataset import Dataset

from sslmri.errors import ScanError
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import INTENDED_USE
from sslmri.scans import read_files, read_headers, read_scan
from sslmri.scans.scan import Scan
from sslmri.scans.slices import head_mask, prepare_scan, shown_box
from sslmri.screening.maps import measure_map
from sslmri.screening.outcome import Entry, Finding, Review, Screening
from sslmri.screening.report.dicom import as_bytes, dicom_results, zipped
from sslmri.screening.report.images import key_images
from sslmri.screening.screener import Screener
from tests.dicom_series import PATIENT, PLANES, SPACING, STUDY, position, series
from tests.harness.dicom_files import enhanced

MAPPED = "tumours"


@pytest.fixture(scope="module")
def screener(model_folder) -> Screener:
    return Screener.load(model_folder)


@pytest.fixture(scope="module")
def files(head) -> list[tuple[str, bytes]]:
    return series(head)


def screened(screener: Screener, scan: Scan, **changes: Any) -> Screening:
    """Returns a screening in which one classifier found something in the middle slice, and no other was assessed.

    The map is one cell in the left half of the image.
    """
    card = screener.card
    prepared = prepare_scan(scan, card.encoder.preparation)
    screening = screener.screen_slices([prepared])[0]
    index = len(prepared.slices) // 2
    classes, summary = card.heads[MAPPED].classes, screening.summary
    maps = np.zeros_like(screening.arrays.saliency[MAPPED])
    maps[index, 1, *spot(maps)] = card.heads[MAPPED].saliency_scale
    measures = measure_map(maps[index, 1], head_mask(prepared.slices[index]), prepared.box, maps.max())
    finding = replace(
        summary.findings[MAPPED],
        verdict=Verdict.FLAGGED,
        probabilities=dict(zip(classes, (0.1, 0.7, 0.15, 0.05), strict=True)),
        prediction_set=(classes[1],),
        key_slice=prepared.slice_numbers[index],
        **measures,
        **changes,
    )
    findings = {
        key: finding if key == MAPPED else replace(other, verdict=Verdict.NOT_ASSESSED, reason="No T2.")
        for key, other in summary.findings.items()
    }
    arrays = replace(screening.arrays, saliency={**screening.arrays.saliency, MAPPED: maps})
    return replace(screening, summary=replace(summary, findings=findings), arrays=arrays)


def spot(maps: np.ndarray) -> tuple[int, int]:
    return maps.shape[-2] // 2, maps.shape[-1] // 3


def texts_of(report: Dataset) -> list[str]:
    """Returns the sentences of a structured report."""
    return [str(one.TextValue) for one in items_of(report) if "TextValue" in one]


def items_of(item: Dataset) -> list[Dataset]:
    """Returns the content items of a structured report."""
    parts = list(item.get("ContentSequence") or ())
    return [*parts, *(below for part in parts for below in items_of(part))]


def results_of(screener: Screener, files: list[tuple[str, bytes]], screening: Screening | None = None, **own: Any):
    """Returns the objects of a series, opened again, and its finding."""
    screening = screening or screened(screener, read_files(files) if len(files) > 1 else read_scan(files[0][1], "a"))
    summary, arrays = screening.summary, screening.arrays
    entry = Entry(1, summary, images=key_images(screener.card, summary, arrays), **own)
    made = dicom_results(screener.card, entry, arrays, read_headers(files), None)
    opened = {name: dcmread(io.BytesIO(as_bytes(one))) for name, one in made.items()}
    return opened, summary.findings[MAPPED]


@pytest.fixture(scope="module")
def results(screener, files) -> tuple[dict[str, Dataset], Finding]:
    return results_of(screener, files)


def test_every_object_is_of_the_patient_and_the_study_in_a_series_of_its_own(results):
    made, _ = results
    assert set(made) == {"findings", "report", f"map-{MAPPED}", "segments"}
    for one in made.values():
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyInstanceUID"):
            assert str(one[keyword].value) == PATIENT[keyword]
        assert "PatientComments" not in one
        assert "research use only" in one.SeriesDescription
    series_uids = {one.SeriesInstanceUID for one in made.values()} | {PATIENT["SeriesInstanceUID"]}
    assert len(series_uids) == len({one.SOPInstanceUID for one in made.values()}) + 1 == 5


def test_the_structured_report_says_all_of_a_finding_and_refers_to_its_key_slice(results, screener):
    made, finding = results
    groups = EnhancedSR.from_dataset(made["findings"]).content.get_image_measurement_groups()
    assert len(groups) == len(screener.card.heads)
    group = next(one for one in groups if one.finding_type.value == MAPPED)
    found = {one.name.value: one.value for one in group.get_measurements()}
    assert found["probability_any"] == pytest.approx(finding.probability_any, abs=1e-6)
    assert found[f"probability_{finding.top_class}"] == 0.7
    said = {one.name.value: one.value.value for one in group.get_qualitative_evaluations()}
    assert said == {"verdict": "flagged", "top_class": finding.top_class, "prediction_set": finding.top_class}
    assert [one.referenced_sop_instance_uid for one in group.source_images] == [f"{STUDY}.1.{finding.key_slice}"]
    other = next(one for one in groups if one.finding_type.value == "ms")
    assert not other.get_measurements()
    assert not other.source_images
    assert {INTENDED_USE, screener.card.sha256, "No T2."} <= set(texts_of(made["findings"]))
    assert made["findings"].PreliminaryFlag == "PRELIMINARY"


def test_a_reading_is_in_the_structured_report_with_initials(screener, files):
    review = Review("glioma", "seen on two slices", "AB", "2026-01-02T03:04:05+00:00")
    made, _ = results_of(screener, files, reviews={MAPPED: review})
    (said,) = [text for text in texts_of(made["findings"]) if text.startswith("Reading of AB, 2026-01-02 03:04")]
    assert "glioma. Agrees" in said
    assert said.endswith("seen on two slices")


def test_the_pdf_and_the_capture_are_whole(results, screener):
    made, finding = results
    assert made["report"].EncapsulatedDocument.startswith(b"%PDF")
    assert made["report"].MIMETypeOfEncapsulatedDocument == "application/pdf"
    capture = made[f"map-{MAPPED}"]
    assert capture.PatientOrientation == ["L", "P"]
    assert capture.BodyPartExamined == "BRAIN"  # not one of a pair: needs no laterality (PS3.3 C.7.3.1)
    assert f"Slice {finding.key_slice} of 40" in capture.ImageComments
    pixels = capture.pixel_array
    image = pixels[:-32].astype(int)
    coloured = np.ptp(image, axis=2) > 60
    x, y = finding.peak_xy or (0, 0)
    box = prepare_box(screener)
    row = int((y - box[0]) / box[2] * len(image))
    column = int((x - box[1]) / box[3] * image.shape[1])
    assert coloured[row, column]
    assert coloured.mean() < 0.2
    assert pixels[-32:].max() > 250  # the two lines of text


def prepare_box(screener: Screener) -> tuple[float, float, float, float]:
    return shown_box(np.zeros((96, 80), np.float32), SPACING, screener.card.encoder.preparation)


@pytest.mark.parametrize("plane", PLANES)
def test_the_segment_lies_where_the_map_is_in_the_patient_whatever_the_plane(plane, screener, head):
    made, finding = results_of(screener, series(head, plane))
    points = points_of(made["segments"])
    x, y = finding.peak_xy or (0, 0)
    peak = np.array(position(finding.key_slice - 1, y * 96 - 0.5, x * 80 - 0.5))
    assert np.abs(points - peak).max(axis=1).min() < 1.1  # half of a voxel
    assert np.abs(points[:, 2] - peak[2]).max() < 1e-3  # one slice of the axial volume
    region = head_mask(head[finding.key_slice - 1])
    assert len(points) / region.sum() == pytest.approx(finding.coverage, abs=0.02)
    assert len(images_in(made["findings"])) == plane.startswith("axial")  # no axial slice of another plane was acquired


def points_of(segments: Dataset) -> np.ndarray:
    """Returns where the pixels of a segment lie: (N, 3) mm to the patient's left, posterior and superior."""
    assert Segmentation.from_dataset(segments).number_of_segments == 1
    assert segments.FrameOfReferenceUID == PATIENT["FrameOfReferenceUID"]
    shared, points = segments.SharedFunctionalGroupsSequence[0], []
    directions = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    pixels = segments.pixel_array.reshape(-1, segments.Rows, segments.Columns)
    for frame, groups in zip(pixels, segments.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(frame)
        points.append(corner + np.stack([columns * spacing[1], rows * spacing[0]], axis=1) @ directions)
    return np.concatenate(points)


def test_a_map_of_the_aligned_brain_is_carried_back_to_the_slices_of_the_scan(screener, files):
    screening = screened(screener, read_files(files), is_aligned=True)
    own, index = screening.arrays, len(screening.arrays.slices) // 2
    to_scan = np.array([[0.4, 0, 0, 10], [0, 0.5, 0, 8], [0, 0, 0.5, 4], [0, 0, 0, 1.0]])
    aligned = replace(own, volume=np.zeros(own.slices.shape, np.float32), to_scan=to_scan)
    finding = replace(screening.summary.findings[MAPPED], key_slice=index + 1)
    summary = replace(screening.summary, findings={**screening.summary.findings, MAPPED: finding})
    made, _ = results_of(screener, files, replace(screening, summary=summary, arrays=replace(own, aligned=aligned)))
    maps = own.saliency[MAPPED]
    cells = zip(spot(maps), maps.shape[-2:], own.slices.shape[1:], strict=True)
    row, column = ((cell + 0.5) / count * n - 0.5 for cell, count, n in cells)
    expected = position(*(to_scan @ [index, row, column, 1])[:3])
    points = points_of(made["segments"])
    assert np.abs(points - expected).max(axis=1).min() < max(SPACING)
    assert np.unique(points[:, 2].round(3)).size == 1
    assert not images_in(made["findings"])


def images_in(report: Dataset) -> list[Dataset]:
    """Returns the references to images in a structured report."""
    return [one.ReferencedSOPSequence[0] for one in items_of(report) if "ReferencedSOPSequence" in one]


def test_a_multi_frame_file_gets_no_segment_and_one_line_says_so(screener, head):
    frames = enhanced(head.astype(np.uint16), [2.5 * i for i in range(40)], [1.0] * 40, **PATIENT)
    made, finding = results_of(screener, [("a", frames)])
    assert "segments" not in made
    line = "The scan is a multi-frame file: no segmentation of the maps was made."
    assert line in texts_of(made["findings"])
    (image,) = images_in(made["findings"])
    assert image.ReferencedFrameNumber == finding.key_slice


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({"FrameOfReferenceUID": None}, "The slices have no positions"),
        ({"ImagePositionPatient": None}, "The slices have no positions"),
        ({"SeriesInstanceUID": None}, "The files name a series each"),
    ],
)
def test_slices_that_no_segment_can_lie_on_get_one_line(tags, why, screener, head):
    files = series(head[10:30], **tags)
    if "SeriesInstanceUID" in tags:
        files = [series(head[10:30], SeriesInstanceUID=f"{STUDY}.5.{i}")[i] for i in range(20)]
    made, _ = results_of(screener, files)
    assert "segments" not in made
    assert [text for text in texts_of(made["findings"]) if text.startswith(why)]


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="dcmtk is not installed")
def test_dcmtk_reads_every_object(results, tmp_path):
    for name, one in results[0].items():
        (tmp_path / f"{name}.dcm").write_bytes(as_bytes(one))
        read = subprocess.run(["dcm2json", tmp_path / f"{name}.dcm"], capture_output=True, text=True, check=True)
        assert json.loads(read.stdout)["0020000D"]["Value"] == [STUDY]
    dump = subprocess.run(["dsrdump", "+Pl", tmp_path / "findings.dcm"], capture_output=True, text=True, check=True)
    assert INTENDED_USE in dump.stdout
    assert '(flagged,99SSLMRI,"Flagged")' in dump.stdout
    assert "E:" not in dump.stderr


def test_values_that_dicom_does_not_allow_are_left_out(screener, head):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom writing them
        files = series(head[10:30], PatientBirthDate="3 Feb", PatientSex="X", StudyID="9" * 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made, _ = results_of(screener, files)
    assert made["findings"].PatientSex == made["findings"].StudyID == made["report"].PatientBirthDate == ""


def test_a_zip_of_the_results_holds_each_as_a_file(results):
    with zipfile.ZipFile(io.BytesIO(zipped(results[0]))) as archive:
        assert set(archive.namelist()) == {f"{name}.dcm" for name in results[0]}


def test_headers_of_other_files_are_refused(screener, files, head):
    screening = screened(screener, read_files(files))
    with pytest.raises(ScanError, match="files changed"):
        dicom_results(
            screener.card, Entry(1, screening.summary), screening.arrays, read_headers(series(head[5:])), None
        )
