"""Views and augmentation: random for each sample, the same for the same seed, within their range."""

import dataclasses

import numpy as np
import torch
from torch import Generator

from sslmri.learning.settings import AugmentSettings, ViewSettings
from sslmri.learning.views import augment, augment_slices, draw_augmentation, draw_views, make_views

STILL = ViewSettings(
    size=64, min_area=1, max_area=1, max_aspect=1, flip_probability=0, jitter_probability=0, blur_probability=0
)


def slices(n: int = 6) -> torch.Tensor:
    rows = torch.linspace(0, 1, 64).view(1, 1, 64, 1)
    columns = torch.linspace(0, 1, 64).view(1, 1, 1, 64)
    return (0.2 + 0.6 * (rows * columns)).expand(n, 1, 64, 64).contiguous()


def two_views(slices: torch.Tensor, settings: ViewSettings, generator: Generator) -> torch.Tensor:
    """Returns two views of each slice: (N, 1, H, W) -> (2, N, 1, size, size)."""
    parameters = draw_views(2 * len(slices), settings, generator)
    return make_views(torch.cat([slices, slices]), parameters, settings).unflatten(0, (2, len(slices)))


def test_views_have_their_size_and_stay_in_range():
    views = two_views(torch.rand(5, 1, 64, 64), ViewSettings(size=48), Generator().manual_seed(0))
    assert views.shape == (2, 5, 1, 48, 48)
    assert views.min() >= 0
    assert views.max() <= 1


def test_each_sample_and_each_view_draws_its_own_parameters():
    views = two_views(slices(), ViewSettings(size=48), Generator().manual_seed(0)).flatten(0, 1)
    assert len(torch.unique(views.flatten(1), dim=0)) == len(views)


def test_one_seed_gives_one_result():
    first, second = (two_views(slices(), ViewSettings(), Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_views_without_any_change_are_the_slices():
    views = two_views(slices(), STILL, Generator())
    assert torch.allclose(views[0], slices(), atol=1e-5)


def test_a_sure_flip_mirrors_left_and_right():
    views = two_views(slices(), dataclasses.replace(STILL, flip_probability=1), Generator())
    assert torch.allclose(views[0], slices().flip(-1), atol=1e-5)


def test_a_sure_blur_smooths_and_keeps_the_mean_inside():
    noise = torch.rand(4, 1, 64, 64)
    views = two_views(noise, dataclasses.replace(STILL, blur_probability=1), Generator().manual_seed(0))
    inner = views[0][..., 8:-8, 8:-8]
    assert (inner.std(dim=(2, 3)) < noise[..., 8:-8, 8:-8].std(dim=(2, 3))).any()
    assert torch.allclose(inner.mean(), noise[..., 8:-8, 8:-8].mean(), atol=0.02)


def test_a_smaller_crop_magnifies():
    views = two_views(slices(), dataclasses.replace(STILL, min_area=0.25, max_area=0.25), Generator().manual_seed(0))
    assert (views.amax(dim=(-1, -2)) - views.amin(dim=(-1, -2))).max() < 0.6


def test_augmentation_keeps_the_shape_and_differs_for_each_slice():
    changed = augment(slices(), draw_augmentation(6, AugmentSettings(), Generator().manual_seed(0)))
    assert changed.shape == (6, 1, 64, 64)
    assert len(torch.unique(changed.flatten(1), dim=0)) == 6


def test_no_augmentation_is_the_identity():
    none = AugmentSettings(max_rotation_deg=0, max_scale=0, max_shift=0, flip_probability=0, brightness=0, contrast=0)
    assert torch.allclose(augment(slices(), draw_augmentation(6, none, Generator())), slices(), atol=1e-5)


def test_augmented_slices_are_bytes_again_and_without_changes_the_same():
    given = torch.randint(0, 256, (4, 20, 16), dtype=torch.uint8, generator=Generator().manual_seed(0)).numpy()
    nothing = AugmentSettings(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    np.testing.assert_array_equal(augment_slices(given, nothing, Generator()), given)
    changed = augment_slices(given, AugmentSettings(), Generator().manual_seed(1))
    assert (changed.shape, changed.dtype) == (given.shape, given.dtype)
    np.testing.assert_array_equal(changed, augment_slices(given, AugmentSettings(), Generator().manual_seed(1)))


def test_where_slices_are_blurred_some_stay_nearly_as_sharp_as_they_were():
    noise = torch.rand(8, 1, 64, 64, generator=Generator().manual_seed(0))
    moved = AugmentSettings(max_rotation_deg=0, max_scale=0, flip_probability=0, brightness=0, contrast=0)
    parameters = draw_augmentation(8, moved, Generator().manual_seed(0))
    faint = parameters._replace(sigma=torch.full((8,), 0.02))
    linear, cubic = (augment(noise, own)[..., 8:-8, 8:-8].std() for own in (parameters, faint))
    assert cubic > 1.15 * linear


def test_an_augmented_slice_is_blurred_up_to_the_bound():
    noise = torch.rand(1, 1, 64, 64, generator=Generator().manual_seed(0)).expand(8, 1, 64, 64)
    still = AugmentSettings(
        max_rotation_deg=0, max_scale=0, max_shift=0, flip_probability=0, brightness=0, contrast=0, max_blur=1.0
    )
    parameters = draw_augmentation(8, still, Generator().manual_seed(0))
    assert 0 < parameters.sigma.min() < parameters.sigma.max() <= 1
    spread = augment(noise, parameters).std(dim=(1, 2, 3))
    assert torch.equal(spread.argsort(), parameters.sigma.argsort(descending=True))


def test_slices_that_are_not_square_keep_their_shape_and_are_turned_without_shear():
    disc = torch.zeros(1, 1, 96, 48)
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(48), indexing="ij")
    disc[0, 0] = (((rows - 47.5) ** 2 + (columns - 23.5) ** 2) < 200).float()
    turned = AugmentSettings(
        max_rotation_deg=45, max_scale=0, max_shift=0, flip_probability=0, brightness=0, contrast=0
    )
    changed = augment(disc, draw_augmentation(1, turned, Generator().manual_seed(3), aspect=2.0))
    assert changed.shape == disc.shape
    assert (changed - disc).abs().sum() / disc.sum() < 0.1


def test_a_rotation_does_not_change_the_size():
    disc = torch.zeros(1, 1, 64, 64)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc[0, 0] = (((rows - 31.5) ** 2 + (columns - 31.5) ** 2) < 400).float()
    turned = AugmentSettings(
        max_rotation_deg=45, max_scale=0, max_shift=0, flip_probability=0, brightness=0, contrast=0
    )
    assert abs(augment(disc, draw_augmentation(1, turned, Generator().manual_seed(3))).sum() / disc.sum() - 1) < 0.02


UNCHANGED = AugmentSettings(max_rotation_deg=0, max_scale=0, max_shift=0, flip_probability=0, brightness=0, contrast=0)


def augmented(slices: torch.Tensor, settings: AugmentSettings) -> torch.Tensor:
    return augment(slices, draw_augmentation(len(slices), settings, Generator().manual_seed(0)))


def test_a_gamma_curve_changes_intensities_and_keeps_black_and_white():
    ends = torch.zeros(8, 1, 64, 64)
    ends[:, :, :, 32:] = 1
    curved = dataclasses.replace(UNCHANGED, max_gamma=2)
    assert torch.allclose(augmented(ends, curved), ends, atol=1e-3)
    middle = augmented(torch.full((8, 1, 64, 64), 0.25), curved)[:, 0, 32, 32]
    assert len(middle.unique()) == 8
    assert middle.min() >= 0.25**2 - 1e-4
    assert middle.max() <= 0.25**0.5 + 1e-4
