"""The pre-trainings on this server: where they are, how far each one is, and whether it is running.

SSLMRI_RUNS names the folder of the runs. Without it, it is ``runs`` below SSLMRI_DATA_ROOT, or else in the folder that
the dashboard was started in, unless users sign in: the server's disk is not theirs.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from sslmri.dashboard.server.signin import is_needed
from sslmri.models.folder import ENCODER_CARD
from sslmri.models.history import HISTORY_FILE, VIEWS_FILE, read_history

State = Literal["running", "stopped", "finished"]
_RUNS = ("*/pretrain", "*/start/pretrain", "*/folds/*/pretrain")  # of `train.py pretrain`, and of a cross-validation
_FIRST_EPOCH_S = 3600.0  # without an epoch yet, how long a run counts as running
_LEAST_S, _EPOCHS = 120.0, 3  # silent for longer than this, and than so many epochs take, it has stopped


@dataclass(frozen=True)
class Run:
    """A pre-training: its epochs, and its sample views as PNG or None.

    It is ``running`` while an epoch is no older than three epochs take, and ``finished`` once its encoder is written.
    """

    entries: list[dict[str, JsonValue]]
    views: bytes | None
    state: State


def find_runs() -> dict[str, Path]:
    """Returns the folder of each pre-training on this server by its name below the folder of the runs, in order."""
    root = _root()
    found = {path for pattern in _RUNS for path in root.glob(pattern)} if root else set()
    begun = {path for path in found if any((path / name).is_file() for name in (HISTORY_FILE, VIEWS_FILE))}
    return {path.parent.relative_to(root).as_posix(): path for path in sorted(begun)} if root else {}


def _root() -> Path | None:
    named, data = os.environ.get("SSLMRI_RUNS"), os.environ.get("SSLMRI_DATA_ROOT")
    if named or data:
        return Path(named or Path(str(data), "runs"))
    return None if is_needed() else Path("runs")


def read_run(folder: Path) -> Run:
    """Returns a pre-training as it is now; without epochs where its folder is gone or cannot be read."""
    try:
        entries = read_history(folder / HISTORY_FILE)
        views = folder / VIEWS_FILE
        image = views.read_bytes() if views.is_file() else None
        written = max(path.stat().st_mtime for path in (folder / HISTORY_FILE, views) if path.is_file())
    except (OSError, ValueError):
        return Run([], None, "stopped")
    patience = max(_LEAST_S, _EPOCHS * float(entries[-1].get("seconds", 0))) if entries else _FIRST_EPOCH_S
    state: State = "running" if time.time() - written < patience else "stopped"
    return Run(entries, image, "finished" if (folder / ENCODER_CARD).is_file() else state)
