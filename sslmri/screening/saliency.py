"""Grad-CAM of every head and class in closed form, and the other methods of the grad-cam package."""

import copy
import threading

import numpy as np
import torch
from torch import Tensor, nn

from sslmri.errors import ModelError
from sslmri.learning.encoder import Encoder, normalise, weigh
from sslmri.learning.model import Head, Model
from sslmri.screening.maps import ENGINES


def class_maps(local: Tensor, head: Head) -> Tensor:
    """Returns Grad-CAM of every class in closed form, (N, C, h, w), in logits.

    With a linear head the mean gradient of logit c is ``w_ck / (h w)``: pooling, by the mean or by log-mean-exp,
    weighs the locations by numbers that add up to 1. So the map of Selvaraju et al. 2017 (arXiv:1610.02391, eq. 1 and
    2) is ``relu(sum_k w_ck A_k) / (h w)``: no backward pass. Of a head with weights for each half it is, on the maps of
    the second stage, HiResCAM (Draelos and Carin 2020, arXiv:2011.08891, eq. 3).

    Args:
        local: the logits of each location, (N, C, h, w).
        head: that they are of.
    """
    height, width = local.shape[-2:]
    return (local - head.bias[:, None, None]).relu() / (height * width)


class Explainer:
    """The other methods of the grad-cam package, on a private copy of the encoder, one at a time.

    They register hooks on the model that they explain, so they never touch the one that screens.
    """

    def __init__(self, model: Model) -> None:
        """Copies the encoder; the heads are constant."""
        self._encoder = copy.deepcopy(model.encoder)
        self._model = model
        self._lock = threading.Lock()

    def explain(self, slice_: np.ndarray, disease: str, class_index: int, method: str) -> np.ndarray:
        """Returns the map of one class for a prepared slice (H, W) uint8: (H, W) float32, stretched to [0, 1].

        Raises:
            ModelError: the method is not one of ENGINES.
        """
        if method not in ENGINES:
            raise ModelError(f"Expected a method out of {', '.join(ENGINES)}, got {method}.")
        try:
            import pytorch_grad_cam  # heavy, and needed only when a researcher asks for another method
            from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
        except ImportError as error:
            raise ModelError(f'{method} needs grad-cam: run pip install "sslmri[saliency]".') from error

        preparation = self._model.card.encoder.preparation
        batch = normalise(torch.from_numpy(np.array(slice_))[None], preparation)
        with self._lock, torch.enable_grad():
            network = OneHead(self._encoder, self._model.heads[disease])
            engine_type = getattr(pytorch_grad_cam, ENGINES[method])
            with engine_type(model=network, target_layers=[network.stage]) as engine:
                maps = engine(input_tensor=batch, targets=[ClassifierOutputTarget(class_index)])
        return np.asarray(maps[0], dtype=np.float32)


class OneHead(nn.Module):
    """Encoder and one head as the single network that the grad-cam package expects; ``stage`` is what it explains."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.stage = nn.Identity()
        self._head = head

    def forward(self, slices: Tensor) -> Tensor:
        """Returns the logits of slices: (N, 1, H, W) -> (N, C)."""
        maps = self.stage(self._head.read(self.encoder.maps(slices)))
        return self._head.slice_logits(weigh(maps, self._head.weight) + self._head.bias[:, None, None])
