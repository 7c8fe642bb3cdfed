"""The label-efficiency section of the performance page: its tables, its charts, and what it says without results."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from sslmri.dashboard import theme
from sslmri.dashboard.performance import tables
from sslmri.dashboard.performance.efficiency import efficiency_curves, efficiency_differences
from sslmri.diseases import DISEASES
from sslmri.evidence.efficiency import BASELINE, PIXELS, PROBE, RANDOM, SIMCLR, Fit, compare_fits
from sslmri.models.evidence import DiseaseEfficiency, LabelEfficiency, write_evidence
from sslmri.models.folder import read_model_card

MS = DISEASES["ms"]
BUDGETS = (25, 100, 450)
_SECTION = """
from pathlib import Path
from sslmri.dashboard.performance.efficiency import draw_label_efficiency
from sslmri.diseases import DISEASES
from sslmri.models.folder import read_model_card
draw_label_efficiency(read_model_card(Path({folder!r})), DISEASES["ms"])
"""


def result_of(n_groups: int) -> DiseaseEfficiency:
    """Returns a measured result of multiple sclerosis with so many test groups a class."""
    truth = np.repeat([0, 1], 3 * n_groups)
    groups = np.array([f"g{number:03}" for number in np.repeat(np.arange(2 * n_groups), 3)])
    generator = np.random.default_rng(0)
    fits = {}
    for (encoder, regime), strength in {(SIMCLR, PROBE): 2, (RANDOM, PROBE): 1, (PIXELS, BASELINE): 0.5}.items():
        for labels in BUDGETS:
            p = 1 / (1 + np.exp(-generator.normal(size=len(truth)) - strength * (2 * truth - 1)))
            fits[Fit(encoder, regime, labels, 0)] = np.stack([1 - p, p], axis=1)
    return DiseaseEfficiency(
        "subject", 2 * n_groups, len(truth), {}, *compare_fits(MS, truth, groups, fits), ("A note.",)
    )


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    target = tmp_path / "model"
    shutil.copytree(model_folder, target, ignore=shutil.ignore_patterns("pretrain", "finetune"))
    return target


def write(folder: Path, **changes: object) -> None:
    card = read_model_card(folder)
    fields = {
        "encoder_sha256": "",
        "protocol": "group-disjoint",
        "created": card.created,
        "encoder_created": card.encoder.created,
        "groups_sha256": card.encoder.data.groups_sha256,
        "settings": {},
        "not_run": (),
        "notes": ("Fine-tuning was not run.",),
        "diseases": {"ms": result_of(6)},
    }
    write_evidence(folder / "evidence", LabelEfficiency(**(fields | changes)))


def section(folder: Path) -> AppTest:
    app = AppTest.from_string(_SECTION.format(folder=str(folder)), default_timeout=60).run()
    assert not app.exception
    return app


def words_of(app: AppTest) -> str:
    return " ".join(str(element.value) for part in (app.markdown, app.caption, app.header) for element in part)


def test_the_section_draws_curves_and_differences_with_their_notes(folder: Path) -> None:
    write(folder)
    app = section(folder)
    words = words_of(app)
    assert "AUROC of any disease, subjects, by labels per class" in words
    assert "AUROC of any disease, subjects: SimCLR minus the others" in words
    assert "Fine\\-tuning was not run" in words
    app.button_group[0].set_value("balanced_accuracy").run()
    assert "Balanced accuracy, slices, by labels per class" in words_of(app)


def test_a_model_that_was_not_measured_says_which_command_does_it(folder: Path) -> None:
    assert "python train.py label-efficiency" in words_of(section(folder))


def test_results_of_another_pre_training_are_not_shown(folder: Path) -> None:
    write(folder, groups_sha256="0" * 64)
    words = words_of(section(folder))
    assert "pre\\-training\\, got another" in words
    assert "SimCLR minus" not in words


def test_a_disease_that_was_not_measured_is_said(folder: Path) -> None:
    write(folder, diseases={})
    assert "Multiple sclerosis was not measured" in words_of(section(folder))


def test_tables_hold_one_row_a_point_in_the_order_of_the_legend() -> None:
    table = tables.efficiency(result_of(6).curves, "auroc", "encoder")
    assert table.encoder.tolist() == [SIMCLR] * 3 + [RANDOM] * 3 + [PIXELS] * 3
    assert table.labels.tolist() == [*BUDGETS] * 3
    assert (
        tables.efficiency(result_of(6).differences, "auroc", "against").against.tolist() == [RANDOM] * 3 + [PIXELS] * 3
    )


def test_charts_show_every_point_with_its_interval_on_a_logarithmic_axis() -> None:
    table = tables.efficiency(result_of(6).curves, "auroc", "encoder")
    figure = efficiency_curves(table, "AUROC")
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.tickvals) == list(BUDGETS)
    assert [trace.name for trace in figure.data] == [
        "SimCLR encoder, linear probe",
        "random encoder, linear probe",
        "pixels, PCA + logistic regression",
    ]
    own = table[table.encoder == SIMCLR]
    assert list(figure.data[0].y) == own.value.tolist()
    assert list(figure.data[0].error_y.array) == pytest.approx((own.high - own.value).tolist())
    assert figure.data[0].line.dash == "solid"
    assert figure.data[2].line.dash == "dot"
    gains = efficiency_differences(tables.efficiency(result_of(6).differences, "auroc", "against"))
    assert gains.layout.shapes[0].y0 == gains.layout.shapes[0].y1 == 0


def test_what_is_not_estimable_is_drawn_hollow_and_without_intervals() -> None:
    figure = efficiency_curves(tables.efficiency(result_of(3).curves, "auroc", "encoder"), "AUROC")
    assert all(trace.marker.symbol == "circle-open" and trace.line.color == theme.MISSING for trace in figure.data)
    assert all(np.isnan(trace.error_y.array).all() for trace in figure.data)
    assert all(note == "(no interval)" for trace in figure.data for note in trace.customdata[:, 1])
