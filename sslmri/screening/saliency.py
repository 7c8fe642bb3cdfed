"""What an answer rests on: Grad-CAM of every head and class in closed form, painted on a fixed scale."""

import copy
import functools
import threading
from collections.abc import Mapping
from typing import TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sslmri.errors import ModelError
from sslmri.learning.encoder import normalise, pool
from sslmri.learning.model import Head, Model
from sslmri.screening.outcome import NOTABLE_PEAK

CLOSED_FORM = "grad-cam"
METHODS: Mapping[str, str] = {
    CLOSED_FORM: "Grad-CAM, absolute scale",
    "grad-cam++": "Grad-CAM++, relative",
    "layer-cam": "Layer-CAM, relative",
    "x-grad-cam": "XGrad-CAM, relative",
    "score-cam": "Score-CAM, relative (slow)",
}
_ENGINES = {
    "grad-cam++": "GradCAMPlusPlus",
    "layer-cam": "LayerCAM",
    "x-grad-cam": "XGradCAM",
    "score-cam": "ScoreCAM",
}


def class_maps(feature_maps: Tensor, head: Head) -> Tensor:
    """Returns Grad-CAM of every class in closed form: (N, K, h, w) -> (N, C, h, w), in logits.

    With average pooling and a linear head the gradient of logit c is ``w_ck / (h w)`` everywhere, so the map of
    Selvaraju et al. 2017 (arXiv:1610.02391, eq. 1 and 2) is ``relu(sum_k w_ck A_k) / (h w)``: no backward pass.
    """
    height, width = feature_maps.shape[-2:]
    return torch.einsum("nkhw,ck->nchw", feature_maps, head.weight).relu() / (height * width)


def enlarge(map_: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns a map (h, w) at a slice's shape (H, W), bicubic and never below 0.

    Bilinear, the highest value always lies in the middle of a place of the small map; bicubic it moves towards a high
    neighbour, as what was seen between the two does.
    """
    picture = Image.fromarray(np.ascontiguousarray(map_, dtype=np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)).clip(min=0)


def paint(slice_: np.ndarray, level: np.ndarray, opacity: float) -> np.ndarray:
    """Returns a slice under a map: (H, W, 3) uint8, inferno, whose alpha grows with the level.

    Args:
        slice_: (H, W) uint8.
        level: (H, W) in [0, 1] of the scale; values outside are clipped.
        opacity: alpha at the top of the scale, in [0, 1].
    """
    clipped = np.clip(level, 0.0, 1.0)
    colours = colour_table()[np.rint(clipped * 255).astype(np.intp)]
    alpha = (opacity * clipped)[..., None]
    return np.rint(slice_[..., None] * (1 - alpha) + colours * alpha).astype(np.uint8)


@functools.cache
def colour_table() -> np.ndarray:
    """Returns inferno, from the bottom of the scale to its top: (256, 3) uint8."""
    from matplotlib import colormaps

    return np.asarray(colormaps["inferno"](np.arange(256), bytes=True))[:, :3]


class MapMeasures(TypedDict):
    """Size and place of what a map shows; see ``Finding``."""

    coverage: float | None
    peak: float
    peak_xy: tuple[float, float] | None


def measure_map(map_: np.ndarray, region: np.ndarray, scale: float) -> MapMeasures:
    """Returns coverage, peak and the place of the peak of a map (h, w), in logits.

    Args:
        map_: of one class.
        region: the head region of the prepared slice, bool (H, W).
        scale: the class's scale, in logits.
    """
    large = enlarge(map_, (region.shape[0], region.shape[1]))
    top = float(large.max())
    row, column = np.unravel_index(int(large.argmax()), large.shape)
    is_notable = top >= NOTABLE_PEAK * scale and region.any()
    return MapMeasures(
        coverage=float((large[region] > top / 2).mean()) if is_notable else None,
        peak=top / scale,
        peak_xy=(float((column + 0.5) / large.shape[1]), float((row + 0.5) / large.shape[0])) if top > 0 else None,
    )


class Explainer:
    """The other methods of the grad-cam package, on a private copy of the model.

    They hang hooks into the model they explain, so they never touch the one that screens, and take turns.
    """

    def __init__(self, model: Model) -> None:
        """Copies the encoder; the heads are constant."""
        self._encoder = copy.deepcopy(model.encoder)
        self._model = model
        self._lock = threading.Lock()

    def explain(self, slice_: np.ndarray, disease: str, class_index: int, method: str) -> np.ndarray:
        """Returns the map of one class for a prepared slice (H, W) uint8: (H, W) float32, stretched to [0, 1].

        Raises:
            ModelError: the method is not one of METHODS, or is the closed form.
        """
        if method not in _ENGINES:
            raise ModelError(f"Expected a method out of {', '.join(_ENGINES)}, got {method}.")
        try:
            import pytorch_grad_cam  # heavy, and needed only when a researcher asks for another method
            from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
        except ImportError as error:
            raise ModelError(f'{method} needs grad-cam: run pip install "sslmri[saliency]".') from error

        preparation = self._model.card.encoder.preparation
        batch = normalise(torch.from_numpy(np.array(slice_))[None], preparation)
        with self._lock, torch.enable_grad():
            network = _OneHead(self._encoder, self._model.heads[disease])
            engine_type = getattr(pytorch_grad_cam, _ENGINES[method])
            with engine_type(model=network, target_layers=[self._encoder.get_submodule("layer4")]) as engine:
                maps = engine(input_tensor=batch, targets=[ClassifierOutputTarget(class_index)])
        return np.asarray(maps[0], dtype=np.float32)


class _OneHead(nn.Module):
    """Encoder and one head as the single network that the grad-cam package expects."""

    def __init__(self, encoder: nn.Module, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self._head = head

    def forward(self, slices: Tensor) -> Tensor:
        return self._head.logits(pool(self.encoder.feature_maps(slices)))  # type: ignore[operator]
