"""Sequence before answer: what says which sequence a scan is, and which classifiers it leaves to answer."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sslmri.diseases import DISEASES, SequenceChoice
from sslmri.evidence.verdict import Verdict
from sslmri.learning.model import Model
from sslmri.learning.sequence_head import SequenceHead
from sslmri.models.cards import ModelCard
from sslmri.scans import read_scan
from sslmri.scans.scan import SEQUENCES
from sslmri.screening.messages import SEQUENCE_UNKNOWN, facts, sequence_line
from sslmri.screening.outcome import Entry, Finding, Screening, ScreeningArrays, ScreeningSummary, document
from sslmri.screening.report.export import report_csv
from sslmri.screening.screener import Screener
from sslmri.screening.sequences import CHOICES, name_seen, with_sequence
from tests.pages import png, upload, words_of
from tests.test_screening_page import widget

KEYS = ("alzheimers", "tumours", "ms", "parkinsons")


def finding(disease: str, reason: str | None = None) -> Finding:
    verdict = Verdict.NOT_ASSESSED if reason else Verdict.FLAGGED
    classes = DISEASES[disease].classes
    probabilities = dict.fromkeys(classes, 1 / len(classes))
    return Finding(disease, verdict, reason, 0.5, 0.5, probabilities, None, 1, None, 0.0, None)


def screening(stated: str | None = None, seen: tuple[float, ...] | None = None, n_slices: int = 9) -> Screening:
    """Returns a screening of a scan whose file states a sequence, or whose image shows these probabilities."""
    summary = ScreeningSummary(
        sha256="0" * 64,
        model_sha256="0" * 64,
        created="2026-01-01T00:00:00+00:00",
        slice_numbers=tuple(range(1, n_slices + 1)),
        n_file_slices=n_slices,
        spacing_mm=None,
        orientation=None,
        modality=None,
        source="NIfTI",
        sequence=stated,
        sequence_from="dicom" if stated else None,
        is_brain_mri=True,
        reason=None,
        findings={key: finding(key) for key in KEYS},
        warnings=(),
        sequence_seen=dict(zip(SEQUENCES, seen, strict=True)) if seen else None,
    )
    return Screening(summary, ScreeningArrays(np.zeros((0, 8, 8), np.uint8), np.zeros((0, 2)), {}, {}), summary)


def answered(decided: Screening) -> set[str]:
    return set(decided.summary.assessed)


def reasons(decided: Screening) -> dict[str, str | None]:
    return {key: own.reason for key, own in decided.summary.findings.items() if own.reason}


def said(decided: Screening) -> list[str]:
    return [notice.text for notice in decided.summary.warnings]


def test_a_stated_sequence_leaves_the_classifiers_trained_on_it() -> None:
    decided = with_sequence(screening("T1"))
    assert answered(decided) == {"alzheimers", "parkinsons"}
    assert reasons(decided) == {
        "tumours": "Trained on T1 with contrast agent, this is T1.",
        "ms": "Trained on T2, this is T1.",
    }
    assert sequence_line(decided.summary) == "T1 as stated by DICOM"
    assert not said(decided)


def test_an_image_that_looks_like_flair_leaves_no_classifier_of_one_sequence() -> None:
    decided = with_sequence(screening(seen=(0.2, 0.1, 0.1, 0.6)))
    assert answered(decided) == {"parkinsons"}
    assert reasons(decided)["tumours"] == "Trained on T1 with contrast agent, this looks like FLAIR."
    assert ("Source", "NIfTI, FLAIR by its appearance") in facts(decided.summary)


@pytest.mark.parametrize(("seen", "name"), [((0.48, 0.42, 0.05, 0.05), "T1"), ((0.3, 0.6, 0.05, 0.05), "T1ce")])
def test_an_image_in_doubt_rules_out_no_t1_for_its_contrast_agent(seen: tuple[float, ...], name: str) -> None:
    decided = with_sequence(screening(seen=seen))
    assert decided.summary.sequence == name
    assert answered(decided) == {"alzheimers", "tumours", "parkinsons"}
    (sentence,) = said(decided)
    assert sentence.endswith("does not reliably show whether this T1 is with contrast agent.")
    assert decided.summary.warnings[0].disease == ("tumours" if name == "T1" else "alzheimers")


def test_a_t1_that_is_surely_without_contrast_agent_reaches_no_classifier_that_needs_one() -> None:
    for seen, n_slices in (((0.6, 0.3, 0.05, 0.05), 3), ((0.85, 0.1, 0.03, 0.02), 1)):
        decided = with_sequence(screening(seen=seen, n_slices=n_slices))
        assert answered(decided) == {"alzheimers", "parkinsons"}
        assert reasons(decided)["tumours"] == "Trained on T1 with contrast agent, this looks like T1."
    assert "tumours" in answered(with_sequence(screening(seen=(0.7, 0.2, 0.05, 0.05), n_slices=1)))
    assert "alzheimers" in answered(with_sequence(screening(seen=(0.0, 1.0, 0.0, 0.0))))


@pytest.mark.parametrize(
    ("seen", "n_slices", "name"),
    [
        ((0.1, 0.1, 0.1, 0.7), 1, None),
        ((0.1, 0.1, 0.1, 0.7), 3, "FLAIR"),
        ((0.05, 0.05, 0.05, 0.85), 1, "FLAIR"),
        ((0.1, 0.3, 0.2, 0.4), 9, None),
    ],
)
def test_one_slice_names_a_sequence_from_a_higher_probability_on_than_a_volume(seen, n_slices, name) -> None:
    assert name_seen(screening(seen=seen, n_slices=n_slices).summary) == name


def test_an_unknown_sequence_is_answered_with_that_said() -> None:
    for unknown in (screening(), screening(seen=(0.1, 0.3, 0.2, 0.4))):
        decided = with_sequence(unknown)
        assert answered(decided) == set(KEYS)
        assert said(decided) == [SEQUENCE_UNKNOWN]
        assert (decided.summary.sequence, decided.summary.sequence_from) == (None, None)


def test_a_stated_and_a_seen_sequence_that_disagree_are_said() -> None:
    decided = with_sequence(screening("T2", (0.9, 0.1, 0.0, 0.0)))
    assert answered(decided) == {"ms", "parkinsons"}
    assert said(decided) == ["The sequence is T2 as stated by DICOM, but the image looks like T1."]
    assert not said(with_sequence(screening("T1ce", (0.9, 0.1, 0.0, 0.0))))
    assert not said(with_sequence(screening("T2", (0.6, 0.1, 0.2, 0.1))))  # too unsure to contradict a file


def test_the_reader_comes_first_and_every_choice_brings_the_answers_back() -> None:
    found = with_sequence(screening("T1", (0.9, 0.1, 0.0, 0.0)))
    chosen = with_sequence(found, "T2")
    assert answered(chosen) == {"ms", "parkinsons"}
    assert said(chosen) == ["The sequence is T2 as chosen by the reader, but the image looks like T1."]
    assert answered(with_sequence(chosen, "unknown")) == set(KEYS)
    assert with_sequence(chosen) == found
    exported = document(Entry(1, chosen.summary), "0" * 64, {})["sequence"]
    assert exported == {"name": "T2", "from": "reader"}


def test_a_reason_of_the_gate_outlasts_every_choice_and_what_is_no_brain_has_no_sequence() -> None:
    before = screening("T1")
    gated = replace(before.unrestricted, findings={"alzheimers": finding("alzheimers", "Not of that kind.")})
    decided = [with_sequence(replace(before, unrestricted=gated), choice) for choice in (None, "T1", "unknown")]
    assert [reasons(each) for each in decided] == [{"alzheimers": "Not of that kind."}] * 3
    no_brain = replace(before, unrestricted=replace(before.unrestricted, reason="No brain."))
    assert with_sequence(no_brain, "T2").summary == no_brain.unrestricted


@pytest.mark.parametrize(("bias", "name"), [(9.0, "FLAIR"), (0.0, None)])
def test_a_screening_names_the_sequence_that_its_slices_look_like(gated_folder: Path, bias: float, name: str | None):
    model = Model.load(gated_folder)
    head = SequenceHead(model.card.encoder.architecture.texture_dim // 2).eval()
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.copy_(torch.tensor([0.0, 0.0, 0.0, bias]))
    summary = Screener(replace(model, sequence=head)).screen(read_scan(png(), "scan.png")).summary
    assert (summary.sequence, summary.sequence_from) == (name, "image" if name else None)
    assert sum((summary.sequence_seen or {}).values()) == pytest.approx(1)
    assert document(Entry(1, summary), "0" * 64, {})["sequence"] == {"name": name, "from": summary.sequence_from}


def test_the_page_answers_again_for_the_sequence_that_the_reader_chooses(configured: ModelCard) -> None:
    app = upload(("slice.png", png()))
    chosen = widget(app.selectbox, "sequence-")
    assert len(chosen.options) == 1 + len(CHOICES)
    words = words_of(chosen.set_value("FLAIR").run())
    assert words.count("this is FLAIR") == 3
    words = words_of(widget(app.selectbox, "sequence-").set_value("T2").run())
    assert words.count("this is T2") == 2
    assert "FLAIR as" not in words


@pytest.mark.parametrize("choice", CHOICES)
def test_a_report_says_who_chose_the_sequence(configured: ModelCard, choice: SequenceChoice) -> None:
    summary = with_sequence(screening("T1"), choice).summary
    row = next(csv.DictReader(io.StringIO(report_csv(configured, [Entry(1, summary)], None).decode())))
    assert (row["sequence.name"], row["sequence.from"]) == ("" if choice == "unknown" else choice, "reader")
