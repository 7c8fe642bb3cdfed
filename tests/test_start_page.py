"""The start of the screening page: results, gallery, and what a simulated patient opens with."""

from sslmri.cohorts.patients import PATIENTS
from sslmri.dashboard.text import escape_markdown
from sslmri.models.cards import ModelCard
from tests.pages import PAGES, open_page, png, upload, words_of
from tests.test_screening_page import widget
from tests.viewer_payload import in_viewer


def test_a_card_of_the_gallery_opens_a_simulated_patient_with_its_true_mask(configured: ModelCard) -> None:
    app = open_page(PAGES[0])
    assert "Simulated patients" in words_of(app)
    widget(app.button, "open-glioma").click().run()
    assert not app.exception
    assert "Simulated patient, Glioma" in words_of(app)
    assert not [button for button in app.button if str(button.key).startswith("open-")]
    assert escape_markdown("Truth: Glioma. Model: ") in words_of(app)
    header = in_viewer(app).header
    assert header["has_mask"]
    assert header["first"] in header["analysed"]


def test_the_start_says_what_this_is_and_how_good(configured: ModelCard) -> None:
    app = open_page(PAGES[0])
    assert "4 diseases" in words_of(app)
    assert words_of(app).count("AUROC") == 3
    assert not app.get("bidi_component")  # until the server has screened the example
    assert len([button for button in app.button if str(button.key).startswith("open-")]) == len(PATIENTS)


def test_a_refused_file_leaves_the_gallery(configured: ModelCard) -> None:
    app = upload(("notes.png", b"just some notes"))
    assert len(app.error) == 1
    assert len([button for button in app.button if str(button.key).startswith("open-")]) == len(PATIENTS)


def test_a_healthy_patient_and_a_file_have_no_true_outline(configured: ModelCard) -> None:
    app = open_page(PAGES[0])
    widget(app.button, "open-healthy").click().run()
    assert not in_viewer(app).header["has_mask"]
    widget(app.button, "close-patient").click().run()
    assert widget(app.button, "open-healthy")
    assert not in_viewer(upload(("slice.png", png()))).header["has_mask"]
