"""Every page, with a model and without, as a user meets it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.dashboard.data.summary import balancing
from sslmri.dashboard.section import to_csv
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES
from sslmri.learning.labels import balanced_epoch
from sslmri.models.cards import Counts, ModelCard
from tests.pages import PAGES, ROOT, TIMEOUT_S, open_page, words_of


@pytest.mark.parametrize("page", PAGES)
def test_page_renders_with_a_model_and_says_research_use_only(page: str, configured: ModelCard) -> None:
    app = open_page(page)
    assert not app.exception
    assert not app.error
    notice = app.caption[0].value
    assert "Research use only, not a medical device" in notice
    assert configured.sha256[:8] in notice


@pytest.mark.parametrize("page", PAGES)
def test_page_without_a_model_says_how_to_get_one(page: str, unconfigured: Path) -> None:
    app = open_page(page)
    assert not app.exception
    assert "Research use only" in app.caption[0].value
    assert app.info
    assert "python train.py all" in words_of(app)


def test_changed_weights_are_refused_in_one_sentence(configured: ModelCard, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "model"
    for name in ("model.json", "encoder.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((configured.folder / name).read_bytes())
    monkeypatch.setenv("SSLMRI_MODEL", str(folder))
    app = open_page("pages/about.py")
    assert not app.exception
    assert "The model cannot be used" in app.info[0].value


def test_named_manifest_is_summarised(configured: ModelCard, cohort: Path) -> None:
    app = open_page("pages/data.py")
    app.text_input[0].set_value(str(cohort.parent)).run()
    assert not app.exception
    assert not app.error
    assert len(app.get("plotly_chart")) == 2


def test_data_of_the_model_are_shown_before_and_after_balancing(configured: ModelCard) -> None:
    app = open_page("pages/data.py")
    assert not app.exception
    assert len(app.get("plotly_chart")) == 2
    assert "Training slices before and after balancing" in words_of(app)


@pytest.mark.parametrize(("per_class", "per_group"), [(5, 100), (4, 1), (100, 2)])
def test_balancing_is_that_of_the_training(configured: ModelCard, per_class: int, per_group: int) -> None:
    settings = {"labels_per_class": 100, "slices_per_class": per_class, "slices_per_group": per_group}
    counts = {
        label: {"train": Counts(n, 3 * n)} for label, n in zip(DISEASES["tumours"].classes, (2, 9, 0, 4), strict=True)
    }
    head = replace(configured.heads["tumours"], counts=counts, finetuning=settings)
    records = [
        Record(Path(f"{label}{i}"), f"{label}{i}", "c", "tumours", label, f"{label}{i // 3}", None)
        for label, splits in counts.items()
        for i in range(splits["train"].slices)
    ]
    used = Store(np.zeros((len(records), 1, 1), np.uint8), records, [])
    epoch = balanced_epoch(used, per_class, per_group, torch.Generator())
    table = balancing(head).set_axis(list(counts))
    for label in counts:
        drawn = {i for i in epoch if used.records[i].label == label}
        assert table.loc[label, "labelled"] == sum(record.label == label for record in used.records)
        assert table.loc[label, "used"] <= len(drawn) or table.loc[label, "repeated"]
        assert table.loc[label].loc[["used", "repeated"]].sum() == sum(used.records[i].label == label for i in epoch)


def test_missing_manifest_is_one_sentence(unconfigured: Path) -> None:
    app = open_page("pages/data.py")
    app.text_input[0].set_value(str(unconfigured / "nowhere" / "manifest.csv")).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "no such file" in app.error[0].value


def test_markup_in_a_name_is_shown_sign_by_sign() -> None:
    assert escape_markdown("**a**") == "\\*\u2060\\*a\\*\u2060\\*"
    shown = escape_markdown(":red[x] :smile: a->b <b>")
    assert not any(sign in shown.replace("\\:\u2060", "") for sign in (":red", ":smile:", "->", "[x]"))


def test_cells_that_a_spreadsheet_would_run_are_neutralised() -> None:
    text = to_csv(pd.DataFrame({"file": ["=1+1", "@x", "-2", "+3", "plain"], "n": [-1, 2, 3, 4, 5]})).decode()
    assert text.splitlines()[1:] == ["'=1+1,-1", "'@x,2", "'-2,3", "'+3,4", "plain,5"]


def test_heading_in_two_rows_is_saved_as_one() -> None:
    columns = pd.MultiIndex.from_tuples([("", "class"), ("train", "groups")])
    assert to_csv(pd.DataFrame([("glioma", 8)], columns=columns)) == b"class,train groups\nglioma,8\n"


_OPEN_PAGES = """
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("app.py", default_timeout={timeout}).run()
loaded = [] if app.exception else [name for name in {heavy!r} if name in sys.modules]
for page in {pages!r}:
    failed = app.switch_page(page).run().exception
    loaded += ["an exception"] if failed else [name for name in {weights!r} if name in sys.modules]
sys.exit(f"loaded: {{loaded}}" if loaded else 0)
"""


def test_only_a_screening_loads_what_is_heavy(configured: ModelCard) -> None:
    weights = ["torch", "torchvision", "pytorch_grad_cam"]
    heavy = [*weights, "safetensors", "sklearn", "nilearn", "matplotlib"]
    code = _OPEN_PAGES.format(timeout=TIMEOUT_S, heavy=heavy, weights=weights, pages=PAGES[1:])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_dashboard_modules_do_not_load_torch() -> None:
    modules = sorted(path.stem for path in (ROOT / "sslmri" / "dashboard").glob("[a-z]*.py"))
    code = f"import sys, importlib\nfor m in {modules}: importlib.import_module('sslmri.dashboard.' + m)\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("page", [ROOT / page for page in PAGES], ids=lambda path: path.stem)
def test_pages_are_thin(page: Path) -> None:
    source = page.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 110
    assert "unsafe_allow_html" not in source
    typed = [
        label for disease in DISEASES.values() for label in disease.classes if label != "normal" and label in source
    ]
    assert not typed
