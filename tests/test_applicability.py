"""Whether a scan may be answered: both levels, their reasons, and what a volume needs."""

from dataclasses import replace

import numpy as np
import pytest

from sslmri.evidence.applicability import NO_BRAIN, OTHER, OWN, SAME_CONTRASTS, SAME_DISEASE, shares
from sslmri.screening.applicability import NOT_MRI, judge, judge_brain
from sslmri.training.applicability import PICTURES, applicability_report, relations, table
from tests.banks import features, record


@pytest.fixture
def own() -> np.ndarray:
    return features(np.random.default_rng(5), 0, 9)


@pytest.fixture
def other() -> np.ndarray:
    return features(np.random.default_rng(6), 1, 9)


def test_a_head_applies_to_its_own_kind_and_to_no_other(bank, own, other):
    assert judge(bank, own, "ms").applies
    refused = judge(bank, other, "ms")
    assert not refused.applies
    assert refused.reason == (
        "This head learned from axial T2 slices; judged by its training slices, 9 of its 9 slices are not of that kind."
    )
    assert refused.distance > refused.threshold


def test_a_volume_is_judged_by_most_of_its_slices(bank, own, other):
    assert judge(bank, np.concatenate([own[:5], other[:4]]), "ms").applies
    assert not judge(bank, np.concatenate([own[:4], other[:4]]), "ms").applies


def test_a_lone_slice_is_not_counted(bank, other):
    assert judge(bank, other[:1], "ms").reason.endswith("it is not of that kind.")


def test_a_head_that_the_bank_does_not_know_never_applies(bank, own):
    assert not judge(bank, own, "alzheimers").applies


def test_what_is_no_brain_is_said_to_be_none(bank, own):
    assert judge_brain(bank, own).reason is None
    pictures = features(np.random.default_rng(7), 2, 4)
    assert judge_brain(bank, pictures).reason == "This does not look like an MRI of a brain: no head was asked."


@pytest.mark.parametrize("modality", sorted(NOT_MRI))
def test_a_file_that_says_it_is_something_else_is_believed(bank, own, modality):
    judged = judge_brain(bank, own, modality)
    assert not judged.applies
    assert judged.reason == f"The file says that it is {NOT_MRI[modality]}, not MRI."


@pytest.mark.parametrize("modality", ["MR", None, "OT"])
def test_a_file_that_says_nothing_is_judged_by_its_pixels(bank, own, modality):
    assert judge_brain(bank, own, modality).applies


def test_the_table_has_a_row_for_each_head_and_cohort(bank, own, other):
    cohorts = ["cohort-ms"] * 9 + ["cohort-tumours"] * 9 + [PICTURES] * 4
    found = np.concatenate([own, other, features(np.random.default_rng(8), 2, 4)])
    groups = [str(i // 3) for i in range(22)]
    kin = relations(bank, [record("ms", "a"), record("tumours", "b")], ("ms", "tumours"))
    rows = table(bank, found, cohorts, groups, kin)
    assert [(row["disease"], row["cohort"], row["relation"]) for row in rows[:3]] == [
        ("ms", "cohort-ms", OWN),
        ("ms", "cohort-tumours", OTHER),
        ("ms", PICTURES, NO_BRAIN),
    ]
    assert [row["share_applies"] for row in rows[1:3]] == [0, 0]
    assert rows[0]["share_applies"] > 0.8
    assert rows[0]["n_groups"] == 3
    printed = applicability_report({"rule": "Measured so.", "rows": rows})
    assert "kept away: other cohorts 100.0%, with those alike 100.0%, pictures 100.0%" in printed


def test_a_cohort_of_the_same_disease_or_contrasts_is_said_to_be_alike(bank):
    records = [
        replace(record("ms", "a"), contrast="T2"),
        replace(record("ms", "b"), cohort="elsewhere", contrast="T1"),
        replace(record("parkinsons", "c"), contrast="T2"),
        replace(record("alzheimers", "d"), contrast="T1"),
    ]
    assert relations(bank, records, ["ms"])["ms"] == {
        "cohort-ms": OWN,
        "elsewhere": SAME_DISEASE,
        "cohort-parkinsons": SAME_CONTRASTS,
        "cohort-alzheimers": OTHER,
    }


def test_contrasts_that_nobody_wrote_down_are_not_alike(bank):
    assert relations(bank, [record("ms", "a"), record("tumours", "b")], ["ms"])["ms"]["cohort-tumours"] == OTHER


def test_the_shares_weigh_cohorts_by_their_slices():
    rows = [
        {"relation": OWN, "n_slices": 30, "share_applies": 1.0},
        {"relation": OWN, "n_slices": 10, "share_applies": 0.6},
        {"relation": OTHER, "n_slices": 8, "share_applies": 0.25},
        {"relation": SAME_DISEASE, "n_slices": 8, "share_applies": 0.75},
    ]
    found = shares(rows)
    assert found["refused_own"] == pytest.approx(0.1)
    assert (found["kept_other"], found["kept_all"]) == (pytest.approx(0.75), pytest.approx(0.5))
    assert np.isnan(found["kept_pictures"])
