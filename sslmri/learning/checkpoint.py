"""The state of a training in one file that is always whole."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from sslmri.cohorts.manifest import Record
from sslmri.errors import TrainingError
from sslmri.files import write_atomically
from sslmri.learning.settings import FinetuneSettings, PretrainSettings


def begun_with(
    settings: PretrainSettings | FinetuneSettings, records: Iterable[Record], start: str = ""
) -> dict[str, Any]:
    """Returns what a training must have in common with the one that it resumes: settings, slices and start."""
    slices = "\n".join(f"{record.name} {record.label}" for record in records)
    return asdict(settings) | {"slices_sha256": hashlib.sha256(slices.encode()).hexdigest(), "start": start or None}


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes the state atomically.

    Raises:
        TrainingError: a value is not finite, or the disk does not take the file; the last checkpoint stays.
    """
    check_finite(state)
    content = BytesIO()
    try:
        torch.save(state, content)
        write_atomically(path, lambda temporary: temporary.write_bytes(content.getbuffer()))
    except OSError as error:
        raise TrainingError(
            f"Expected to write {path}, got: {error.strerror}. The checkpoint before it is kept: free disk space there "
            "and pass --resume, or name a folder that can be written."
        ) from error


def check_finite(state: Any) -> None:
    """Refuses a state, as ``save_checkpoint`` takes it, that holds a value which is not finite.

    Quick enough for every step: one norm over all tensors is taken; each is checked only where that is not finite.

    Raises:
        TrainingError: naming the value.
    """
    floats = dict(_floats(state, ""))
    tensors = {name: value for name, value in floats.items() if isinstance(value, Tensor)}
    odd = [name for name, value in floats.items() if isinstance(value, float) and not math.isfinite(value)]
    if not torch.isfinite(get_total_norm(tensors.values())):
        odd += [name for name, values in tensors.items() if not torch.isfinite(values).all()]
    if odd:
        raise TrainingError(f"Expected finite weights, got {odd[0]} with others: lower the learning rate.")


def _floats(state: Any, name: str) -> Iterator[tuple[str, Tensor | float]]:
    """Yields the floating-point tensors and numbers of nested dictionaries and lists, each with its path."""
    if isinstance(state, float) or (isinstance(state, Tensor) and state.is_floating_point()):
        yield name.removeprefix("."), state
    elif isinstance(state, dict | list | tuple):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from _floats(value, f"{name}.{key}")


def load_checkpoint(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the state saved by a run of the same settings.

    Raises:
        TrainingError: the file cannot be read, is damaged, or of a run with other settings.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        saved = dict(state["settings"])
    except OSError as error:
        raise TrainingError(
            f"Expected to read the checkpoint {path}, got: {error.strerror or error}. It is left as it is: make it "
            "readable and pass --resume again."
        ) from error
    except Exception as error:  # torch raises many classes for damaged files
        raise TrainingError(f"Expected a checkpoint in {path}, got a damaged file: start a new run.") from error
    changed = sorted(key for key in settings if settings[key] != saved.get(key))
    if changed:
        listed = ", ".join(f"{key} {saved.get(key)} -> {settings[key]}" for key in changed)
        raise TrainingError(f"Expected the settings of the run that is resumed, got others ({listed}): use a new run.")
    return state


@contextmanager
def resuming(path: Path) -> Iterator[None]:
    """Turns the errors of loading another state than that of this training into one sentence.

    Raises:
        TrainingError: a part is missing, or of another shape or kind.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError:  # a RuntimeError that has nothing to do with the checkpoint
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:  # as torch reports them
        raise TrainingError(
            f"Expected a checkpoint of this training in {path}, got parts that do not fit it: name another --run."
        ) from error
