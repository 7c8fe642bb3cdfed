"""The screening page as a user meets it."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.runtime.uploaded_file_manager import DeletedFile
from streamlit.testing.v1 import AppTest

from sslmri.dashboard.screening.uploads import FileUpload
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES
from sslmri.evidence.verdict import Verdict
from sslmri.models.bank import BankCase
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Evidence, Metrics, find_evidence
from sslmri.models.metrics import Estimate, OperatingPoint, ThresholdMetrics, Thresholds
from sslmri.screening.outcome import Screening
from sslmri.screening.screener import Screener
from sslmri.screening.similar import SimilarCase
from tests.harness.dicom_files import axial_series
from tests.pages import PAGES, nifti, open_page, png, upload, words_of
from tests.viewer_payload import in_viewer

REASON = "Trained on axial T2 slices, and this scan resembles none of them."


@pytest.fixture
def changed(configured: ModelCard, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns a function after which every screening is changed by another one."""
    screen = Screener.screen
    return lambda how: monkeypatch.setattr(Screener, "screen", lambda *given: how(screen(*given)))


def silence(screening: Screening, *diseases: str, **changes: Any) -> Screening:
    """Returns a screening in which the classifiers of these diseases were not assessed."""
    findings = {
        key: replace(finding, verdict=Verdict.NOT_ASSESSED, reason=REASON) if key in diseases else finding
        for key, finding in screening.summary.findings.items()
    }
    return replace(screening, summary=replace(screening.summary, findings=findings, **changes))


def widget(widgets: Any, start: str) -> Any:
    return next(own for own in widgets if str(own.key).startswith(start))


def view(app: AppTest, index: int) -> None:
    """Opens one of several scans by its tile."""
    next(own for own in app.button if re.fullmatch(rf"view-.*-{index}", str(own.key))).click().run()


def test_upload_gets_one_card_a_disease_and_the_viewer(configured: ModelCard) -> None:
    app = upload(("slice.png", png()))
    assert not app.exception
    assert not app.error
    words = words_of(app)
    for disease in DISEASES.values():
        assert disease.title in words
        assert escape_markdown(disease.caveat) in words
    assert app.text[0].value == "slice.png"
    assert in_viewer(app).header["slices"] == [1]


def test_every_finding_says_the_grade_of_its_evidence_its_threshold_and_its_set(configured: ModelCard) -> None:
    metrics = find_evidence(configured, Metrics)
    assert metrics is not None
    app = upload(("slice.png", png()))
    words = words_of(app)
    folded = [own.label for own in app.expander if "insufficient evidence" in own.label]
    assert len(folded) == sum(result.grade.grade == "insufficient" for result in metrics.diseases.values())
    for result in metrics.diseases.values():
        assert f"{result.grade.grade.capitalize()} evidence" in words
    assert words.count(" \u00b7 flagged from ") == len(configured.heads)
    for key, screened in app.session_state["screenings"].items():
        sets = [finding.prediction_set for finding in screened.result.summary.findings.values()]
        assert words.count(escape_markdown("90 % set:")) == sum(own is not None for own in sets), key


def test_refused_file_leaves_one_sentence_and_the_others_go_on(configured: ModelCard) -> None:
    app = upload(("notes.png", b"just some notes"), ("slice.png", png()))
    assert not app.exception
    assert len(app.error) == 1
    assert "notes" in app.error[0].value
    assert app.text[0].value == "slice.png"


def test_second_file_never_shows_the_first_ones_name(configured: ModelCard) -> None:
    app = upload(("first.png", png(0)), ("second.png", png(3)))
    for index, name in ((1, "second.png"), (0, "first.png")):
        view(app, index)
        assert [text.value for text in app.text] == [name]


def test_show_map_switches_the_map(configured: ModelCard) -> None:
    app = upload(("slice.png", png()))
    other = next(button for button in app.button if button.label == "Show map")
    disease = str(other.key).split("-")[1]
    other.click().run()
    shown = next(button for button in app.button if button.label == "Map in view")
    assert str(shown.key).split("-")[1] == disease
    assert in_viewer(app).header["view"] == disease
    assert in_viewer(app).header["map"]["is_on"]  # though the disease is not flagged
    assert DISEASES[disease].title in in_viewer(app).header["map"]["title"]


def test_other_method_says_that_its_scale_is_relative(configured: ModelCard) -> None:
    app = upload(("slice.png", png()))
    widget(app.button, "show-ms-").click().run()
    widget(app.selectbox, "method-").set_value("layer-cam").run()
    assert "cannot be compared" in in_viewer(app).header["map"]["legend"]
    assert in_viewer(app).header["map"]["follows"]


def test_pages_of_a_tiff_are_numbered_as_in_the_file(configured: ModelCard) -> None:
    pages = [Image.open(io.BytesIO(png(seed))) for seed in range(5)]
    buffer = io.BytesIO()
    pages[0].save(buffer, format="TIFF", save_all=True, append_images=pages[1:])
    app = upload(("stack.tif", buffer.getvalue()))
    assert not app.exception
    header = in_viewer(app).header
    assert (header["analysed"], header["slices"], header["planes"][0]["shape"][0]) == ([2, 3, 4], [2, 3, 4], 5)
    assert len(header["strip"]["values"]) == 3
    words = words_of(app)
    assert escape_markdown("Analysed slices 2 to 4 of 5.") in words
    assert set(re.findall(r"on slice (\d+)", words)) <= {"2", "3", "4"}
    assert len(header["planes"]) == 1


def test_a_volume_is_viewed_in_three_planes_and_opens_where_the_class_is_most_probable(configured: ModelCard) -> None:
    header = in_viewer(upload(("brain.nii", nifti()))).header
    assert [plane["name"] for plane in header["planes"]] == ["axial", "coronal", "sagittal"]
    assert header["planes"][0]["shape"][0] == 16
    assert header["first"] in header["analysed"]


def test_loose_files_of_a_series_are_one_scan(configured: ModelCard) -> None:
    page = np.asarray(Image.open(io.BytesIO(png()))).astype(np.uint16)
    files = axial_series(np.stack([page * (3 + i % 2) for i in range(6)]))
    app = upload(*files[::-1], ("other.png", png(2)))
    assert not app.exception
    assert not app.error
    labels = [own.label for own in app.button if str(own.key).startswith("view-")]
    assert {label.partition("  ")[0] for label in labels} == {"DICOM series of 6 files", "other\\.png"}


def test_a_scan_is_still_open_when_its_reader_comes_back_from_another_page(configured: ModelCard) -> None:
    left = upload(("slice.png", png()))
    app = open_page(PAGES[0])  # with an empty uploader, as Streamlit draws it then
    app.session_state["uploads"] = left.session_state["uploads"]
    app.run()
    assert "Still open: 1 file" in words_of(app)
    assert app.text[0].value == "slice.png"
    next(button for button in app.button if button.label == "Close").click().run()
    assert not app.exception
    assert "Still open" not in words_of(app)
    assert not [text for text in app.text if text.value == "slice.png"]


def test_files_that_are_removed_from_the_uploader_are_not_open_any_more(configured: ModelCard) -> None:
    app = upload(("slice.png", png()))
    app.file_uploader[0].set_value([]).run()
    assert not app.exception
    assert "Still open" not in words_of(app)
    assert "uploads" not in app.session_state


def test_files_that_a_restarted_server_no_longer_has_are_said_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = DeletedFile("1")  # what Streamlit makes of a file that it does not know
    monkeypatch.setattr("streamlit.elements.widgets.file_uploader._get_upload_files", lambda _: [unknown])
    app = open_page(PAGES[0])
    assert not app.exception
    assert [warning.value for warning in app.warning if "Upload them again" in warning.value]


def test_a_class_without_training_example_is_named_on_the_card(
    configured: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslmri.models.cards.HeadCard.untrained", property(lambda head: head.classes[-1:]))
    words = words_of(upload(("slice.png", png())))
    assert escape_markdown("cannot be predicted: no training example") in words


def test_a_classifier_that_was_not_assessed_says_why_and_has_no_number_or_map(changed) -> None:
    changed(lambda screening: silence(screening, "ms"))
    app = upload(("slice.png", png()))
    assert escape_markdown(REASON) in words_of(app)
    assert "Not assessed: Multiple sclerosis." in words_of(app)
    assert not [own for own in (*app.button, *app.selectbox) if "-ms-" in str(own.key)]


def test_without_any_head_the_scan_stands_alone(changed) -> None:
    changed(lambda screening: silence(screening, *DISEASES))
    app = upload(("slice.png", png()))
    assert not app.exception
    assert "map" not in in_viewer(app).header
    assert words_of(app).count(escape_markdown(REASON)) == len(DISEASES)
    assert "probability" not in words_of(app)


def test_what_is_no_brain_gets_one_sentence_and_no_number(changed) -> None:
    sentence = "Not recognised as brain MRI. No classifier was run."
    changed(lambda own: silence(own, *DISEASES, is_brain_mri=False, reason=sentence))
    app = upload(("dog.png", png()))
    (warning,) = app.warning
    assert warning.value.startswith(escape_markdown(sentence))
    assert "map" not in in_viewer(app).header
    assert "probability" not in words_of(app)
    assert REASON not in words_of(app)


def test_ppv_and_npv_follow_the_prevalence_from_results_on_unseen_patients(configured, monkeypatch) -> None:
    """Sensitivity and specificity on the split that chose the thresholds are better, and never shown."""
    metrics = find_evidence(configured, Metrics)
    assert metrics is not None
    estimates = [Estimate(value, value, value, value, None) for value in (0.8, 0.9)]
    point = ThresholdMetrics(0.5, OperatingPoint(*estimates), OperatingPoint(*estimates[::-1]))
    diseases = {
        key: replace(result, thresholds=Thresholds(point, point), grade=replace(result.grade, grade="limited"))
        for key, result in metrics.diseases.items()
    }
    measured = replace(metrics, diseases=diseases)

    def find(card: ModelCard, kind: type[Evidence]) -> Evidence | None:
        return measured if kind is Metrics else find_evidence(card, kind)

    monkeypatch.setattr("sslmri.models.evidence.find_evidence", find)
    app = upload(("slice.png", png(1)))
    assert "PPV" not in words_of(app)
    widget(app.number_input, "prevalence").set_value(20.0).run()
    assert "PPV of *flagged* **0.67**, NPV of *not flagged* **0.95**" in words_of(app)
    app = upload(("brain.nii", nifti()))
    widget(app.number_input, "prevalence").set_value(20.0).run()
    assert "PPV of *flagged* **0.53**, NPV of *not flagged* **0.97**" in words_of(app)


def test_a_reading_goes_into_the_report_with_initials_and_stays_with_its_scan(configured: ModelCard) -> None:
    app = upload(("first.png", png(0)), ("second.png", png(3)))
    reading = widget(app.button_group, "reading-ms")
    assert len(reading.options) == len(DISEASES["ms"].classes) + 2
    reading.set_value("multiple_sclerosis").run()
    assert not app.exception
    assert "Add your initials to save a report with 1 reading." in words_of(app)
    assert all(button.disabled for button in app.get("download_button"))  # it would leave the reading out
    widget(app.text_input, "words-ms").set_value("seen on the next slice").run()
    widget(app.text_input, "initials-").set_value("AB").run()
    assert "In the report: 1 reading by AB." in words_of(app)
    assert not any(button.disabled for button in app.get("download_button"))
    before = next(own.key for own in app.button if str(own.key).startswith("view-"))  # the most urgent one is in view
    view(app, 1 - int(before[-1]))
    assert "In the report" not in words_of(app)
    view(app, int(before[-1]))
    assert "In the report: 1 reading by AB." in words_of(app)


def test_what_the_model_refuses_can_be_read_all_the_same(changed) -> None:
    changed(lambda own: silence(own, *DISEASES, is_brain_mri=False, reason="Not recognised as brain MRI."))
    app = upload(("dog.png", png()))
    keys = [str(own.key) for own in app.button_group]
    assert [key.split("-")[1] for key in keys if key.startswith("reading-")] == list(DISEASES)


@pytest.mark.parametrize("is_close", [True, False])
def test_similar_cases_say_class_cohort_distance_and_whether_they_are_close(is_close, configured, monkeypatch) -> None:
    slices = [BankCase("ms", "normal", f"cohort_{i}", f"g{i}", "train", f"{i}.png", None) for i in range(5)]
    cases = tuple(SimilarCase(slice_, 0.1 + 0.1 * i, 0) for i, slice_ in enumerate(slices))
    limits = dict.fromkeys(DISEASES, 0.16 if is_close else 0.06)
    monkeypatch.setattr(Screener, "bank", property(lambda screener: SimpleNamespace(close_match=limits)))
    monkeypatch.setattr("sslmri.screening.similar.similar_cases", lambda *arguments: cases)
    words = words_of(upload(("slice.png", png())))
    assert f"distance 0.50, {escape_markdown('cohort_4')}" in words
    assert f"close is below {0.16 if is_close else 0.06:.2f}" in words
    assert ("No close match" in words) is not is_close


def test_a_scan_of_the_cohort_page_is_screened_until_it_is_closed(configured: ModelCard) -> None:
    app = open_page(PAGES[0])
    app.session_state["handed_over"] = FileUpload("from a folder.png", png()).scans[0]
    app.run()
    assert [text.value for text in app.text] == ["from a folder.png"]
    next(button for button in app.button if button.label == "Close").click().run()
    assert not app.text
    assert "Drop a scan" in words_of(app)


def test_voxels_beyond_the_limit_are_dropped_and_read_again(configured: ModelCard, monkeypatch) -> None:
    monkeypatch.setattr("sslmri.dashboard.screening.state._MAX_VOXEL_BYTES", 1)
    app = upload(("first.png", png(0)), ("second.png", png(3)))
    for index, name in ((1, "second.png"), (0, "first.png")):
        view(app, index)
        assert not app.exception
        assert [scan.info.name for scan in app.session_state["scans"].values()] == [name]
