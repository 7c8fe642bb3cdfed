"""A run folder: what was learned, from what, with which settings. A shipped model is a run without its checkpoints."""

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sslmri.files import write_atomically

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
