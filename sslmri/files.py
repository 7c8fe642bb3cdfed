"""Files that are either whole or not there, and their hashes."""

import fcntl
import hashlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

_RANDOM = 8  # characters that mkstemp puts behind a prefix


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a temporary file in the same folder, then puts it in the place of ``path``.

    A reader sees the old content or the new, never a part; a failure leaves the old file as it was. A process that is
    killed meanwhile leaves its temporary file, which goes when ``path`` is next written. ``write`` writes into the file
    it is given: what it would put in the place of that file could not be told from one that was left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with suppress(OSError):  # a file system without locks: what is left there stays
            fcntl.flock(handle, fcntl.LOCK_EX)
        write(temporary)
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON atomically; numbers that are not finite are refused."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


_SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"  # that begin a formula; the last four are full-width forms of the first
_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")  # categories of signs that a spreadsheet may leave out before it looks
_PARTED = re.compile(rf"(?<=[;\t])(?=\s*[{re.escape(_SIGNS)}])")  # where one of another country would begin a cell


def neutralised(cell: Any) -> Any:
    """Returns a table's cell, with an apostrophe wherever a spreadsheet would take what follows for a formula.

    A carriage return becomes a line feed: ``csv`` puts no quotes around it, and a spreadsheet would begin a row there.
    """
    if not isinstance(cell, str):
        return cell
    unseen = "".join(takewhile(lambda sign: unicodedata.category(sign) in _UNSEEN, cell))
    seen = cell[len(unseen) : len(unseen) + 1]
    is_formula = (seen and seen in _SIGNS) or any(sign in unseen for sign in "\t\r\n")
    return (("'" if is_formula else "") + unseen + _PARTED.sub("'", cell[len(unseen) :])).replace("\r", "\n")


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_left_over(path: Path) -> None:
    """Removes the temporary files of writers of ``path`` that were killed; one that still writes holds a lock."""
    prefix = f".{path.name}-"
    for name in os.listdir(path.parent):
        if name.startswith(prefix) and len(name) == len(prefix) + _RANDOM:
            with suppress(OSError), (path.parent / name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (path.parent / name).unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
