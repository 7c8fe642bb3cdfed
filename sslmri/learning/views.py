"""The two views of SimCLR, made for a whole batch on the training device (Chen et al. 2020, appendix A)."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from sslmri.learning.settings import AugmentSettings, ViewSettings

_NO_BLUR = 0.01  # sigma, in pixels, whose kernel is a single pixel


class ViewParameters(NamedTuple):
    """What N views are made with. Drawn on the CPU, so one seed gives one result on every device.

    Attributes:
        theta: (N, 2, 3) affine map of crop, flip and rotation.
        gain, contrast: (N,) factor of the intensities, and of their distance from their mean.
        sigma: (N,) of the Gaussian blur, in pixels; near 0 for a view that is not blurred.
        gamma: (N,) exponent of the intensities.
    """

    theta: Tensor
    gain: Tensor
    contrast: Tensor
    sigma: Tensor
    gamma: Tensor

    def pick(self, rows: Tensor) -> "ViewParameters":
        """Returns the parameters of some of the views."""
        return ViewParameters(*(values[rows] for values in self))


def draw_views(n: int, settings: ViewSettings, generator: Generator) -> ViewParameters:
    """Returns the parameters of n views, each with its own."""
    theta = _crop_and_flip(n, settings, generator)
    gain, contrast = _jitter(n, settings.brightness, settings.contrast, settings.jitter_probability, generator)
    on = torch.rand(n, generator=generator) < settings.blur_probability
    sigma = torch.where(on, _uniform(n, 0.1, settings.max_blur_fraction * settings.size, generator), _NO_BLUR)
    return ViewParameters(theta, gain, contrast, sigma, torch.ones(n))


def make_views(slices: Tensor, parameters: ViewParameters, settings: ViewSettings) -> Tensor:
    """Returns the view of each slice: (N, 1, H, W) in [0, 1] -> (N, 1, size, size) in [0, 1]."""
    radius = math.ceil(2 * settings.max_blur_fraction * settings.size)  # the same for any part of a batch
    return _changed(resample(slices, parameters.theta, (settings.size, settings.size)), parameters, radius)


def draw_augmentation(n: int, settings: AugmentSettings, generator: Generator, aspect: float = 1.0) -> ViewParameters:
    """Returns the parameters of n augmentations, for slices that are ``aspect`` times as high as wide."""
    angle = _uniform(n, -1, 1, generator) * math.radians(settings.max_rotation_deg)
    scale = 1 + _uniform(n, -1, 1, generator) * settings.max_scale
    shift_x, shift_y = (_uniform(n, -2, 2, generator) * settings.max_shift for _ in range(2))
    flip = torch.where(torch.rand(n, generator=generator) < settings.flip_probability, -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([cos * flip, -sin * aspect, shift_x, sin * flip / aspect, cos, shift_y], dim=1).view(n, 2, 3)
    gain, contrast = _jitter(n, settings.brightness, settings.contrast, 1.0, generator)
    gamma = (_uniform(n, -1, 1, generator) * math.log(settings.max_gamma)).exp()
    sigma = _uniform(n, 0, settings.max_blur, generator)
    return ViewParameters(theta, gain, contrast, sigma, gamma)


def augment(slices: Tensor, parameters: ViewParameters) -> Tensor:
    """Returns each slice rotated, scaled, shifted, flipped and with other intensities: (N, 1, H, W) in [0, 1].

    Where slices are blurred they are resampled by cubic convolution, so that some stay as sharp as a screened slice.
    """
    radius = math.ceil(4 * float(parameters.sigma.max()))
    shape, mode = (slices.shape[2], slices.shape[3]), "bicubic" if radius else "bilinear"
    return _changed(resample(slices, parameters.theta, shape, mode), parameters, radius)


def _changed(views: Tensor, parameters: ViewParameters, radius: int) -> Tensor:
    """Returns views (N, 1, H, W) with their gamma, brightness, contrast and blur, which is cut off at a radius."""
    views = views.clamp(0, 1) ** parameters.gamma.view(-1, 1, 1, 1).to(views.device)
    views = _jittered(views, parameters.gain, parameters.contrast)
    return _blur(views, parameters.sigma.clamp(min=_NO_BLUR), radius) if radius else views


def augment_slices(slices: np.ndarray, settings: AugmentSettings, generator: Generator) -> np.ndarray:
    """Returns each slice with an augmentation of its own: (N, H, W) uint8 -> (N, H, W) uint8."""
    images = torch.from_numpy(slices).unsqueeze(1).float() / 255
    parameters = draw_augmentation(len(slices), settings, generator, slices.shape[1] / slices.shape[2])
    return np.asarray((augment(images, parameters).squeeze(1) * 255).round().byte())


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low


def _crop_and_flip(n: int, settings: ViewSettings, generator: Generator) -> Tensor:
    """Returns random resized crops with horizontal flips as affine maps (N, 2, 3)."""
    area = _uniform(n, settings.min_area, settings.max_area, generator)
    aspect = _uniform(n, -math.log(settings.max_aspect), math.log(settings.max_aspect), generator).exp()
    width, height = (area * aspect).sqrt().clamp(max=1.0), (area / aspect).sqrt().clamp(max=1.0)
    center_x = (1 - width) * _uniform(n, -1, 1, generator)
    center_y = (1 - height) * _uniform(n, -1, 1, generator)
    flip = torch.where(torch.rand(n, generator=generator) < settings.flip_probability, -1.0, 1.0)
    zero = torch.zeros(n)
    return torch.stack([width * flip, zero, center_x, zero, height, center_y], dim=1).view(n, 2, 3)


def resample(slices: Tensor, theta: Tensor, shape: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Returns slices (N, 1, H, W) resampled by affine maps theta (N, 2, 3) to (N, 1, *shape), zero outside."""
    grid = functional.affine_grid(theta.to(slices.device), [len(slices), 1, *shape], align_corners=False)
    return functional.grid_sample(slices, grid, mode=mode, align_corners=False)


def _jitter(
    n: int, brightness: float, contrast: float, probability: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Returns gain and contrast (N,), both 1 where the jitter is off."""
    on = torch.rand(n, generator=generator) < probability
    gain = torch.where(on, _uniform(n, 1 - brightness, 1 + brightness, generator), 1.0)
    return gain, torch.where(on, _uniform(n, 1 - contrast, 1 + contrast, generator), 1.0)


def _jittered(views: Tensor, gain: Tensor, contrast: Tensor) -> Tensor:
    """Returns views (N, 1, H, W) with another brightness and another contrast about their mean."""
    gain, contrast = (factor.view(-1, 1, 1, 1).to(views.device) for factor in (gain, contrast))
    views = views * gain
    mean = views.mean(dim=(2, 3), keepdim=True)
    return ((views - mean) * contrast + mean).clamp(0, 1)


def _blur(views: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Gaussian blur, a separable kernel for each view with its sigma (N,), cut off at ``radius``; both in pixels."""
    n = len(views)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(views.device)
    stacked = views.transpose(0, 1)  # (1, N, size, size): a group of the convolution for each view
    stacked = functional.conv2d(stacked, kernel.view(n, 1, 1, -1), padding=(0, radius), groups=n)
    stacked = functional.conv2d(stacked, kernel.view(n, 1, -1, 1), padding=(radius, 0), groups=n)
    return stacked.transpose(0, 1).clamp(0, 1)
