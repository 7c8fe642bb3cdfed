"""Whether a scan may be classified: both levels, their reasons, and what a volume needs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sslmri.gate.decide import decide_brain_mri, decide_in_distribution
from sslmri.gate.measure import (
    IN_DISTRIBUTION,
    NOT_BRAIN,
    SAME_DISEASE,
    SAME_SEQUENCES,
    SYNTHETIC,
    UNRELATED,
    rejection_rates,
    relations,
    report_gate,
    table,
)
from sslmri.models.bank import EncoderFeatures
from sslmri.models.evidence import GateTable
from sslmri.models.model_card import percentage
from tests.banks import TEXTURE_DIM, features, record, seen


@pytest.fixture
def ms() -> np.ndarray:
    return features(np.random.default_rng(5), 0, 9)


@pytest.fixture
def tumours() -> np.ndarray:
    return features(np.random.default_rng(6), 1, 9)


def test_slices_of_the_disease_pass_and_those_of_another_do_not(bank, ms, tumours):
    assert decide_in_distribution(bank, ms, "ms").reason is None
    rejected = decide_in_distribution(bank, tumours, "ms")
    assert not rejected.passes.any()
    assert rejected.reason == "Trained on axial T2. None of the 9 slices of this scan resembles those."


def test_a_volume_passes_where_more_than_half_of_its_slices_do(bank, ms, tumours):
    assert decide_in_distribution(bank, np.concatenate([ms[:5], tumours[:4]]), "ms").reason is None
    reason = decide_in_distribution(bank, np.concatenate([ms[:4], tumours[:5]]), "ms").reason
    assert reason.endswith("5 of the 9 slices of this scan do not resemble those.")


def test_a_single_slice_is_not_counted(bank, tumours):
    assert decide_in_distribution(bank, tumours[:1], "ms").reason.endswith("This image does not resemble those.")


def test_a_disease_without_training_slices_is_never_assessed(bank, ms):
    assert decide_in_distribution(bank, ms, "alzheimers").reason.startswith("No training slices")


def test_what_is_not_brain_mri_is_recognised(bank, ms):
    assert decide_brain_mri(bank, ms[:, :TEXTURE_DIM]).reason is None
    images = seen(np.random.default_rng(7), 2, count=4).textures
    assert decide_brain_mri(bank, images).reason == "Not recognised as brain MRI. No classifier was run."


def test_the_table_has_a_row_for_each_head_and_cohort(bank, ms, tumours):
    cohorts = ["cohort-ms"] * 9 + ["cohort-tumours"] * 9 + [SYNTHETIC] * 4
    found = np.concatenate([ms, tumours, features(np.random.default_rng(8), 2, 4)])
    groups = [str(i // 3) for i in range(22)]
    related = relations(bank, [record("ms", "a"), record("tumours", "b")], ("ms", "tumours"))
    slices = pd.DataFrame({"cohort": cohorts, "group": groups})
    rows, rates = table(bank, EncoderFeatures(found[:, :TEXTURE_DIM], found), slices, related)
    assert [(row.disease, row.cohort, row.relation) for row in rows[:3]] == [
        ("ms", "cohort-ms", IN_DISTRIBUTION),
        ("ms", "cohort-tumours", UNRELATED),
        ("ms", SYNTHETIC, NOT_BRAIN),
    ]
    assert [row.fraction_in_distribution for row in rows[1:3]] == [0, 0]
    assert rows[0].fraction_in_distribution > 0.8
    assert rows[0].n_groups == 3
    gate = GateTable(encoder_sha256="", created="", rule="Measured so.", n_cases=1, rows=rows, diseases=rates)
    assert "| of unrelated cohorts | not estimable: 3 test groups, 5 needed |" in report_gate(gate)


def test_a_cohort_of_the_same_disease_or_contrasts_is_said_to_be_alike(bank):
    records = [
        replace(record("ms", "a"), contrast="T2"),
        replace(record("ms", "b"), cohort="elsewhere", contrast="T1"),
        replace(record("parkinsons", "c"), contrast="T2"),
        replace(record("alzheimers", "d"), contrast="T1"),
    ]
    assert relations(bank, records, ["ms"])["ms"] == {
        "cohort-ms": IN_DISTRIBUTION,
        "elsewhere": SAME_DISEASE,
        "cohort-parkinsons": SAME_SEQUENCES,
        "cohort-alzheimers": UNRELATED,
    }


def test_contrasts_that_nobody_wrote_down_are_not_alike(bank):
    assert relations(bank, [record("ms", "a"), record("tumours", "b")], ["ms"])["ms"]["cohort-tumours"] == UNRELATED


def test_the_rates_count_slices_and_their_intervals_come_from_groups():
    passes = [True] * 54 + [False] * 6 + [True] * 3 + [False] * 27 + [True] * 10
    related = [IN_DISTRIBUTION] * 60 + [UNRELATED] * 30 + [SAME_DISEASE] * 10
    groups = [str(i // 5) for i in range(100)]
    found = rejection_rates(pd.DataFrame({"passes": passes, "relation": related, "cohort": related, "group": groups}))
    refused, kept = found.in_distribution.rate, found.unrelated.rate
    assert refused.value == pytest.approx(0.1)
    assert refused.low < 0.1 < refused.high
    assert kept.value == pytest.approx(0.9)
    assert found.other_cohorts.rate.value == pytest.approx(27 / 40)
    assert found.other_cohorts.n_groups == 8
    assert found.synthetic is None
    assert percentage(found.in_distribution).startswith("10.0 % (")
    assert percentage(found.in_distribution).endswith("; 12 groups)")
