"""The model that comes with the program: its evidence, its limits, and what it is not measured on."""

import pytest

from sslmri.cohorts.manifest import read_manifest
from sslmri.cohorts.splits import assign_splits
from sslmri.dashboard.data.summary import find_summary
from sslmri.errors import TrainingError
from sslmri.models.evidence import Controls, GateTable, Metrics, SequenceMetrics, find_evidence
from sslmri.models.folder import read_model_card
from sslmri.project import DEFAULT_MODEL
from sslmri.screening.messages import limits
from sslmri.training.data import check_no_leakage
from tests.conftest import SHARED, needs_shared


def test_shipped_evidence_is_that_of_the_shipped_model() -> None:
    card = read_model_card(DEFAULT_MODEL)
    for kind in (Metrics, Controls, SequenceMetrics, GateTable):
        assert isinstance(find_evidence(card, kind), kind)
    assert find_evidence(card, Metrics, "as-published").protocol == "as-published"
    assert find_summary(card) is not None


def test_the_limits_of_the_shipped_classifiers_are_on_their_cards() -> None:
    card = read_model_card(DEFAULT_MODEL)
    assert "are unknown to it" in " ".join(limits(card, "tumours"))
    assert "measures the size of the ventricles" in " ".join(limits(card, "alzheimers"))


@needs_shared("data")
def test_the_shipped_model_is_not_measured_on_the_data_that_were_split_again_since():
    records = [record for record in assign_splits(read_manifest(SHARED / "data" / "manifest.csv")) if record.split]
    card = read_model_card(DEFAULT_MODEL)
    assert "this model learned from all groups." in card.evidence_note
    with pytest.raises(TrainingError, match="its stored results stay, so train again to measure"):
        check_no_leakage(card, records, "group-disjoint")
