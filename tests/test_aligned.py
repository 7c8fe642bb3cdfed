"""Findings of the aligned brain: who gets them, what they show, and what is said where there is none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sslmri.errors import ScanError
from sslmri.evidence.verdict import Verdict
from sslmri.scans.atlas import AlignedBrain
from sslmri.scans.atlas.slab import PIXEL_ASPECT
from sslmri.scans.atlas.ventricles import Line, Ventricles
from sslmri.scans.prepare import prepare_aligned, turned
from sslmri.scans.scan import SEQUENCES, Scan
from sslmri.scans.slices import prepare_scan
from sslmri.screening import screener as screener_module
from sslmri.screening.aligned import ALIGNED, COMPARED, UNLIKE, notice_of
from sslmri.screening.maps import carry_maps
from sslmri.screening.outcome import Entry, Screening, document
from sslmri.screening.report.images import key_images
from sslmri.screening.screener import Screener
from sslmri.screening.sequences import with_sequence
from tests.conftest import as_scan

VENTRICLES = Ventricles(0.05, Line(20, 30, 50, 75), Line(20, 60, 17, 113))


@pytest.fixture(scope="module")
def screener(model_folder) -> Screener:
    return Screener.load(model_folder)


@pytest.fixture
def head_scan(phantom) -> Scan:
    """Returns a volume high enough for a whole head, 4 mm between its slices."""
    voxels = np.stack([phantom * (1 + 0.01 * i) for i in range(40)])
    return as_scan(voxels, spacing_mm=(4.0, 2.0, 2.0), orientation="SPL")


@pytest.fixture
def is_t1() -> list[bool]:
    """Returns whether the brains aligned have the contrast of T1."""
    return [True]


@pytest.fixture
def alignments(monkeypatch, phantom, is_t1) -> list[str]:
    """Returns the names of the scans that were aligned: to 32 slices of another size."""
    done: list[str] = []

    def align(scan, report):
        done.append(scan.info.name)
        report("extracting the brain")
        voxels = np.stack([np.roll(phantom, i, axis=0)[:64, :64] for i in range(32)])
        info = replace(scan.info, n_slices=32, spacing_mm=None, orientation="SPL", warnings=())
        return AlignedBrain(Scan(info, voxels), np.eye(4), is_t1[0], VENTRICLES)

    monkeypatch.setattr(screener_module, "align", align)
    return done


def test_a_whole_head_is_answered_from_all_slices_of_its_aligned_brain(screener, head_scan, alignments):
    steps: list[str] = []
    screening = screener.screen(head_scan, steps.append)
    assert alignments == ["scan.png"]
    assert steps == ["extracting the brain", "classifying"]
    findings = screening.summary.findings
    assert {key for key, finding in findings.items() if finding.is_aligned} == {"alzheimers"}
    finding, arrays = findings["alzheimers"], screening.arrays
    assert len(arrays.slice_probabilities["alzheimers"]) == len(arrays.of(finding).slices) == 32
    assert len(arrays.slice_probabilities["tumours"]) == len(arrays.of(findings["tumours"]).slices) < 32
    assert [notice.disease for notice in screening.summary.warnings if notice.text == ALIGNED] == ["alzheimers"]
    best = list(finding.probabilities).index(finding.top_class)
    assert screening.summary.key_index("alzheimers") == arrays.slice_probabilities["alzheimers"][:, best].argmax()
    assert set(key_images(screener.card, screening.summary, arrays)) == set(screening.summary.assessed)
    content = json.loads(json.dumps(document(Entry(1, screening.summary), screener.card.sha256, {})))
    measured = {found["disease"]: (found["ventricles"], found["evans_index"]) for found in content["findings"]}
    assert measured.pop("alzheimers") == (0.05, 0.268)
    assert set(measured.values()) == {(None, None)}


@pytest.mark.parametrize(
    "known",
    [
        {"spacing_mm": None, "orientation": None},
        {"spacing_mm": (1.0, 2.0, 2.0), "orientation": "SPL"},  # 40 mm: a slab, which the classifier accepts as it is
        {"spacing_mm": (4.0, 2.0, 2.0), "orientation": "SPL", "sequence": "T2"},
    ],
)
def test_slabs_images_and_other_sequences_are_not_aligned(known, screener, head_scan, alignments):
    scan = replace(head_scan, info=replace(head_scan.info, **known))
    assert not screener.screen(scan).summary.findings["alzheimers"].is_aligned
    assert alignments == []


def seen(screening: Screening, **probabilities: float) -> Screening:
    """Returns a screening of a scan whose slices look like these sequences."""
    summary = replace(screening.unrestricted, sequence_seen=dict.fromkeys(SEQUENCES, 0.0) | probabilities)
    return replace(screening, summary=summary, unrestricted=summary)


def test_an_aligned_brain_whose_white_matter_is_not_the_brighter_is_no_t1(screener, head_scan, alignments, is_t1):
    is_t1[0] = False
    slices = screener.screen_slices([prepare_scan(head_scan, screener.card.encoder.preparation)])[0]
    found = screener.align(seen(slices, T1=0.7, T2=0.3), lambda: head_scan)
    assert (found.summary.sequence, found.summary.sequence_from) == ("FLAIR", "image")
    reasons = {key: finding.reason for key, finding in found.summary.findings.items()}
    assert reasons["alzheimers"] == "Trained on T1, this looks like FLAIR."
    assert reasons["tumours"] == "Trained on T1 with contrast agent, this looks like FLAIR."
    assert reasons["ms"] == "Trained on T2, this looks like FLAIR."
    assert ALIGNED not in {notice.text for notice in found.summary.warnings}
    chosen = with_sequence(found, "T1").summary  # the reader comes first, and is told
    assert chosen.findings["alzheimers"].is_assessed
    assert {
        ALIGNED,
        "The sequence is T1 as chosen by the reader, but the image looks like FLAIR.",
    } <= {notice.text for notice in chosen.warnings}


@pytest.mark.parametrize("is_brain_mri", [True, False])
def test_a_head_that_the_gate_does_not_recognise_is_brain_mri_where_its_brain_aligns_as_t1(
    screener, head_scan, alignments, is_t1, is_brain_mri
):
    is_t1[0] = is_brain_mri
    slices = screener.screen_slices([prepare_scan(head_scan, screener.card.encoder.preparation)])[0]
    refused = replace(slices.unrestricted, is_brain_mri=False, reason="Not recognised.")
    found = screener.align(replace(slices, summary=refused, unrestricted=refused), lambda: head_scan).summary
    assert len(alignments) == 1
    assert (found.is_brain_mri, found.reason is None) == (is_brain_mri, is_brain_mri)
    if is_brain_mri:
        assert found.sequence == "T1"
        assert not found.assessed
        assert found.findings["alzheimers"].reason == UNLIKE


@pytest.mark.parametrize(("flair", "is_aligned"), [(0.7, True), (0.9, False)])
def test_only_an_appearance_beyond_doubt_keeps_a_brain_from_being_aligned(
    flair, is_aligned, screener, head_scan, alignments
):
    slices = screener.screen_slices([prepare_scan(head_scan, screener.card.encoder.preparation)])[0]
    found = screener.align(seen(slices, T1=1 - flair, FLAIR=flair), lambda: head_scan).summary
    assert bool(alignments) == found.findings["alzheimers"].is_assessed == is_aligned
    assert found.sequence == ("T1" if is_aligned else "FLAIR")


def test_what_cannot_be_aligned_is_not_assessed_and_the_others_are(screener, head_scan, monkeypatch):
    def fail(scan, report):
        raise ScanError("Could not be aligned: no whole brain was found in the scan.")

    monkeypatch.setattr(screener_module, "align", fail)
    findings = screener.screen(head_scan).summary.findings
    assert findings["alzheimers"].verdict == Verdict.NOT_ASSESSED
    assert findings["alzheimers"].reason == "Could not be aligned: no whole brain was found in the scan."
    assert findings["tumours"].is_assessed


def test_aligned_slices_that_the_gate_refuses_are_named_as_such(screener, head_scan, alignments, monkeypatch):
    slices = screener.screen_slices([prepare_scan(head_scan, screener.card.encoder.preparation)])[0]
    refused = replace(
        slices.unrestricted,
        reason="Not recognised as brain MRI.",
        findings={
            key: replace(finding, verdict=Verdict.NOT_ASSESSED, reason="Not recognised as brain MRI.")
            for key, finding in slices.unrestricted.findings.items()
        },
    )
    seen_again = replace(screener.screen(head_scan), unrestricted=refused)
    monkeypatch.setattr(screener, "screen_slices", lambda prepared: [seen_again])
    found = screener.align(slices, lambda: head_scan).summary.findings
    assert found["alzheimers"].reason.startswith("The aligned slices are not recognised as brain MRI")
    assert found["tumours"].is_assessed


def test_what_was_measured_of_one_classifier_is_said_of_no_other(screener):
    (known,) = COMPARED
    measured = replace(screener.card, files={"heads/alzheimers.safetensors": known})
    assert notice_of(measured, "alzheimers").text == f"{ALIGNED} {COMPARED[known]}"
    assert notice_of(screener.card, "alzheimers").text == ALIGNED


def test_a_map_of_aligned_slices_is_carried_back_to_its_place_in_the_scan():
    to_scan = np.array([[1.0, 0, 0, 10], [0, 2, 0, 5], [0, 0, -2, 290], [0, 0, 0, 1]])
    maps = np.zeros((32, 8, 8), np.float32)
    maps[20, 2, 6] = 1  # in the middle of rows 32 to 47 and columns 96 to 111 of the aligned slice
    carried = carry_maps(maps, (32, 128, 128), to_scan, (60, 300, 310), 155)
    assert list(carried) == list(range(10, 42))
    assert carried[30].shape == (155, 155)
    row, column = np.unravel_index(carried[30].argmax(), carried[30].shape)
    assert (row * 300 / 155, column * 2) == pytest.approx((84, 83), abs=2)
    assert carried[30].max() == pytest.approx(1, abs=0.1)
    assert not carried[30][140:].any()
    assert not carried[20].any()


def test_the_page_shows_the_slices_that_a_finding_is_of(screener, head_scan, alignments):
    from sslmri.dashboard.screening.state import in_view

    screening = screener.screen(head_scan)
    findings = screening.summary.findings
    assert in_view(head_scan, screening, findings["tumours"]) == (head_scan, screening)
    scan, viewed = in_view(head_scan, screening, findings["alzheimers"])
    slab = replace(scan, voxels=screening.arrays.aligned.volume)
    assert scan.voxels.shape[1] == round(PIXEL_ASPECT * slab.voxels.shape[1])  # shown with square pixels
    seen = screener.screen_slices([prepare_aligned(slab, screener.card.encoder.preparation)])[0]
    assert np.array_equal(viewed.arrays.slices, turned(seen.arrays.slices))  # the front of the head at the top
    assert np.allclose(viewed.arrays.saliency["alzheimers"], turned(seen.arrays.saliency["alzheimers"]), atol=1e-5)
    x, y = findings["alzheimers"].peak_xy
    assert seen.summary.findings["alzheimers"].peak_xy == pytest.approx((1 - x, 1 - y))
    original, carried = in_view(head_scan, screening, findings["alzheimers"], is_original=True)
    assert original is head_scan
    assert carried.summary.slice_numbers == tuple(range(1, 33))  # those that the aligned slices reach
    assert len(scan.voxels) == len(viewed.arrays.slices) == viewed.summary.n_file_slices == 32
    assert viewed.summary.sha256 != screening.summary.sha256  # the window of one is not that of the other
    assert viewed.summary.slice_numbers[viewed.summary.key_index("alzheimers")] == findings["alzheimers"].key_slice
