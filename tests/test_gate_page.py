"""The model card shows what the gate lets pass, as far as that was measured."""

import json
import shutil
from pathlib import Path

import pytest

from sslmri.errors import ModelError
from sslmri.files import write_json
from sslmri.gate.measure import IN_DISTRIBUTION, NOT_BRAIN, SAME_DISEASE, UNRELATED
from sslmri.models.evidence import GateRates, GateRow, GateTable, find_evidence, write_evidence
from sslmri.models.folder import read_model_card
from sslmri.models.metrics import Estimate, Rate
from tests.pages import open_page, table_of, tables, words_of

ROWS = (
    GateRow("ms", "hospital", IN_DISTRIBUTION, 40, 5, 0.975, 0.95),
    GateRow("ms", "elsewhere", SAME_DISEASE, 40, 5, 0.975, 0.5),
    GateRow("ms", "another", UNRELATED, 40, 5, 0.975, 0.025),
    GateRow("ms", "synthetic images", NOT_BRAIN, 40, 5, 0.975, 0.0),
)
RATE = Rate(Estimate(0.05, 0.01, 0.2, 0.05, None), 40, 5)


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    target = tmp_path / "model"
    shutil.copytree(model_folder, target, ignore=shutil.ignore_patterns("pretrain", "finetune"))
    monkeypatch.setenv("SSLMRI_MODEL", str(target))
    return target


def measured(folder: Path, **changes: object) -> Path:
    card = read_model_card(folder)
    gate = GateTable(
        encoder_sha256=next(iter(card.heads.values())).encoder_sha256,
        created=max(head.created for head in card.heads.values()),
        rule="Measured so.",
        n_cases=1,
        rows=ROWS,
        diseases={"ms": GateRates(RATE, RATE, RATE, None)},
    )
    write_evidence(folder / "evidence", gate)
    path = folder / "evidence" / GateTable.FILE
    write_json(path, json.loads(path.read_text()) | changes)
    return path


def test_a_model_whose_gate_was_not_measured_says_that_every_image_gets_a_result(folder: Path) -> None:
    assert find_evidence(read_model_card(folder), GateTable) is None
    assert "every image gets a result" in words_of(open_page("pages/about.py"))


def test_the_card_lists_what_passes_of_each_cohort_with_its_relation_to_the_classifier(folder: Path) -> None:
    measured(folder)
    app = open_page("pages/about.py")
    assert not app.exception
    table = table_of(app, "brain MRI").set_index("cohort")["Multiple sclerosis"]
    assert table.to_dict() == {
        "hospital": "95.0 %, in distribution",
        "elsewhere": "50.0 %, same disease",
        "another": "2.5 %",
        "synthetic images": "0.0 %",
    }
    words = words_of(app).replace("\\", "")
    rejected = next(table for table in tables(app) if table.columns[0] == "slices")
    assert rejected["Multiple sclerosis"].tolist() == ["5.0 % (1.0 to 20.0; 5 groups)"] * 3 + ["not measured"]
    assert "every image gets a result" not in words


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows": [{}]}, "got rows.0.disease"),
        ({"encoder_sha256": "0"}, "of this model's encoder, got those of 0"),
    ],
)
def test_a_table_that_is_damaged_or_of_another_encoder_is_refused_in_one_sentence(changes, sentence, folder) -> None:
    measured(folder, **changes)
    with pytest.raises(ModelError, match=sentence):
        find_evidence(read_model_card(folder), GateTable)
    app = open_page("pages/about.py")
    assert not app.exception
    assert sentence in words_of(app).replace("\\", "")
