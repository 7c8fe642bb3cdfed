"""The state of a training in one file that is always whole."""

from pathlib import Path
from typing import Any

import torch

from sslmri.errors import TrainingError
from sslmri.files import write_atomically

FORMAT = "sslmri-1"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes the state atomically.

    Raises:
        TrainingError: a value is not finite, or the disk does not take the file; the last checkpoint stays.
    """
    for name, value in state["model"].items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise TrainingError(f"Expected finite weights, got {name} with others: lower the learning rate.")
    try:
        write_atomically(path, lambda temporary: torch.save({"format": FORMAT, **state}, temporary))
    except (OSError, RuntimeError) as error:
        raise TrainingError(f"Expected to write {path}, got: {error}. The checkpoint before it is kept.") from error


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
