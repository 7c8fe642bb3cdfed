"""Numeric precision of training and of features that are not stored: what the device computes fast."""

import platform
from dataclasses import replace
from typing import TypeVar

import torch

from sslmri.errors import TrainingError
from sslmri.learning.encoder import pick_device
from sslmri.learning.settings import FinetuneSettings, Precision, PretrainSettings

_Settings = TypeVar("_Settings", PretrainSettings, FinetuneSettings)


def choose_precision(device: torch.device, precision: Precision = "auto") -> Precision:
    """Returns ``bfloat16`` or ``float32``: the one that is named, or the faster one on the device.

    Without bfloat16 instructions a CPU takes ten times as long for a step in bfloat16 as in float32.

    Raises:
        TrainingError: the device lacks the precision that is named.
    """
    if precision == "float32" or _has_bfloat16(device):
        return "bfloat16" if precision == "auto" else precision
    if precision == "bfloat16":
        raise TrainingError(f"This {device.type.upper()} has no bfloat16 instructions: use --precision float32.")
    return "float32"


def with_precision(settings: _Settings) -> _Settings:
    """Returns the settings with the precision that their device computes in, as cards and checkpoints record it."""
    return replace(settings, precision=choose_precision(pick_device(settings.device), settings.precision))


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Returns the context of a forward pass in a precision that ``choose_precision`` returned."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def _has_bfloat16(device: torch.device) -> bool:
    """Returns whether the device has bfloat16 instructions and may use them (``ONEDNN_MAX_CPU_ISA`` may forbid it)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")  # where oneDNN also emulates bfloat16, slowly
    return not is_x86 or torch.cpu._is_avx512_bf16_supported()
