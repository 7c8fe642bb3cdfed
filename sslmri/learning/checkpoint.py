"""The state of a training in one file that is always whole."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from sslmri.errors import TrainingError
from sslmri.files import write_atomically

FORMAT = "sslmri-1"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes the state atomically.

    Raises:
        TrainingError: a value is not finite, or the disk does not take the file; the last checkpoint stays.
    """
    check_finite(state)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)

    try:
        write_atomically(path, write)
    except (OSError, RuntimeError) as error:  # torch says that a file ends too early, and only then what the disk said
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        reason = cause.strerror if isinstance(cause, OSError) else cause
        raise TrainingError(
            f"Expected to write {path}, got: {reason}. The checkpoint before it is kept: free disk space there and "
            "pass --resume, or name a folder that can be written."
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
        TrainingError: the file cannot be read, is damaged, of another format, or of a run with other settings.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(
            f"Expected to read the checkpoint {path}, got: {error.strerror or error}. It is left as it is: make it "
            "readable and pass --resume again."
        ) from error
    except Exception as error:  # torch raises many classes for damaged files
        raise _damaged(path) from error
    if not isinstance(state, dict) or not isinstance(state.get("settings", {}), dict):
        raise _damaged(path)
    if state.get("format") != FORMAT:
        raise TrainingError(f"Expected a checkpoint of format {FORMAT} in {path}, got {state.get('format')!r:.40}.")
    saved = state.get("settings", {})
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


def _damaged(path: Path) -> TrainingError:
    return TrainingError(f"Expected a checkpoint in {path}, got a damaged file: start a new run.")
