"""The encoder page: the map of a feature bank, the neighbours of a slice, and what the page says without a bank."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sslmri.dashboard import theme
from sslmri.dashboard.encoder import features, sections
from sslmri.dashboard.encoder.features import (
    N_NEIGHBOURS,
    case_table,
    neighbour_agreement,
    neighbour_table,
    neighbours,
    pca_map,
    rows_of,
    selection_table,
    tsne_map,
    tsne_sample,
)
from sslmri.dashboard.encoder.map_charts import CLASS, COHORT, DISEASE, feature_map
from sslmri.dashboard.encoder.messages import facts
from sslmri.diseases import DISEASES
from sslmri.models.bank import BankCase
from sslmri.models.cards import ModelCard
from sslmri.models.folder import read_model_card
from tests.pages import open_page, table_of, words_of

N_GROUPS, PER_GROUP, DIM = 12, 8, 16
PAGE = "pages/encoder.py"


@dataclass(frozen=True)
class Bank:
    """What the page reads of a feature bank."""

    features: np.ndarray
    cases: tuple[BankCase, ...]


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def bank_of(seed: int = 0) -> Bank:
    """Returns a bank of two diseases in two cohorts; each group is a tight cluster, each cohort a wide one."""
    generator = np.random.default_rng(seed)
    cohorts = 3 * generator.normal(size=(2, DIM))
    groups = np.repeat(cohorts, N_GROUPS // 2, axis=0) + generator.normal(size=(N_GROUPS, DIM))
    features = unit(np.repeat(groups, PER_GROUP, axis=0) + 0.2 * generator.normal(size=(N_GROUPS * PER_GROUP, DIM)))
    diseases = [("ms", "first"), ("parkinsons", "second")]
    cases = []
    for group in range(N_GROUPS):
        key, cohort = diseases[group // (N_GROUPS // 2)]
        label = DISEASES[key].classes[group % 2]
        for slice_ in range(PER_GROUP):
            cases.append(BankCase(key, label, cohort, f"g{group}", "train", "a.png", slice_))
    return Bank(features, tuple(cases))


@pytest.fixture
def bank() -> Bank:
    return bank_of()


def points_of(bank: Bank, disease: str = "all") -> pd.DataFrame:
    table = case_table(bank)
    rows = rows_of(table, disease)
    positions, _ = pca_map(bank.features[rows])
    return table.iloc[rows].assign(x=positions[:, 0], y=positions[:, 1], row=rows)


def test_pca_keeps_the_two_directions_of_the_largest_variance() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 5)) * [0.1, 3, 0.1, 9, 0.1]
    positions, fraction = pca_map(features)
    centred = features - features.mean(axis=0)
    assert np.abs(np.corrcoef(positions[:, 0], centred[:, 3])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(positions[:, 1], centred[:, 1])[0, 1]) > 0.99
    assert fraction == pytest.approx(positions.var(axis=0).sum() / centred.var(axis=0).sum())


def test_tsne_is_the_same_at_every_call_and_keeps_groups_together(bank: Bank) -> None:
    positions = tsne_map(bank.features)
    assert np.array_equal(positions, tsne_map(bank.features))
    distances = np.linalg.norm(positions[:, None] - positions, axis=2) + np.diag(np.full(len(positions), np.inf))
    group = np.repeat(np.arange(N_GROUPS), PER_GROUP)
    assert np.mean(group[distances.argmin(axis=1)] == group) > 0.9


def test_tsne_maps_a_fixed_sample_of_a_large_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MAX_TSNE", 40)
    assert tsne_sample(30).tolist() == list(range(30))
    drawn = tsne_sample(1000)
    assert len(set(drawn.tolist())) == 40
    assert drawn.max() > 500
    assert np.array_equal(drawn, tsne_sample(1000))


def test_neighbours_are_the_nearest_in_the_full_features_and_not_the_slice_itself(bank: Bank) -> None:
    rows, distances = neighbours(bank.features, case_table(bank), 10, is_other_group=False)
    expected = sorted(
        (1 - float(np.vdot(bank.features[10], other)), i) for i, other in enumerate(bank.features) if i != 10
    )
    assert rows.tolist() == [row for _, row in expected[:N_NEIGHBOURS]]
    assert distances.tolist() == pytest.approx([distance for distance, _ in expected[:N_NEIGHBOURS]], abs=1e-6)


def test_neighbours_of_other_groups_leave_the_slices_of_the_group_out(bank: Bank) -> None:
    table = case_table(bank)
    rows, _ = neighbours(bank.features, table, 10, is_other_group=True)
    assert len(rows) == N_NEIGHBOURS
    assert "g1" not in set(table["group"].iloc[rows])
    listed = neighbour_table(table, *neighbours(bank.features, table, 10, is_other_group=False), 10)
    assert set(listed["same group"]) == {"yes"}


def test_agreement_of_neighbours_is_that_of_a_plain_count(bank: Bank) -> None:
    table = case_table(bank)
    found = neighbour_agreement(bank.features, table).set_index("in common")
    assert found.loc["same group", "nearest"] == pytest.approx(_mean_agreement(bank, table, "group", is_other=False))
    assert found.loc["same cohort", "nearest"] == pytest.approx(_mean_agreement(bank, table, "cohort", is_other=True))
    n = len(table)
    assert found.loc["same group", "random pairs"] == pytest.approx((PER_GROUP - 1) / (n - 1))
    assert found.loc["same cohort", "random pairs"] == pytest.approx((n / 2 - PER_GROUP) / (n - PER_GROUP))


def _mean_agreement(bank: Bank, table: pd.DataFrame, column: str, is_other: bool) -> float:
    nearest = [neighbours(bank.features, table, row, is_other)[0] for row in range(len(table))]
    return float(np.mean([table[column].iloc[rows] == table[column].iloc[row] for row, rows in enumerate(nearest)]))


def test_agreement_of_random_features_is_near_chance(bank: Bank) -> None:
    features = unit(np.random.default_rng(1).normal(size=bank.features.shape))
    found = neighbour_agreement(features, case_table(bank))
    assert np.abs(found["nearest"] - found["random pairs"]).max() < 0.08


def test_what_all_slices_have_in_common_is_left_out(bank: Bank) -> None:
    table = case_table(bank)
    rows = rows_of(table, "ms")
    assert neighbour_agreement(bank.features[rows], table.iloc[rows])["in common"].tolist() == [
        "same group",
        "same class",
    ]


def test_a_selection_is_listed_by_class_and_cohort(bank: Bank) -> None:
    listed = selection_table(case_table(bank), np.arange(3 * PER_GROUP))
    assert listed["slices"].tolist() == [2 * PER_GROUP, PER_GROUP]
    assert listed["groups"].tolist() == [2, 1]
    assert listed["class"].tolist() == ["Multiple sclerosis: normal", "Multiple sclerosis: multiple sclerosis"]


def test_the_map_is_coloured_by_what_was_chosen(bank: Bank) -> None:
    by_disease = feature_map(points_of(bank), DISEASE, [], [])
    assert [trace.name for trace in by_disease.data] == ["Multiple sclerosis", "Parkinson's disease"]
    by_class = feature_map(points_of(bank, "ms"), CLASS, [], [])
    assert [trace.marker.color for trace in by_class.data] == list(theme.class_colours(DISEASES["ms"]).values())
    assert [trace.name for trace in feature_map(points_of(bank), COHORT, [], []).data] == ["first", "second"]
    assert "group g0, slice 0" in by_disease.data[0].hovertext[0]


def test_one_selected_point_is_ringed_with_its_neighbours_and_several_fade_the_others(bank: Bank) -> None:
    points = points_of(bank, "ms")
    one = feature_map(points, DISEASE, [3], [4, 5])
    assert [len(trace.x) for trace in one.data] == [len(points), 1, 2]
    assert one.data[1].x[0] == points["x"].iloc[3]
    assert one.data[0].selectedpoints is None
    assert list(feature_map(points, DISEASE, [3, 7], []).data[0].selectedpoints) == [3, 7]


def test_a_name_from_a_file_is_not_read_as_markup_on_hover(bank: Bank) -> None:
    named = replace(bank, cases=(bank.cases[0]._replace(group="<a href='x'>g</a>"), *bank.cases[1:]))
    hover = feature_map(points_of(named), DISEASE, [], []).data[0].hovertext[0]
    assert "&lt;a" in hover
    assert "<a" not in hover


def test_markup_in_the_name_of_a_cohort_is_shown_in_the_legend(bank: Bank) -> None:
    named = replace(bank, cases=tuple(case._replace(cohort="<b>x") for case in bank.cases))
    assert feature_map(points_of(named), COHORT, [], []).data[0].name == "&lt;b&gt;x"


@pytest.fixture
def configured(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    monkeypatch.setenv("SSLMRI_MODEL", str(model_folder))
    return read_model_card(model_folder)


def test_the_card_is_described_in_words(configured: ModelCard) -> None:
    words = facts(configured)
    assert f"{configured.encoder.architecture.feature_dim:,} features" in words
    assert "temperature 0.07" in words
    assert f"**{configured.encoder.data.counts.groups} groups**" in words


def test_a_model_without_a_bank_says_how_to_make_one(configured: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "_load_bank", lambda folder, sha256: None)
    app = open_page(PAGE)
    assert not app.exception
    assert "python train.py bank" in words_of(app)
    assert "NT-Xent loss by epoch" in words_of(app)


def page_with(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(sections, "_load_bank", lambda folder, sha256: bank)
    app = open_page(PAGE)
    assert not app.exception
    return app


def test_the_page_shows_the_map_and_what_neighbours_have_in_common(
    configured: ModelCard, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page_with(bank, monkeypatch)
    assert "PCA of the features" in words_of(app)
    assert "What nearest neighbours have in common" in words_of(app)
    app.button_group[0].set_value("ms").run()
    assert app.button_group[1].options == [CLASS, COHORT]
    app.button_group[2].set_value("t-SNE").run()
    assert not app.exception
    assert "mean little" in words_of(app)


def test_a_selected_point_shows_its_neighbours_until_the_selection_is_cleared(
    configured: ModelCard, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page_with(bank, monkeypatch)
    app.session_state[sections.SELECTED] = [10]
    app.run()
    assert "5 nearest slices" in [title.value for title in app.subheader]
    listed = table_of(app, "distance")
    assert listed["distance"].is_monotonic_increasing
    app.button[0].click().run()
    assert "5 nearest slices" not in [title.value for title in app.subheader]
