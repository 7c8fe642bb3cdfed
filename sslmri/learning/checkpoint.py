"""The state of a training in one file that is always whole."""

from collections.abc import Iterator
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
            f"Expected to write {path}, got: {reason}. The checkpoint before it is kept: make room there and pass "
            "--resume, or name a folder that can be written."
        ) from error


def check_finite(state: Any) -> None:
    """Refuses a state, as ``save_checkpoint`` takes it, that holds a value which is not finite.

    Quick enough for every step: one norm over all tensors tells, and only where that is not finite is each looked at.

    Raises:
        TrainingError: naming the tensor.
    """
    found = dict(_floats(state, ""))
    if torch.isfinite(get_total_norm(found.values())):
        return
    for name, values in found.items():
        if not torch.isfinite(values).all():
            raise TrainingError(f"Expected finite weights, got {name} with others: lower the learning rate.")


def _floats(state: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yields the floating-point tensors of nested dictionaries, each with the path that leads to it."""
    if isinstance(state, Tensor) and state.is_floating_point():
        yield name.removeprefix("."), state
    elif isinstance(state, dict):
        for key, value in state.items():
            yield from _floats(value, f"{name}.{key}")


def load_checkpoint(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the state saved by a run of the same settings.

    Raises:
        TrainingError: the file is damaged, of another format, or of a run with other settings.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many classes for damaged files
        raise TrainingError(f"Expected a checkpoint in {path}, got a damaged file: start a new run.") from error
    if state.get("format") != FORMAT:
        raise TrainingError(f"Expected a checkpoint of format {FORMAT} in {path}, got {state.get('format')}.")
    changed = sorted(key for key in settings if settings[key] != state["settings"].get(key))
    if changed:
        listed = ", ".join(f"{key} {state['settings'].get(key)} -> {settings[key]}" for key in changed)
        raise TrainingError(f"Expected the settings of the run that is resumed, got others ({listed}): use a new run.")
    return state
