"""The closed-form Grad-CAM against its definition, against the grad-cam package, and against a randomised head."""

import dataclasses

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM, HiResCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from sslmri.errors import ModelError
from sslmri.learning.encoder import normalise
from sslmri.learning.model import Head, Model
from sslmri.screening.maps import METHODS, colour_table, enlarge, measure_map, paint
from sslmri.screening.saliency import Explainer, OneHead, class_maps
from tests.small_encoder import SMALL_ENCODER


@pytest.fixture(scope="module")
def model(model_folder) -> Model:
    return Model.load(model_folder)


@pytest.fixture(scope="module")
def slice_() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)


def random_head(n_classes: int, seed: int = 0, n_added: int = 0) -> Head:
    generator = torch.Generator().manual_seed(seed)
    width = SMALL_ENCODER.feature_dim + n_added
    return Head(torch.randn(n_classes, width, generator=generator), torch.zeros(n_classes))


@pytest.mark.parametrize("n_added", [0, SMALL_ENCODER.texture_dim // 2], ids=["last stage", "both stages"])
def test_closed_form_equals_the_grad_cam_package(model, slice_, n_added):
    head = random_head(3, n_added=n_added)
    ours = class_maps(head.local_logits(model.maps(slice_[None])), head)[0].numpy()
    batch = normalise(torch.from_numpy(slice_[None]), model.card.encoder.preparation)
    network = OneHead(Explainer(model)._encoder, head)
    for index in range(3):
        with GradCAM(model=network, target_layers=[network.stage]) as engine:
            engine(input_tensor=batch, targets=[ClassifierOutputTarget(index)])
            raw = engine.get_cam_image(
                batch,
                network.stage,
                [ClassifierOutputTarget(index)],
                engine.activations_and_grads.activations[0].cpu().numpy(),
                engine.activations_and_grads.gradients[0].cpu().numpy(),
            )
        assert np.allclose(ours[index], np.maximum(raw[0], 0), atol=1e-4 * max(1, ours[index].max()))


def test_of_a_head_with_weights_for_each_half_it_is_hirescam_of_the_second_stage(model, slice_):
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(3, model.encoder.architecture.texture_dim, generator=generator)
    head = Head(weight, torch.zeros(3), "halves")
    ours = class_maps(head.local_logits(model.maps(slice_[None])), head)[0].numpy()
    batch = normalise(torch.from_numpy(slice_[None]), model.card.encoder.preparation)
    network = OneHead(Explainer(model)._encoder, head)
    for index in range(3):
        with HiResCAM(model=network, target_layers=[network.stage]) as engine:
            engine(input_tensor=batch, targets=[ClassifierOutputTarget(index)])
            activations, gradients = (
                getattr(engine.activations_and_grads, name)[0].cpu().numpy() for name in ("activations", "gradients")
            )
            raw = engine.get_cam_image(batch, None, [ClassifierOutputTarget(index)], activations, gradients, False)
        assert np.allclose(ours[index], np.maximum(raw[0], 0), atol=1e-4 * max(1, ours[index].max()))


def test_a_randomised_head_changes_the_map(model, slice_):
    stages, heads = model.maps(slice_[None]), [random_head(2, seed) for seed in (1, 2)]
    first, second = (class_maps(head.local_logits(stages), head)[0, 1].flatten() for head in heads)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("grad-cam", "score-cam")])
def test_other_methods_leave_the_screening_model_untouched(model, slice_, method):
    before = model.maps(slice_[None]).last
    found = Explainer(model).explain(slice_, "tumours", 1, method)
    assert found.shape == slice_.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(before, model.maps(slice_[None]).last)
    assert not any(module._forward_hooks for module in model.encoder.modules())


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("grad-cam", "score-cam")])
def test_every_method_draws_another_map_for_another_class(model, slice_, method):
    heads = {**model.heads, "tumours": random_head(4)}
    explainer = Explainer(dataclasses.replace(model, heads=heads))
    first, second = (explainer.explain(slice_, "tumours", index, method) for index in (1, 2))
    assert not np.allclose(first, second)


def test_an_unknown_method_is_refused(model, slice_):
    with pytest.raises(ModelError, match="Expected a method out of"):
        Explainer(model).explain(slice_, "tumours", 1, "magic")


def test_paint_leaves_the_slice_where_the_level_is_zero(slice_):
    painted = paint(slice_, np.zeros((128, 128)), 1.0)
    assert np.array_equal(painted, np.repeat(slice_[..., None], 3, axis=2))


def test_paint_shows_the_top_colour_at_the_top_of_the_scale(slice_):
    painted = paint(slice_, np.full((128, 128), 7.0), 1.0)
    assert (painted == colour_table()[255]).all()


def test_opacity_zero_shows_the_plain_slice(slice_):
    assert np.array_equal(paint(slice_, np.ones((128, 128)), 0.0)[..., 0], slice_)


WHOLE = (0.0, 0.0, 1.0, 1.0)  # a prepared slice without padding


@pytest.fixture
def left() -> tuple[np.ndarray, np.ndarray]:
    """Returns a map whose left half is 1, and a head region in the middle."""
    region = np.zeros((128, 128), bool)
    region[32:96, 32:96] = True
    map_ = np.zeros((128, 128), np.float32)
    map_[:, :64] = 1.0
    return map_, region


@pytest.mark.parametrize("scale", [1.0, 3.0, 9.9])
def test_coverage_is_the_fraction_of_the_head_above_half_of_the_maps_own_peak_whatever_the_scale(left, scale):
    found = measure_map(*left, WHOLE, scale)
    assert found["coverage"] == pytest.approx(0.5, abs=0.02)
    assert found["peak"] == pytest.approx(1 / scale, rel=0.1)


def test_a_peak_under_a_tenth_of_the_scale_is_no_notable_saliency(left):
    found = measure_map(*left, WHOLE, 12.0)
    assert found["coverage"] is None
    assert found["peak"] == pytest.approx(1 / 12, rel=0.1)


def test_without_a_head_or_in_an_empty_map_nothing_is_covered(left):
    map_, region = left
    assert measure_map(map_, np.zeros_like(region), WHOLE, 1.0)["coverage"] is None
    assert measure_map(np.zeros_like(map_), region, WHOLE, 1.0) == {"coverage": None, "peak": 0.0, "peak_xy": None}


def test_the_peak_is_located_by_fractions_of_width_and_height():
    map_ = np.zeros((8, 4), np.float32)
    map_[1, 3] = 1.0
    found = measure_map(map_, np.ones((160, 160), bool), WHOLE, 1.0)
    x, y = found["peak_xy"]
    assert 0.75 <= x <= 1
    assert 1 / 8 <= y <= 2 / 8


def test_the_peak_is_located_in_the_image_of_the_file_not_in_its_padding():
    map_ = np.zeros((8, 8), np.float32)
    map_[2, 3] = 1.0
    box = (0.0, -0.5, 1.0, 2.0)  # of an image half as wide as high, padded at both sides
    x, y = measure_map(map_, np.ones((128, 128), bool), box, 1.0)["peak_xy"]
    assert (x, y) == pytest.approx((-0.5 + 2 * 3.5 / 8, 2.5 / 8), abs=0.02)


def test_enlarging_keeps_a_constant_map():
    assert np.allclose(enlarge(np.full((4, 4), 2.5, np.float32), (128, 96)), 2.5)


def test_the_peak_of_an_enlarged_map_moves_towards_a_high_neighbour():
    map_ = np.zeros((8, 8), np.float32)
    map_[3, 2], map_[3, 3] = 0.9, 1.0
    large = enlarge(map_, (128, 128))
    row, column = np.unravel_index(large.argmax(), large.shape)
    assert 3 * 16 <= row < 4 * 16
    assert 3 * 16 <= column < 3 * 16 + 8
    assert large.min() == 0
