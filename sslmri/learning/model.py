"""A trained model: one encoder, one linear head for each disease, saved with their meaning."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from sslmri.errors import ModelError
from sslmri.files import write_atomically
from sslmri.learning.encoder import Encoder, Maps, both_stages, halves, interpolate, normalise, pool, weigh
from sslmri.learning.sequence_head import SequenceHead
from sslmri.models.architecture import Architecture
from sslmri.models.cards import ModelCard, Pooling
from sslmri.models.folder import (
    ENCODER_CARD,
    ENCODER_FILE,
    HEADS,
    SEQUENCE_FILE,
    read_encoder_card,
    read_model_card,
)
from sslmri.models.integrity import read_bounded, read_listed

BATCH = 32


@dataclass(frozen=True)
class Head:
    """A linear head, applied at each location of the feature maps; a slice's logits are pooled from these local ones.

    Attributes:
        weight: (C, K) float32, for the K channels of the last stage, or of the second and the last.
        bias: (C,) float32.
        pooling: ``mean``, which equals the head on the mean features; ``log-mean-exp``: the logarithm of the mean
            exponential, in which a small lesion counts (Pinheiro and Collobert 2015, arXiv:1411.6228, section 3.2,
            r = 1); or ``halves``: the mean over the maps of the second stage, with weights of their own for the upper
            and the lower half.
    """

    weight: Tensor
    bias: Tensor
    pooling: Pooling = "mean"

    def read(self, maps: Maps) -> Tensor:
        """Returns the maps that the head weighs, (N, K, h, w), for methods that need all of them in one array."""
        if self.pooling == "halves":
            return halves(maps.early)
        return maps.last if self.weight.shape[1] == maps.last.shape[1] else both_stages(maps)

    def rounded(self) -> "Head":
        """Returns the head as it is once saved."""
        return replace(self, weight=self.weight.half().float(), bias=self.bias.half().float())

    def logits(self, features: Tensor) -> Tensor:
        """Returns the logits of mean features: (N, K) -> (N, C)."""
        return features @ self.weight.T + self.bias

    def local_logits(self, stages: Maps) -> Tensor:
        """Returns the logits of each location of the maps that the head reads: (N, C, h, w).

        They are those of ``read``, without that array, which is hundreds of times as large: of the last stage the
        logits are interpolated, not the maps, and both are linear.
        """
        early, last = stages
        if self.pooling == "halves":
            n_early, middle = early.shape[1], early.shape[2] // 2
            upper, lower = early[:, :, :middle], early[:, :, middle:]
            parts = weigh(upper, self.weight[:, :n_early]), weigh(lower, self.weight[:, n_early:])
            return 2 * torch.cat(parts, dim=2) + self.bias[:, None, None]
        n_last = last.shape[1]
        local = weigh(last, self.weight[:, -n_last:])
        if self.weight.shape[1] > n_last:
            local = weigh(early, self.weight[:, :-n_last]) + interpolate(local, early)
        return local + self.bias[:, None, None]

    def slice_logits(self, local: Tensor) -> Tensor:
        """Returns the logits of slices from those of their locations: (N, C, h, w) -> (N, C)."""
        if self.pooling == "log-mean-exp":
            return local.flatten(2).logsumexp(dim=2) - math.log(local.shape[2] * local.shape[3])
        return pool(local)


@dataclass(frozen=True)
class Model:
    """An encoder in evaluation mode with the heads that belong to it."""

    card: ModelCard
    encoder: Encoder
    heads: dict[str, Head]
    sequence: SequenceHead | None = None

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Returns the model of a folder; weights are float32 whatever they are stored as.

        Each file of weights is read once after the cards, its hash is checked, and those bytes are the weights.

        Raises:
            ModelError: a file is missing, changed, of another format or shape, or a head is of another encoder.
        """
        card = read_model_card(folder)
        encoder = encoder_of_model(card)
        early, last = card.encoder.architecture.texture_dim, card.encoder.architecture.feature_dim
        heads = {}
        for key, head in card.heads.items():  # halves have two numbers for each channel of the second stage
            widths = (early,) if head.pooling == "halves" else (last, early // 2 + last)
            heads[key] = _load_head(card, f"{HEADS}/{key}.safetensors", len(head.classes), widths, head.pooling)
        sequence = _load_sequence(card) if SEQUENCE_FILE in card.files else None
        return cls(card, encoder, heads, sequence)

    @torch.inference_mode()
    def maps(self, slices: np.ndarray) -> Maps:
        """Returns the feature maps of two stages, float32, of one batch of prepared slices (N, H, W) uint8."""
        return self.encoder.maps(normalise(torch.from_numpy(np.array(slices)), self.card.encoder.preparation))


def save_weights(folder: Path, encoder: Encoder, heads: Mapping[str, Head]) -> None:
    """Writes encoder and heads as float16 safetensors.

    Raises:
        ModelError: a weight is not finite in float16.
    """
    _save_tensors(folder / ENCODER_FILE, _weights(encoder))
    for key, head in heads.items():
        save_head(head_path(folder, key), head)


def save_head(path: Path, head: Head) -> None:
    """Writes a head as float16 safetensors.

    Raises:
        ModelError: a weight is not finite in float16.
    """
    _save_tensors(path, {"weight": head.weight, "bias": head.bias})


def save_sequence(folder: Path, head: SequenceHead) -> None:
    """Writes the head of the sequence as float16 safetensors."""
    _save_tensors(folder / SEQUENCE_FILE, _weights(head))


def head_path(folder: Path, disease: str, suffix: str = ".safetensors") -> Path:
    """Returns where the weights (or, with ``.json``, the card) of a disease's head are."""
    return folder / HEADS / f"{disease}{suffix}"


def save_encoder(path: Path, encoder: nn.Module) -> None:
    """Writes an encoder alone, in float32: the result of pre-training."""
    state = {name: value.detach().cpu().contiguous() for name, value in _weights(encoder).items()}
    write_atomically(path, lambda temporary: temporary.write_bytes(save(state)))


def load_encoder(path: Path) -> Encoder:
    """Returns an encoder saved by ``save_encoder`` with its card next to it.

    Raises:
        ModelError: a file is missing or holds something else.
    """
    card = read_encoder_card(path.with_name(ENCODER_CARD))
    return encoder_of(card.architecture, _parse(read_bounded(path.parent, path.name), path), path)


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Returns what is saved of a module: all but its counters of batches."""
    return {name: value for name, value in module.state_dict().items() if "num_batches" not in name}


def encoder_of(architecture: Architecture, state: Mapping[str, Tensor], path: Path) -> Encoder:
    """Returns an encoder with the weights of a file, which are compared with the architecture before one is built.

    Raises:
        ModelError: they are of another architecture, or not finite.
    """
    with torch.device("meta"):
        encoder = Encoder(architecture)
    _fill(encoder, state, path)
    return encoder


def encoder_of_model(card: ModelCard) -> Encoder:
    """Returns the encoder of a model alone, in evaluation mode.

    Raises:
        ModelError: its file is changed, or of another architecture.
    """
    path = card.folder / ENCODER_FILE
    state = _parse(read_listed(card.folder, card.files, ENCODER_FILE), path)
    return encoder_of(card.encoder.architecture, state, path).eval().to(memory_format=torch.channels_last)


def _load_sequence(card: ModelCard) -> SequenceHead:
    path = card.folder / SEQUENCE_FILE
    state = _parse(read_listed(card.folder, card.files, SEQUENCE_FILE), path)
    if state.keys() == {"weight", "bias"}:
        raise ModelError(
            f"Expected the head of the sequence of this version in {path}, got a former one: run `python train.py "
            "sequence` on this model."
        )
    with torch.device("meta"):
        head = SequenceHead(card.encoder.architecture.texture_dim // 2)
    _fill(head, state, path)
    return head.eval()


def _fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Gives a module on no device the weights of a file, once they are those that it has."""
    weights = _tensors(state, path, {name: tuple(value.shape) for name, value in _weights(module).items()})
    counters = {name: torch.tensor(0) for name in module.state_dict() if "num_batches" in name}
    module.load_state_dict(weights | counters, assign=True)


def _load_head(card: ModelCard, name: str, n_classes: int, widths: tuple[int, ...], pooling: Pooling = "mean") -> Head:
    """Returns a head of one of the widths."""
    path = card.folder / name
    state = _parse(read_listed(card.folder, card.files, name), path)
    found = state.get("weight", torch.zeros(0)).shape[-1:]
    width = found[0] if found and found[0] in widths else widths[0]
    return Head(**_tensors(state, path, {"weight": (n_classes, width), "bias": (n_classes,)}), pooling=pooling)


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    halves = {name: value.detach().cpu().half().contiguous() for name, value in tensors.items()}
    for name, value in halves.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"Expected weights that fit float16, got others in {name}: train with a lower rate.")
    write_atomically(path, lambda temporary: temporary.write_bytes(save(halves)))


def _parse(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, AssertionError) as error:  # the last three: odd types and sizes
        raise ModelError(f"Expected weights in {path}, got a damaged file: copy it again.") from error


def _tensors(state: Mapping[str, Tensor], path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Returns the tensors of a file as float32, exactly those named, each of its shape and finite."""
    if state.keys() != shapes.keys():
        odd = sorted(state.keys() ^ shapes.keys())
        raise ModelError(
            f"Expected the weights of this architecture in {path}, got {len(odd)} others, first {odd[0]:.80}: copy it "
            "again, or name another file."
        )
    for name, value in state.items():
        if tuple(value.shape) != shapes[name]:
            raise ModelError(
                f"Expected {name} of shape {shapes[name]} in {path}, got {tuple(value.shape)}: copy it again."
            )
        if value.is_complex() or (value.is_floating_point() and not torch.isfinite(value).all()):
            raise ModelError(f"Expected finite weights in {path}, got others in {name}: train the model again.")
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
