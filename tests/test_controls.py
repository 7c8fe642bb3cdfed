"""The controls step measures what it says, on the model as it screens; the page shows what was stored."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from sslmri.cohorts.manifest import read_manifest, write_manifest
from sslmri.dashboard.performance import tables
from sslmri.diseases import DISEASES
from sslmri.errors import ModelError, TrainingError
from sslmri.evidence.shortcuts import CARRIES, CONTROLS
from sslmri.evidence.tables import alarms_table, cells, localisation_table
from sslmri.evidence.verdict import Verdict
from sslmri.files import sha256_of
from sslmri.learning.model import Head, Model
from sslmri.models.evidence import Controls, Metrics, find_evidence, read_evidence, write_evidence
from sslmri.models.folder import read_model_card
from sslmri.models.metrics import Estimate, ShortcutMetrics
from sslmri.screening.maps import enlarge
from sslmri.screening.outcome import Screening
from sslmri.screening.screener import Screener
from sslmri.training.controls import _random_weights, localise, run_controls
from sslmri.training.options import RunOptions
from sslmri.training.report import report_controls
from tests.harness.parsing import parse_scan

SIDE = 64
MS = DISEASES["ms"].classes


def copy_of(model_folder: Path, folder: Path) -> Path:
    return Path(shutil.copytree(model_folder, folder, ignore=shutil.ignore_patterns("pretrain", "finetune")))


@pytest.fixture(scope="module")
def controlled(model_folder: Path, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Controls]:
    """Returns a model whose controls were run on the small simulated cohort, and what the step returned."""
    run = copy_of(model_folder, tmp_path_factory.mktemp("controlled") / "run")
    content = run_controls(RunOptions(data=cohort, run=run, cache=model_folder.parent / "cache"))
    return run, content


@pytest.fixture(scope="module")
def screened(model_folder: Path, cohort: Path) -> list[tuple[dict[str, str], Screening]]:
    """Returns each test row of the small cohort with its screening."""
    screener = Screener.load(model_folder)
    rows = [row for row in csv.DictReader(cohort.open()) if row["fold"] == "0"]
    return [(row, screener.screen(parse_scan((cohort.parent / row["path"]).read_bytes(), row["path"]))) for row in rows]


def is_flagged(screening: Screening, disease: str) -> bool:
    return screening.summary.findings[disease].verdict == Verdict.FLAGGED


def is_healthy(row: dict[str, str]) -> bool:
    return row["label"] == DISEASES[row["disease"]].reference


def test_stored_controls_name_the_encoder_and_hold_finite_numbers(controlled):
    run, content = controlled
    stored = read_evidence(run / "evidence", Controls)
    assert stored == content
    assert stored.encoder_sha256 == sha256_of(run / "encoder.safetensors")
    assert list(stored.diseases) == list(read_model_card(run).heads)
    assert all(set(own.shortcuts) == set(CONTROLS) for own in stored.diseases.values())


def test_figures_of_the_model_are_those_of_its_evaluation(controlled):
    run, content = controlled
    metrics = read_evidence(run / "evidence", Metrics).diseases
    for key, own in content.diseases.items():
        assert own.model.balanced_accuracy.raw == pytest.approx(metrics[key].slices.balanced_accuracy.raw)
        assert own.n_groups == metrics[key].slices.n_groups


def test_false_alarms_are_those_of_the_screener(controlled, screened):
    _, content = controlled
    healthy = [(row, screening) for row, screening in screened if is_healthy(row)]
    any_head = [any(is_flagged(screening, key) for key in content.diseases) for _, screening in healthy]
    assert content.family_wise.rate.raw == pytest.approx(np.mean(any_head))
    assert (content.family_wise.n_slices, content.family_wise.n_groups) == (len(healthy), 4)
    for key, own in content.diseases.items():
        others = [is_flagged(screening, key) for row, screening in healthy if row["disease"] != key]
        assert own.healthy_flagged["simulated"].rate.raw == pytest.approx(np.mean(others))


def test_pointing_game_is_played_with_the_maps_that_are_shown(controlled, screened):
    _, content = controlled
    hits = {"true": [], "predicted": []}
    for row, screening in screened:
        if row["disease"] != "tumours" or not row["box_xywh"]:
            continue
        finding = screening.summary.findings["tumours"]
        x, y, width, height = map(float, row["box_xywh"].split())
        for which, label in (("true", row["label"]), ("predicted", finding.top_class)):
            maps, column = screening.arrays.saliency["tumours"], DISEASES["tumours"].classes.index(label)
            map_ = enlarge(maps[0, column], screening.arrays.slices[0].shape)
            peak = (np.array(np.unravel_index(map_.argmax(), map_.shape)) + 0.5) / map_.shape  # square images
            is_inside = abs(peak[0] - y) <= height / 2 and abs(peak[1] - x) <= width / 2
            hits[which].append(bool(is_inside and np.ptp(map_) > 0))
    found = content.diseases["tumours"].localisation
    assert found.n_slices + found.n_left_out == len(hits["true"]) > 0
    for which, own in hits.items():
        assert getattr(found, which).pointing.raw == pytest.approx(np.mean(own))


def test_masks_of_the_simulated_cohort_are_used_where_there_is_no_box(controlled):
    _, content = controlled
    found = content.diseases["ms"].localisation
    assert found.n_slices + found.n_left_out == 2
    assert 0 < found.random_point.slice < found.random_point.head < 1


def test_report_has_every_figure_and_sentence(controlled):
    _, content = controlled
    text = report_controls(content)
    for key, own in content.diseases.items():
        assert f"**{DISEASES[key].title}: shortcuts**" in text
        assert all(f"| {title} |" in text for title in CONTROLS.values())
        assert all(f"{DISEASES[key].title}: {sentence}" in text for sentence in own.messages)
    assert f"| all cohorts, any classifier | {cells(content.family_wise.rate)[0]} |" in text


def plant(folder: Path, has_mark: bool, n_groups: int = 30) -> Path:
    """Writes heads of noise, alike in both classes, of which the patients have a mark in the corner and are JPEGs."""
    generator = np.random.default_rng(0)
    rows, (y, x) = [], np.mgrid[0:SIDE, 0:SIDE]
    inside = (y - 36) ** 2 + (x - 32) ** 2 < 22**2
    folder.mkdir()
    for index in range(2 * n_groups):
        label = MS[index % 2]
        picture = np.where(inside, generator.integers(80, 200, (SIDE, SIDE)), 0)
        if has_mark and index % 2:
            picture[:10, :10] = 220
        name = f"{index:02}.{'jpg' if has_mark and index % 2 else 'png'}"
        Image.fromarray(picture.astype(np.uint8)).save(folder / name)
        rows.append({"path": name, "cohort": "planted", "disease": "ms", "label": label, "group": f"g{index}"})
    table = pd.DataFrame(rows).assign(fold=[index // 2 % 5 for index in range(2 * n_groups)])
    write_manifest(folder / "manifest.csv", table)
    return folder / "manifest.csv"


@pytest.mark.parametrize("has_mark", [True, False])
def test_planted_shortcut_is_named_and_none_where_there_is_none(model_folder, tmp_path, has_mark):
    run = copy_of(model_folder, tmp_path / "run")
    content = run_controls(RunOptions(data=plant(tmp_path / "data", has_mark), run=run, cache=tmp_path))
    assert list(content.diseases) == ["ms"]  # the other heads have no test groups here
    result = content.diseases["ms"]
    assert result.n_groups == 12
    for name in ("background", "file"):
        own = result.shortcuts[name]
        assert (own.verdict == CARRIES) == has_mark
        assert (own.balanced_accuracy.value == 1.0) == has_mark
    assert result.localisation is None
    assert result.healthy_flagged == {}
    assert content.family_wise.n_slices == 6


def test_data_without_test_groups_give_no_figures(model_folder, tmp_path, capsys):
    path = plant(tmp_path / "data", has_mark=False, n_groups=2)
    write_manifest(path, pd.read_csv(path).assign(fold=3))
    with pytest.raises(TrainingError, match="Expected test groups of .* got none of any"):
        run_controls(RunOptions(data=path, run=copy_of(model_folder, tmp_path / "run"), cache=tmp_path))
    assert "ms: no test groups, not evaluated" in capsys.readouterr().out


def test_data_without_training_groups_give_no_figures(model_folder, tmp_path, capsys):
    path = plant(tmp_path / "data", has_mark=False, n_groups=6)
    write_manifest(path, pd.read_csv(path).assign(fold=0))
    content = run_controls(RunOptions(data=path, run=copy_of(model_folder, tmp_path / "run"), cache=tmp_path))
    assert content.diseases == {}
    assert "ms: no training groups, no controls" in capsys.readouterr().out


def test_a_marked_image_that_cannot_be_read_is_left_out_and_told(controlled, cohort, capsys):
    marked = [record for record in read_manifest(cohort) if record.disease == "tumours" and record.box]
    damaged = replace(marked[0], path=cohort)  # a table where an image should be
    model = Model.load(controlled[0])
    found = localise([(model, [damaged, *marked[1:4]])], "tumours")
    assert (found.n_slices, found.n_left_out) == (3, 1)
    assert f"left out: {damaged.name}" in capsys.readouterr().out


def test_controls_with_people_shared_are_refused(model_folder, cohort, tmp_path):
    with pytest.raises(TrainingError, match="Expected the protocol group-disjoint, got as-published"):
        run_controls(RunOptions(data=cohort, run=model_folder, cache=tmp_path, protocol="as-published"))


def test_random_heads_have_the_scale_of_the_head_and_nothing_else(model_folder):
    head = Model.load(model_folder).heads["tumours"]
    weights = _random_weights(head)
    assert weights.shape == (10, *head.weight.shape)
    assert torch.allclose(weights.std(dim=(0, 2)), head.weight.std(dim=1), rtol=0.05)
    assert abs(float(torch.corrcoef(torch.stack([weights[0].ravel(), head.weight.ravel()]))[0, 1])) < 0.05
    silent = Head(torch.zeros(2, 256), torch.zeros(2))
    assert not _random_weights(silent).any()


def draw(run: Path, disease: str) -> AppTest:
    script = (
        "from pathlib import Path\n"
        "from sslmri.dashboard.performance.sections import draw_controls\n"
        "from sslmri.diseases import DISEASES\n"
        "from sslmri.models.folder import read_model_card\n"
        f"draw_controls(read_model_card(Path({str(run)!r})), DISEASES[{disease!r}])\n"
    )
    app = AppTest.from_string(script, default_timeout=60).run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    return " ".join(str(element.value) for part in (app.markdown, app.caption) for element in part).replace("\\", "")


def test_page_shows_what_was_stored(controlled):
    run, content = controlled
    app = draw(run, "tumours")
    assert len(app.get("plotly_chart")) == 1
    assert [len(table.value) for table in app.table] == [2, 8]
    assert "does as well on" not in said(app)
    result = content.diseases["tumours"]
    assert "too few test groups" in said(app)
    assert list(tables.shortcuts(result)["input"])[1:] == list(CONTROLS.values())
    assert list(alarms_table(result, content.family_wise)["cohort"]) == ["simulated", "all cohorts, any classifier"]
    assert localisation_table(result.localisation)["value"].notna().all()


def test_page_says_plainly_that_a_shortcut_explains_the_result(controlled, tmp_path):
    run = copy_of(controlled[0], tmp_path / "run")
    accuracy = Estimate(0.9, 0.8, 0.95, 0.9, None)
    result = controlled[1].diseases["ms"]
    shortcuts = result.shortcuts | {"background": ShortcutMetrics(accuracy, accuracy, CARRIES)}
    result = replace(result, shortcuts=shortcuts, localisation=None)
    write_evidence(run / "evidence", replace(controlled[1], diseases={"ms": result}))
    app = draw(run, "ms")
    assert "**The classifier does as well on background only: the result may not reflect the disease.**" in said(app)
    assert "No lesion annotations in the test set" in said(app)


def test_page_without_controls_or_with_those_of_another_model_says_so(controlled, tmp_path):
    run = copy_of(controlled[0], tmp_path / "run")
    write_evidence(run / "evidence", replace(controlled[1], encoder_sha256="0" * 64))
    with pytest.raises(ModelError, match="got those of 000000000000"):
        find_evidence(read_model_card(run), Controls)
    assert "Expected shortcut controls of this model's encoder" in said(draw(run, "ms"))
    write_evidence(run / "evidence", replace(controlled[1], diseases={}))
    assert "not measured for this classifier" in said(draw(run, "ms"))
    (run / "evidence" / Controls.FILE).unlink()
    assert find_evidence(read_model_card(run), Controls) is None
    assert "python train.py controls" in said(draw(run, "ms"))
