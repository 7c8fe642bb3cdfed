"""The feature bank: what is stored, what is refused, and that thresholds come from validation groups."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from sslmri.errors import ModelError
from sslmri.files import write_json
from sslmri.gate.fit import fit_projection, fit_svm, threshold_between, whitened_axes
from sslmri.gate.synthetic import CORRUPTIONS, DRAWINGS, synthetic_images
from sslmri.models.bank import FeatureBank, PcaProjection, RbfSvm, save_bank, unit
from sslmri.models.convert import convert_bank
from sslmri.models.folder import BANK_CARD, BANK_FILE, read_model_card
from tests.banks import FEATURE_DIM, TEXTURE_DIM, seen
from tests.tiny import list_files_again


@pytest.fixture
def copied(gated_folder, tmp_path):
    return shutil.copytree(gated_folder, tmp_path / "model")


def change_card(folder, **changes) -> None:
    content = json.loads((folder / BANK_CARD).read_text())
    (folder / BANK_CARD).write_text(json.dumps(content | changes))
    list_files_again(folder)


def test_a_bank_holds_training_cases_only_and_projects_to_unit_length(gated_folder):
    bank = FeatureBank.of(read_model_card(gated_folder))
    assert bank is not None
    assert {case.split for case in bank.cases} == {"train"}
    assert set(bank.close_match) == set(bank.domain_svms) == {case.disease for case in bank.cases}
    points = bank.project(np.random.default_rng(0).random((3, FEATURE_DIM), dtype=np.float32))
    assert points.shape == (3, bank.features.shape[1])
    assert np.allclose(np.linalg.norm(points, axis=1), 1, atol=1e-5)


def test_a_model_without_a_bank_has_none_even_where_its_files_lie_about(model_folder, gated_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.pt"))
    assert FeatureBank.of(read_model_card(folder)) is None
    for name in (BANK_FILE, BANK_CARD):
        shutil.copy(gated_folder / name, folder / name)
    assert FeatureBank.of(read_model_card(folder)) is None


def test_a_changed_bank_is_refused_with_the_model(copied):
    content = json.loads((copied / BANK_CARD).read_text())
    write_json(copied / BANK_CARD, content | {"encoder_sha256": "0" * 64})
    with pytest.raises(ModelError, match=r"bank\.json of the model .* the file was changed"):
        read_model_card(copied)


def test_a_bank_of_another_encoder_is_refused(copied):
    change_card(copied, encoder_sha256="0" * 64)
    with pytest.raises(ModelError, match="got one of 000000000000"):
        FeatureBank.of(read_model_card(copied))


@pytest.mark.parametrize("fault", ["shape", "other stage", "nan", "missing", "integers", "unknown"])
def test_damaged_arrays_are_refused(copied, fault):
    arrays = load_file(copied / BANK_FILE)
    if fault == "shape":
        arrays["features"] = arrays["features"][1:]
    elif fault == "other stage":
        arrays["brain_center"], arrays["brain_axes"] = arrays["domain_center"], arrays["domain_axes"]
    elif fault == "nan":
        arrays["center"][0] = np.nan
    elif fault == "missing":
        del arrays["domain_axes"]
    elif fault == "integers":
        arrays["ms_weights"] = arrays["ms_weights"].astype(np.int32)
    else:
        arrays["other"] = arrays["center"]
    save_file(arrays, copied / BANK_FILE)
    list_files_again(copied)
    with pytest.raises(ModelError, match="got a damaged one: run `python train.py bank` again"):
        FeatureBank.of(read_model_card(copied))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", "-inf"),
        ("threshold", "nan"),
        ("threshold", float("nan")),
        ("threshold", 10**400),
        ("bias", None),
        ("gamma", -1.0),
        ("gamma", 0),
    ],
)
def test_a_rule_of_unusable_numbers_is_refused(copied, key, value):
    svms = json.loads((copied / BANK_CARD).read_text())["svms"]
    change_card(copied, svms=svms | {"brain": svms["brain"] | {key: value}})
    with pytest.raises(ModelError, match="got a damaged one"):
        FeatureBank.of(read_model_card(copied))


@pytest.mark.parametrize("changes", [
    {"close_match": {"ms": "x"}},
    {"close_match": {"ms": 10**400}},
    {"close_match": {"ms": 0.5}},
    {"cases": [["ms", "normal"]]},
    {"cases": [["ms", "glioma", "c", "g", "train", "p", None]]},
    {"cases": [["none", "normal", "c", "g", "train", "p", None]]},
    {"cases": [["ms", "normal", "c", "g", "train", "p", "1"]]},
    {"other": 1},
])  # fmt: skip
def test_a_card_of_another_form_is_refused(copied, changes):
    change_card(copied, **changes)
    with pytest.raises(ModelError, match="got a damaged one"):
        FeatureBank.of(read_model_card(copied))


def test_the_bank_changes_the_hash_of_the_model_and_no_head(gated_folder, model_folder):
    with_bank, without = read_model_card(gated_folder), read_model_card(model_folder)
    assert with_bank.sha256 != without.sha256
    assert with_bank.heads == without.heads


def test_the_brain_rule_separates_slices_from_synthetic_images(bank):
    rng = np.random.default_rng(1)
    brain, synthetic = (
        bank.brain_svm.passes(bank.brain_projection.project(seen(rng, position, count=20).textures))
        for position in (0, 2)
    )
    assert brain.mean() > 0.9
    assert not synthetic.any()


def test_a_support_vector_machine_scores_as_that_of_scikit_learn():
    points = np.random.default_rng(2).normal(size=(30, 4))
    is_in = points[:, 0] > 0.4
    ours = fit_svm(points, is_in)
    theirs = SVC(C=3.0, gamma=ours.gamma, class_weight="balanced").fit(points, is_in)
    new = np.random.default_rng(3).normal(size=(9, 4))
    assert np.allclose(ours.scores(new), theirs.decision_function(new), atol=1e-5)


def test_the_kernel_is_that_of_scikit_learn():
    rng = np.random.default_rng(5)
    points, vectors, weights = rng.normal(size=(6, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    expected = rbf_kernel(points, vectors, gamma=0.7) @ weights + 0.1
    assert np.allclose(RbfSvm(vectors, weights, 0.1, 0.7, 0.0).scores(points), expected)


def test_a_projection_has_the_principal_axes_of_scaled_roots_half_whitened():
    features = np.abs(np.random.default_rng(4).normal(size=(60, 20))) * np.linspace(0.1, 9, 20)
    roots = np.sqrt(features) - np.sqrt(features).mean(axis=0)
    scaled = roots / (roots.std(axis=0) + 0.1 * roots.std(axis=0).mean())
    strengths = np.sqrt(PCA(8).fit(scaled).explained_variance_)
    deviations = fit_projection(features, 8).project(features).std(axis=0)
    assert np.allclose(deviations / deviations[0], np.sqrt(strengths / strengths[0]), atol=1e-5)


def test_a_projection_is_of_square_roots():
    features = np.random.default_rng(4).random((5, 20))
    assert np.allclose(PcaProjection(np.zeros(20), np.eye(20)).project(features) ** 2, features)


def test_a_threshold_lies_halfway_between_rejecting_inside_and_accepting_outside():
    inside, outside = np.linspace(1, 2, 101), np.linspace(-2, 0, 101)
    assert threshold_between(inside, outside) == pytest.approx((1.02 - 0.1) / 2)
    assert threshold_between(inside, outside[:0]) == pytest.approx(1.02)
    assert threshold_between(inside[:0], outside[:0]) == 0


def test_whitened_axes_give_every_cohort_the_same_variance():
    rng = np.random.default_rng(3)
    scales = np.linspace(0.2, 5, 100)
    points = rng.normal(size=(400, 100)) * scales
    deviations = (points @ whitened_axes(points, np.repeat(["a", "b"], 200))).std(axis=0)
    assert deviations.max() / deviations.min() < 2 < scales.max() / scales.min()


def test_unit_leaves_the_origin_alone():
    assert np.array_equal(unit(np.zeros((1, 3), np.float32)), np.zeros((1, 3)))


@pytest.mark.parametrize("shape", [(128, 128), (32, 32), (62, 31)])
def test_synthetic_images_are_reproducible_of_all_kinds_and_within_the_intensity_range(shape):
    slices = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    count = 4 * max(len(DRAWINGS), len(CORRUPTIONS))
    images, again = synthetic_images(count, slices), synthetic_images(count, slices)
    assert len(images) == count
    assert all(np.array_equal(a, b) for a, b in zip(images, again, strict=True))
    assert all(image.min() >= 0 and image.max() <= 255 and np.isfinite(image).all() for image in images)


def test_a_bank_comes_back_as_it_was_saved(bank, gated_folder, tmp_path):
    for name in ("encoder.safetensors", "encoder.json", "heads", "model.json"):
        (shutil.copytree if name == "heads" else shutil.copy)(gated_folder / name, tmp_path / name)
    save_bank(tmp_path, bank)
    list_files_again(tmp_path)
    loaded = FeatureBank.of(read_model_card(tmp_path))
    assert loaded is not None
    assert (loaded.cases, loaded.close_match) == (bank.cases, bank.close_match)
    features = np.abs(np.random.default_rng(9).normal(size=(7, FEATURE_DIM))).astype(np.float32)
    assert np.allclose(loaded.project(features), bank.project(features), atol=1e-5)
    assert loaded.domain_svms.keys() == bank.domain_svms.keys()
    points = bank.domain_projection.project(features)
    assert np.allclose(loaded.domain_projection.project(features), points, atol=1e-5)
    for disease, svm in bank.domain_svms.items():
        assert np.allclose(loaded.domain_svms[disease].scores(points), svm.scores(points), atol=1e-5)
    points = bank.brain_projection.project(features[:, :TEXTURE_DIM])
    assert np.allclose(loaded.brain_projection.project(features[:, :TEXTURE_DIM]), points, atol=1e-5)
    assert np.allclose(loaded.brain_svm.scores(points), bank.brain_svm.scores(points), atol=1e-5)
    assert np.allclose(loaded.features, bank.features, atol=1e-3)


def test_a_bank_of_the_former_format_is_converted_without_a_change_of_its_numbers(copied, bank):
    save_bank(copied, bank)
    new, arrays = json.loads((copied / BANK_CARD).read_text()), load_file(copied / BANK_FILE)
    save_file({name.replace("domain_", "kind_"): array for name, array in arrays.items()}, copied / BANK_FILE)
    distances = {disease: {"distance": 0.4, "similar": value} for disease, value in new["close_match"].items()}
    fields = ["disease", "label", "cohort", "group", "split", "path", "slice"]
    old = {"encoder_sha256": new["encoder_sha256"], "rules": new["svms"], "thresholds": distances}
    write_json(copied / BANK_CARD, {**old, "columns": fields, "cases": new["cases"]})
    convert_bank(copied)
    assert json.loads((copied / BANK_CARD).read_text()) == new
    converted = load_file(copied / BANK_FILE)
    assert converted.keys() == arrays.keys()
    assert all(np.array_equal(converted[name], array) for name, array in arrays.items())
