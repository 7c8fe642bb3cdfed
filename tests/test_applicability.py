"""Whether a scan may be answered: both levels, their reasons, and what a volume needs."""

import numpy as np
import pytest

from sslmri.screening.applicability import NOT_MRI, judge, judge_brain
from sslmri.training.applicability import PICTURES, applicability_report, table
from tests.banks import features


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
        "This head learned from axial T2 slices; judged by the training slices nearest to it, 9 of its 9 slices are "
        "not of that kind."
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
    assert judge_brain(bank, pictures).reason == "This does not look like an MRI of a brain."


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
    rows = table(bank, found, cohorts, groups, {"ms": None, "tumours": None})
    assert [(row["disease"], row["cohort"], row["is_own"]) for row in rows[:3]] == [
        ("ms", "cohort-ms", True),
        ("ms", "cohort-tumours", False),
        ("ms", PICTURES, False),
    ]
    assert [row["share_applies"] for row in rows[1:3]] == [0, 0]
    assert rows[0]["share_applies"] > 0.8
    assert rows[0]["n_groups"] == 3
    printed = applicability_report({"rule": "Measured so.", "rows": rows})
    assert "slices of other cohorts kept away 100.0%" in printed
