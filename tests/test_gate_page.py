"""The model card tells whom each head answers, as far as that was measured."""

import shutil
from pathlib import Path

import pytest

from sslmri.dashboard.model_evidence import find_applicability
from sslmri.errors import ModelError
from sslmri.evidence.gate import APPLICABILITY_FILE, NOT_BRAIN, OTHER, OWN, SAME_DISEASE
from sslmri.files import write_json
from sslmri.models.cards import read_model_card
from tests.pages import open_page, table_of, words_of


def row(disease: str, cohort: str, relation: str, share: float) -> dict:
    counts = {"n_slices": 40, "n_groups": 5, "share_brain": 0.975}
    return {"disease": disease, "cohort": cohort, "relation": relation, "share_applies": share, **counts}


ROWS = [
    row("ms", "hospital", OWN, 0.95),
    row("ms", "elsewhere", SAME_DISEASE, 0.5),
    row("ms", "another", OTHER, 0.025),
    row("ms", "pictures", NOT_BRAIN, 0.0),
]


RATE = {"value": 0.05, "low": 0.01, "high": 0.2, "raw": 0.05, "reason": None}
SHARE = {"rate": RATE, "n_scans": 40, "n_groups": 5}
HEADS = {"ms": {"refused_own": SHARE, "kept_other": SHARE, "kept_all": SHARE, "kept_pictures": None}}


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    target = tmp_path / "model"
    shutil.copytree(model_folder, target, ignore=shutil.ignore_patterns("pretrain", "finetune"))
    monkeypatch.setenv("SSLMRI_MODEL", str(target))
    return target


def measured(folder: Path, **changes: object) -> Path:
    card = read_model_card(folder)
    encoder = next(iter(card.heads.values())).encoder_sha256
    path = folder / "evidence" / APPLICABILITY_FILE
    write_json(path, {"encoder_sha256": encoder, "rule": "Measured so.", "rows": ROWS, "heads": HEADS} | changes)
    return path


def test_a_model_that_was_not_measured_says_that_anything_gets_an_answer(folder: Path) -> None:
    assert find_applicability(read_model_card(folder)) is None
    assert "anything gets an answer" in words_of(open_page("pages/about.py"))


def test_the_card_lists_the_share_of_each_cohort_with_what_it_is_to_the_head(folder: Path) -> None:
    measured(folder)
    app = open_page("pages/about.py")
    assert not app.exception
    table = table_of(app, "brain MRI").set_index("cohort")["Multiple sclerosis"]
    assert table.to_dict() == {
        "hospital": "95.0 %, own",
        "elsewhere": "50.0 %, same disease",
        "another": "2.5 %",
        "pictures": "0.0 %",
    }
    words = words_of(app).replace("\\", "")
    assert "of the slices of its own cohorts 5.0 % (1.0 to 20.0; 5 groups) are refused" in words
    assert "anything gets an answer" not in words


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows": [{}]}, "got something else"),
        ({"heads": {}}, "got something else"),
        ({"encoder_sha256": "0"}, "got another's"),
    ],
)
def test_a_table_that_is_damaged_or_of_another_encoder_is_refused_in_one_sentence(changes, sentence, folder) -> None:
    measured(folder, **changes)
    with pytest.raises(ModelError, match=sentence):
        find_applicability(read_model_card(folder))
    app = open_page("pages/about.py")
    assert not app.exception
    assert sentence in words_of(app).replace("\\", "")
