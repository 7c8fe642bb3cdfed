"""The feature bank: what is stored, what is refused, and that thresholds come from validation groups."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from sslmri.errors import ModelError
from sslmri.files import write_json
from sslmri.gate.fit import whitened_axes
from sslmri.gate.fit_rules import fit_rule, halfway, root_space
from sslmri.gate.synthetic_bodies import BODIES, CORRUPTIONS
from sslmri.gate.synthetic_ood import MAKERS, make_pictures
from sslmri.models.bank import FeatureBank, save_bank, unit
from sslmri.models.cards import BANK_CARD, BANK_FILE, read_model_card, write_model_file
from sslmri.models.gate_rules import PcaProjection
from tests.banks import FEATURE_DIM, TEXTURE_DIM, seen


@pytest.fixture
def copied(gated_folder, tmp_path):
    return shutil.copytree(gated_folder, tmp_path / "model")


def rewritten(folder) -> None:
    """Writes ``model.json`` for the files as they are."""
    content = json.loads((folder / "model.json").read_text())
    write_model_file(folder, content["name"], content["training"], content["created"])


def test_a_bank_holds_training_cases_only_and_projects_to_unit_length(gated_folder):
    bank = FeatureBank.load(gated_folder)
    assert bank is not None
    assert {case.split for case in bank.cases} == {"train"}
    assert set(bank.thresholds) == {case.disease for case in bank.cases}
    points = bank.project(np.random.default_rng(0).random((3, FEATURE_DIM), dtype=np.float32))
    assert points.shape == (3, bank.features.shape[1])
    assert np.allclose(np.linalg.norm(points, axis=1), 1, atol=1e-5)


def test_a_model_without_a_bank_has_none_even_where_its_files_lie_about(model_folder, gated_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.pt"))
    assert FeatureBank.load(folder) is None
    for name in (BANK_FILE, BANK_CARD):
        shutil.copy(gated_folder / name, folder / name)
    assert FeatureBank.load(folder) is None


def test_a_changed_bank_is_refused_with_the_model(copied):
    content = json.loads((copied / BANK_CARD).read_text())
    write_json(copied / BANK_CARD, content | {"encoder_sha256": "0" * 64})
    with pytest.raises(ModelError, match=r"bank\.json of the model .* the file was changed"):
        read_model_card(copied)


def test_a_bank_of_another_encoder_is_refused(copied):
    content = json.loads((copied / BANK_CARD).read_text())
    write_json(copied / BANK_CARD, content | {"encoder_sha256": "0" * 64})
    rewritten(copied)
    with pytest.raises(ModelError, match="got one of 000000000000"):
        FeatureBank.load(copied)


@pytest.mark.parametrize("fault", ["shape", "other stage", "nan", "missing", "columns"])
def test_a_damaged_bank_is_refused(copied, fault):
    arrays, content = load_file(copied / BANK_FILE), json.loads((copied / BANK_CARD).read_text())
    if fault == "shape":
        arrays["features"] = arrays["features"][1:]
    elif fault == "other stage":
        arrays["brain_center"], arrays["brain_axes"] = arrays["kind_center"], arrays["kind_axes"]
    elif fault == "nan":
        arrays["center"][0] = np.nan
    elif fault == "missing":
        del arrays["kind_axes"]
    else:
        content["columns"] = content["columns"][::-1]
    save_file(arrays, copied / BANK_FILE)
    write_json(copied / BANK_CARD, content)
    rewritten(copied)
    with pytest.raises(ModelError, match="got a damaged one: run `python train.py bank` again"):
        FeatureBank.load(copied)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", "-inf"),
        ("threshold", "nan"),
        ("threshold", 10**400),
        ("bias", None),
        ("gamma", -1.0),
        ("gamma", 0),
    ],
)
def test_a_rule_of_numbers_that_are_none_is_refused(copied, key, value):
    content = json.loads((copied / BANK_CARD).read_text())
    content["rules"]["brain"][key] = value
    (copied / BANK_CARD).write_text(json.dumps(content))
    rewritten(copied)
    with pytest.raises(ModelError, match="got a damaged one"):
        FeatureBank.load(copied)


@pytest.mark.parametrize("ground", [{"distance": "x", "similar": None}, {"distance": 10**400, "similar": 1.0}])
def test_distances_that_are_no_numbers_are_refused(copied, ground):
    content = json.loads((copied / BANK_CARD).read_text())
    content["thresholds"]["ms"] = ground
    (copied / BANK_CARD).write_text(json.dumps(content))
    rewritten(copied)
    with pytest.raises(ModelError, match="got a damaged one"):
        FeatureBank.load(copied)


def test_the_bank_changes_the_hash_of_the_model_and_no_head(gated_folder, model_folder):
    with_bank, without = read_model_card(gated_folder), read_model_card(model_folder)
    assert with_bank.sha256 != without.sha256
    assert with_bank.heads == without.heads


def test_the_brain_rule_tells_features_of_slices_from_those_of_pictures(bank):
    rng = np.random.default_rng(1)
    textures = [seen(rng, place, count=20).textures for place in (0, 2)]
    scores = [bank.brain.scores(bank.brain_space.project(found)) for found in textures]
    assert (scores[0] >= bank.brain.threshold).mean() > 0.9
    assert (scores[1] < bank.brain.threshold).all()


def test_a_rule_decides_as_the_machine_of_another_library_does():
    points = np.random.default_rng(2).normal(size=(30, 4))
    is_in = points[:, 0] > 0.4
    rule = fit_rule(points, is_in)
    machine = SVC(C=3.0, gamma=rule.gamma, class_weight="balanced").fit(points, is_in)
    new = np.random.default_rng(3).normal(size=(9, 4))
    assert np.allclose(rule.scores(new), machine.decision_function(new), atol=1e-5)


def test_a_space_holds_the_principal_axes_of_scaled_roots_half_as_far_apart():
    found = np.abs(np.random.default_rng(4).normal(size=(60, 20))) * np.linspace(0.1, 9, 20)
    roots = np.sqrt(found) - np.sqrt(found).mean(axis=0)
    scaled = roots / (roots.std(axis=0) + 0.1 * roots.std(axis=0).mean())
    strengths = np.sqrt(PCA(8).fit(scaled).explained_variance_)
    spread = root_space(found, 8).project(found).std(axis=0)
    assert np.allclose(spread / spread[0], np.sqrt(strengths / strengths[0]), atol=1e-5)


def test_a_space_is_of_the_roots():
    found = np.random.default_rng(4).random((5, 20))
    assert np.allclose(PcaProjection(np.zeros(20), np.eye(20)).project(found) ** 2, found)


def test_a_threshold_lies_halfway_between_refusing_own_and_letting_in_others():
    own, others = np.linspace(1, 2, 101), np.linspace(-2, 0, 101)
    assert halfway(own, others) == pytest.approx((1.02 - 0.1) / 2)
    assert halfway(own, others[:0]) == pytest.approx(1.02)
    assert halfway(own[:0], others[:0]) == 0


def test_whitened_axes_give_every_cohort_the_same_spread():
    rng = np.random.default_rng(3)
    scales = np.linspace(0.2, 5, 100)
    points = rng.normal(size=(400, 100)) * scales
    cohorts = np.repeat(["a", "b"], 200)
    spread = (points @ whitened_axes(points, cohorts, points[:50])).std(axis=0)
    assert spread.max() / spread.min() < 2 < scales.max() / scales.min()


def test_unit_leaves_the_origin_alone():
    assert np.array_equal(unit(np.zeros((1, 3), np.float32)), np.zeros((1, 3)))


def test_made_up_pictures_are_reproducible_of_all_kinds_and_in_the_grey_range():
    slices = np.random.default_rng(0).integers(0, 256, (3, 128, 128), dtype=np.uint8)
    count = 4 * max(len(MAKERS) + len(BODIES), len(CORRUPTIONS))
    pictures, again = make_pictures(count, slices), make_pictures(count, slices)
    assert len(pictures) == count
    assert all(np.array_equal(a, b) for a, b in zip(pictures, again, strict=True))
    assert all(p.min() >= 0 and p.max() <= 255 and np.isfinite(p).all() for p in pictures)


def test_a_bank_comes_back_as_it_was_saved(bank, gated_folder, tmp_path):
    for name in ("encoder.safetensors", "encoder.json", "heads", "model.json"):
        (shutil.copytree if name == "heads" else shutil.copy)(gated_folder / name, tmp_path / name)
    save_bank(tmp_path, bank)
    rewritten(tmp_path)
    loaded = FeatureBank.load(tmp_path)
    assert loaded is not None
    assert (loaded.cases, loaded.thresholds) == (bank.cases, bank.thresholds)
    found = np.abs(np.random.default_rng(9).normal(size=(7, FEATURE_DIM))).astype(np.float32)
    assert np.allclose(loaded.project(found), bank.project(found), atol=1e-5)
    assert loaded.kinds.keys() == bank.kinds.keys()
    for name, rule in {"": bank.brain, **bank.kinds}.items():
        again = loaded.kinds[name] if name else loaded.brain
        points = bank.kind_space.project(found) if name else bank.brain_space.project(found[:, :TEXTURE_DIM])
        assert np.allclose(again.scores(points), rule.scores(points), atol=1e-5)
    for space, same in ((loaded.kind_space, bank.kind_space), (loaded.brain_space, bank.brain_space)):
        part = found[:, : len(same.center)]
        assert np.allclose(space.project(part), same.project(part), atol=1e-5)
    assert np.allclose(loaded.features, bank.features, atol=1e-3)
