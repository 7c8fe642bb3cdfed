"""The encoder with its classifiers as one ONNX file, for programs without torch."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from sslmri.errors import ModelError
from sslmri.files import write_atomically
from sslmri.learning.encoder import normalise, pool
from sslmri.learning.model import Model
from sslmri.models.cards import INTENDED_USE, ModelCard
from sslmri.scans.scan import SEQUENCES

INPUT, FEATURES, SEQUENCE = "slices", "features", "sequence"
_TOLERANCE = 1e-4  # of features and probabilities
_SCALES = (0.5, 2.0, 8.0)  # of the structures in the slices that are compared, in pixels


def write_onnx(model: Model, out: Path) -> float:
    """Writes a model as ONNX and returns the largest difference from torch, of features and probabilities.

    The file takes ``slices``, prepared, (N, 1, H, W) uint8, and returns ``features`` (N, D), the calibrated
    probabilities of each classifier (N, C), named by its disease, and ``sequence`` (N, 4) where the model has a head
    for it. It is put in place only once ONNX Runtime has computed the same from it as torch.

    Raises:
        ModelError: a package is missing, or the file does not compute the same.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # which torch.onnx needs
    except ImportError as error:
        raise ModelError('ONNX files need packages that are missing: run pip install "sslmri[onnx]".') from error
    network, differences = Outputs(model).eval(), [np.inf]
    slices = torch.from_numpy(_drawn_slices(model.card.encoder.preparation.image_size))
    exported = torch.onnx.export(
        network,
        (slices[:2],),
        input_names=[INPUT],
        output_names=network.names,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        dynamo=True,
        verbose=False,
    )
    assert exported is not None  # with dynamo
    exported.model.metadata_props.update(_metadata(model.card))

    def write(path: Path) -> None:
        exported.save(path, external_data=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        with torch.inference_mode():
            pairs = zip(session.run(None, {INPUT: slices.numpy()}), network(slices), strict=True)
        differences[0] = float(np.max([np.abs(found - expected.numpy()).max() for found, expected in pairs]))
        if not differences[0] <= _TOLERANCE:
            raise ModelError(
                f"ONNX Runtime and torch differ by {differences[0]:.1e}, so nothing was written: "
                "install other versions of onnxruntime and onnxscript."
            )

    write_atomically(out, write)
    return differences[0]


class Outputs(nn.Module):
    """What is exported: (N, 1, H, W) uint8 -> the tensors of ``names``."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._encoder, self._model = model.encoder, model
        self.names = [FEATURES, *model.heads, *([SEQUENCE] if model.sequence else [])]

    def forward(self, slices: Tensor) -> list[Tensor]:
        """Returns the features and the probabilities of each head."""
        card = self._model.card
        stages = self._encoder.maps(normalise(slices[:, 0], card.encoder.preparation))
        logits = [
            head.slice_logits(head.local_logits(stages)) / card.heads[key].calibration_temperature
            for key, head in self._model.heads.items()
        ]
        if self._model.sequence:
            logits.append(self._model.sequence(stages.early))
        return [pool(stages.last), *(each.softmax(dim=1) for each in logits)]


def _drawn_slices(shape: tuple[int, int]) -> np.ndarray:
    """Returns a slice of noise for each scale, (N, 1, H, W) uint8."""
    generator = np.random.default_rng(0)
    drawn = [ndimage.gaussian_filter(generator.random(shape), scale) for scale in _SCALES]
    return np.stack([np.rint(255 * (each - each.min()) / np.ptp(each)) for each in drawn]).astype(np.uint8)[:, None]


def _metadata(card: ModelCard) -> dict[str, str]:
    """Returns what the file states about itself; classes and preparation as JSON."""
    classes = {key: head.classes for key, head in card.heads.items()} | {SEQUENCE: SEQUENCES}
    return {
        "notice": INTENDED_USE,
        "model": card.name,
        "model_sha256": card.sha256,
        "classes": json.dumps(classes),
        "preparation": json.dumps(asdict(card.encoder.preparation)),
    }
