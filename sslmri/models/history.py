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


def append_history(path: Path, entry: dict[str, Any]) -> None:
    """Adds one line of JSON to a history file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, allow_nan=False) + "\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """Returns the entries of a history file, none where there is no file; a torn last line is left out."""
    entries: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries


def keep_history(path: Path, n_epochs: int) -> None:
    """Drops the entries after the first ``n_epochs`` epochs: a resumed run writes them again."""
    kept = [json.dumps(entry) + "\n" for entry in read_history(path) if entry["epoch"] <= n_epochs]
    write_atomically(path, lambda temporary: temporary.write_text("".join(kept), encoding="utf-8"))
