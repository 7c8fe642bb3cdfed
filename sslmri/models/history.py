"""A run folder: what was learned, from what, with which settings. A shipped model is a run without its checkpoints."""

import json
import math
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sslmri.files import write_atomically

HISTORY_FILE, VIEWS_FILE = "history.jsonl", "views.png"  # of a training step, and of a pre-training
# A collapse. Below a tenth of 1 / sqrt(K) the mean cosine similarity of two slices is 0.99, where the deviation is the
# same in all K features; a linear classifier needs as many directions as it has classes, and the largest here has four.
MIN_STD, MIN_RANK = 0.1, 4
_PACKAGES = ("torch", "numpy", "scikit-learn", "pillow")


def created_now() -> str:
    """Returns the present time, UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Returns the versions that a result depends on."""
    return {"python": platform.python_version()} | {package: version(package) for package in _PACKAGES}


def write_epoch(path: Path, entry: dict[str, Any]) -> None:
    """Writes the line of an epoch, in place of those of this and later epochs, which a resumed training repeats."""
    entries = [*(each for each in read_history(path) if each["epoch"] < entry["epoch"]), entry]
    text = "".join(json.dumps(each, allow_nan=False) + "\n" for each in entries)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_history(path: Path) -> list[dict[str, Any]]:
    """Returns the entries of a history file, none where there is no file; a torn last line is left out."""
    entries: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries


def collapse_sentence(entry: dict[str, Any]) -> str:
    """Returns a sentence where the features of an epoch of pre-training have collapsed, otherwise nothing."""
    if "feature_std" not in entry:
        return ""
    even = 1 / math.sqrt(entry["feature_dim"])
    if entry["feature_std"] < MIN_STD * even:
        return (
            "The features have collapsed: different slices have nearly the same ones (standard deviation "
            f"{entry['feature_std']:.5f}; evenly spread features have {even:.3f}). Training goes on; a lower learning "
            "rate may help."
        )
    if entry["effective_rank"] < MIN_RANK:
        return (
            f"The features have collapsed into {entry['effective_rank']:.1f} directions, fewer than a classifier of "
            f"{MIN_RANK} classes needs. Training goes on; a lower learning rate may help."
        )
    return ""
