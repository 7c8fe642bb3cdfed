"""Every page, with a model and without, as a user meets it."""

import io
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.dashboard import cardtables
from sslmri.dashboard.evidence import find_metrics, find_roc
from sslmri.dashboard.export import to_csv
from sslmri.dashboard.words import literal
from sslmri.diseases import DISEASES
from sslmri.evidence.evaluate import evaluate_disease
from sslmri.evidence.stored import read_metrics, read_predictions
from sslmri.learning.cards import ModelCard, read_model_card
from sslmri.learning.labels import balanced_epoch, labelled_budget

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("pages/screening.py", "pages/data.py", "pages/performance.py", "pages/about.py")
TIMEOUT_S = 300


@pytest.fixture
def configured(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    monkeypatch.setenv("SSLMRI_MODEL", str(model_folder))
    return read_model_card(model_folder)


@pytest.fixture
def unconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSLMRI_MODEL", str(tmp_path / "none"))
    return tmp_path


def open_page(page: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=TIMEOUT_S).run()
    return app if page == PAGES[0] else app.switch_page(page).run()


def words_of(app: AppTest) -> str:
    parts = (app.markdown, app.caption, app.info, app.error, app.warning, app.title, app.text, app.code)
    return " ".join(str(element.value) for part in parts for element in part)


def png(seed: int = 0) -> bytes:
    rows, columns = np.mgrid[0:96, 0:80]
    inside = ((rows - 50) / 36) ** 2 + ((columns - 41) / 27) ** 2 < 1
    texture = 130 + 60 * np.sin(rows / (5 + seed)) * np.cos(columns / 7)
    buffer = io.BytesIO()
    Image.fromarray(np.where(inside, texture, 0).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def upload(*files: tuple[str, bytes]) -> AppTest:
    app = open_page(PAGES[0])
    app.file_uploader[0].set_value([(name, data, "image/png") for name, data in files])
    return app.run()


@pytest.mark.parametrize("page", PAGES)
def test_page_renders_with_a_model_and_says_research_use_only(page: str, configured: ModelCard) -> None:
    app = open_page(page)
    assert not app.exception
    assert not app.error
    notice = app.caption[0].value
    assert "Research use only, not a medical device" in notice
    assert configured.sha256[:8] in notice
    assert str(configured.encoder.n_groups) in notice


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


def test_upload_gets_one_card_a_disease_and_two_pictures(configured: ModelCard) -> None:
    app = upload(("slice.png", png()))
    assert not app.exception
    assert not app.error
    words = words_of(app)
    for disease in DISEASES.values():
        assert disease.title in words
        assert disease.caveat in words
    assert app.text[0].value == "slice.png"
    assert len(app.image) == 2
    assert len(app.get("plotly_chart")) == len(configured.heads)


def test_every_finding_says_the_grade_of_its_evidence(configured: ModelCard) -> None:
    metrics = find_metrics(configured)
    assert metrics is not None
    grades = [result["grade"]["grade"].capitalize() for result in metrics["diseases"].values()]
    words = words_of(upload(("slice.png", png())))
    assert {grade: words.count(f"**{grade} evidence.**") for grade in grades} == dict(Counter(grades))


def test_refused_file_leaves_one_sentence_and_the_others_go_on(configured: ModelCard) -> None:
    app = upload(("notes.png", b"just some notes"), ("slice.png", png()))
    assert not app.exception
    assert len(app.error) == 1
    assert "notes" in app.error[0].value
    assert app.text[0].value == "slice.png"


def test_second_file_never_shows_the_first_ones_name(configured: ModelCard) -> None:
    app = upload(("first.png", png(0)), ("second.png", png(3)))
    assert [text.value for text in app.text] == ["second.png"]
    key = next(box.key for box in app.selectbox if str(box.key).startswith("view-"))
    app.selectbox(key=key).set_value(0).run()
    assert [text.value for text in app.text] == ["first.png"]


def test_show_map_switches_the_map(configured: ModelCard) -> None:
    app = upload(("slice.png", png()))
    other = next(button for button in app.button if button.label == "Show map")
    disease = str(other.key).split("-")[1]
    other.click().run()
    shown = next(button for button in app.button if button.label == "Map shown")
    assert str(shown.key).split("-")[1] == disease
    assert any(DISEASES[disease].title in str(caption.value) for caption in app.caption)


def test_other_method_says_that_its_scale_is_relative(configured: ModelCard) -> None:
    app = upload(("slice.png", png()))
    key = next(box.key for box in app.selectbox if str(box.key).startswith("method-"))
    app.selectbox(key=key).set_value("layer-cam").run()
    assert not app.exception
    assert "cannot be compared" in words_of(app)


def test_volume_gets_a_slider_over_the_slice_numbers_of_the_file(configured: ModelCard) -> None:
    pages = [Image.open(io.BytesIO(png(seed))) for seed in range(5)]
    buffer = io.BytesIO()
    pages[0].save(buffer, format="TIFF", save_all=True, append_images=pages[1:])
    app = upload(("stack.tif", buffer.getvalue()))
    assert not app.exception
    assert [slider.options for slider in app.select_slider if slider.label == "Slice"] == [["2", "3", "4"]]
    words = words_of(app)
    assert literal("Only slices 2 to 4 of 5 were screened.") in words
    assert set(re.findall(r"on slice (\d+)", words)) <= {"2", "3", "4"}


def test_unlearned_class_is_said_on_the_card(configured: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslmri.learning.cards.HeadCard.unlearned", property(lambda head: head.classes[-1:]))
    words = words_of(upload(("slice.png", png())))
    assert "was never learned and cannot be predicted" in words


def test_simulated_sample_is_screened(configured: ModelCard) -> None:
    app = open_page(PAGES[0])
    box = next(box for box in app.selectbox if "simulated" in box.label)
    assert len(box.options) == sum(len(disease.classes) for disease in DISEASES.values())
    box.set_value(("tumours", "glioma")).run()
    assert not app.exception
    assert len(app.image) == 2


def test_named_manifest_is_summarised(configured: ModelCard, cohort: Path) -> None:
    app = open_page("pages/data.py")
    app.text_input[0].set_value(str(cohort.parent)).run()
    assert not app.exception
    assert not app.error
    assert len(app.get("plotly_chart")) == 3


def test_data_of_the_model_are_shown_before_and_after_balancing(configured: ModelCard) -> None:
    app = open_page("pages/data.py")
    assert not app.exception
    assert len(app.get("plotly_chart")) == 4
    assert "Training slices before and after balancing" in words_of(app)


def test_balancing_is_that_of_the_training(configured: ModelCard) -> None:
    settings = {"labels_per_class": 5}
    counts = {label: {"train": [n, n]} for label, n in zip(DISEASES["tumours"].classes, (2, 9, 0, 4), strict=True)}
    head = replace(configured.heads["tumours"], counts=counts, finetuning=settings)
    records = [
        Record(Path(f"{label}{i}"), f"{label}{i}", "c", "tumours", label, f"{label}{i}", None)
        for label, splits in counts.items()
        for i in range(splits["train"][1])
    ]
    used = labelled_budget(Store(np.zeros((len(records), 1, 1), np.uint8), records, []), 5)
    epoch = balanced_epoch(used, 5, torch.Generator())
    table = cardtables.balancing(head).set_index("label")
    for label in counts:
        assert table.loc[label, "used"] == sum(record.label == label for record in used.records)
        assert table.loc[label].loc[["used", "repeated"]].sum() == sum(used.records[i].label == label for i in epoch)


def test_missing_manifest_is_one_sentence(unconfigured: Path) -> None:
    app = open_page("pages/data.py")
    app.text_input[0].set_value(str(unconfigured / "nowhere" / "manifest.csv")).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "no such file" in app.error[0].value


def choose(app: AppTest, label: str, value: str) -> None:
    next(group for group in app.button_group if group.label == label).set_value(value).run()
    assert not app.exception


def table_of(app: AppTest, column: str) -> pd.DataFrame:
    return next(table.value for table in app.dataframe if column in table.value.columns)


def test_performance_shows_every_disease(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    metrics = read_metrics(configured.folder / "evidence")
    for key in configured.heads:
        choose(app, "Disease", key)
        assert any(DISEASES[key].title in str(part.value) for part in app.markdown)
        grade = metrics["diseases"][key]["grade"]
        words = words_of(app)
        assert f"**{grade['grade'].capitalize()} evidence.** {literal(grade['reason'])}" in words
        for title in ("Precision and recall of each class", "Reliability of the probabilities", "Prediction sets"):
            assert title in words


def test_performance_names_the_grade_of_each_disease(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    group = next(group for group in app.button_group if group.label == "Disease")
    metrics = read_metrics(configured.folder / "evidence")
    titles = [f"{DISEASES[key].title} · {metrics['diseases'][key]['grade']['grade']}" for key in DISEASES]
    assert group.options == titles


def test_protocol_that_was_not_measured_says_so_in_one_line(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    line = "The protocol as-published (images are split at random, so people are shared between training and test) was"
    assert any(line in str(caption.value) for caption in app.caption)
    assert set(table_of(app, "people shared")["protocol"]) == {"group-disjoint"}
    choose(app, "Protocol", "as-published")
    assert line in app.info[0].value
    assert set(table_of(app, "people shared")["protocol"]) == {"group-disjoint"}
    assert "NT-Xent loss by epoch" not in words_of(app)


def test_sets_and_thresholds_are_those_of_the_head_card(configured: ModelCard, monkeypatch) -> None:
    folder, head = configured.folder / "evidence", configured.heads["tumours"]
    bars = {label: 0.25 if number else None for number, label in enumerate(head.classes)}
    thresholds = (head.threshold_low, head.threshold_high)
    frame = read_predictions(folder, "tumours")
    result = evaluate_disease(DISEASES["tumours"], frame, None, thresholds=thresholds, set_thresholds=bars)
    metrics = read_metrics(folder)
    metrics["diseases"]["tumours"] = result
    monkeypatch.setattr("sslmri.dashboard.evidence.read_metrics", lambda folder: metrics)
    app = open_page("pages/performance.py")
    choose(app, "Disease", "tumours")
    sets = table_of(app, "coverage, slices").set_index("class")
    assert sets["in the set from"].tolist() == ["always", "0.25", "0.25", "0.25"]
    assert literal("In every set because too few validation groups show it: no tumour.") in words_of(app)
    overall = table_of(app, "subjects")["measure"].tolist()
    assert f"Specificity of any disease, flagged from {head.threshold_high:.2f}" in overall


@pytest.fixture
def published(configured: ModelCard, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns a disease whose evidence stands for that of the other protocol too, with people shared."""
    found = read_metrics(configured.folder / "evidence")
    shared = read_metrics(configured.folder / "evidence") | {"protocol": "as-published"}
    for result in shared["diseases"].values():
        result["accuracy"]["raw"] = result["accuracy"]["value"] = result["accuracy"]["low"] = 0.987
        result["accuracy"]["high"] = 0.99
        result["n_slices"], result["n_shared_groups"] = 4321, 7
    by_protocol = {"group-disjoint": found, "as-published": shared}
    monkeypatch.setattr("sslmri.dashboard.evidence.find_metrics", lambda card, protocol: by_protocol[protocol])
    curves = find_roc(configured, DISEASES["tumours"])
    monkeypatch.setattr("sslmri.dashboard.evidence.find_roc", lambda card, disease, protocol: curves)
    return "tumours"


def test_both_protocols_are_always_in_sight(published: str) -> None:
    app = open_page("pages/performance.py")
    choose(app, "Disease", published)
    for protocol, said in (("group-disjoint", "no group is on two sides"), ("as-published", "people are shared")):
        choose(app, "Protocol", protocol)
        assert f"Protocol **{literal(protocol)}**" in words_of(app)
        assert said in words_of(app)
        table = table_of(app, "people shared")
        accuracy = table[table["measure"] == "Accuracy, slices"].set_index("protocol")
        assert accuracy.loc["as-published", "figure (95 % interval)"].startswith("0.99")
        assert accuracy["people shared"].to_dict() == {"group-disjoint": "no", "as-published": "yes (7 groups)"}
        assert accuracy.loc["as-published", "test slices"] == 4321
        assert {"majority class", "1-NN on pixels", "PCA + logistic", "test groups"} <= set(table.columns)


@pytest.mark.parametrize(("unit", "says"), [("subject", "one subject"), ("group", "A group is a person where")])
def test_performance_says_what_a_group_is(unit: str, says: str, configured: ModelCard, monkeypatch) -> None:
    metrics = read_metrics(configured.folder / "evidence")
    for result in metrics["diseases"].values():
        result["unit"] = unit
    monkeypatch.setattr("sslmri.dashboard.evidence.read_metrics", lambda folder: metrics)
    words = words_of(open_page("pages/performance.py"))
    assert says in words
    assert f"Confusion matrix, {unit}s" in words


def test_markup_in_a_name_is_shown_sign_by_sign() -> None:
    assert literal("**a**") == "\\*\u2060\\*a\\*\u2060\\*"
    shown = literal(":red[x] :smile: a->b <b>")
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
    weights = ["torch", "torchvision", "pytorch_grad_cam", "safetensors"]
    heavy = [*weights, "sklearn", "nilearn", "matplotlib"]
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
