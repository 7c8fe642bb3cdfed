"""Atomic writing of files, their hashes, and table cells that no spreadsheet takes for formulas."""

import errno
import glob
import hashlib
import json
import os
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from filelock import FileLock

_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # NFS, FUSE and mounts that forbid locks


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a temporary file in the same folder, then replaces ``path`` by it in one step.

    A reader sees the old content or the new, never a part; a failure leaves the old file as it was. Writers of one
    path wait for each other. One that is killed leaves its temporary file and an empty lock file, which are removed
    when ``path`` is next written. On a file system without locks nobody waits, and a temporary file left there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with _locked(path.with_name(f".{path.name}.lock")) as is_locked:
        try:
            if is_locked:
                _remove_left_over(path)
            write(temporary)
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
        finally:
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


@contextmanager
def _locked(lock: Path) -> Iterator[bool]:
    """Gives whether a lock is held until the block ends: where the file system has none, there is none to wait for."""
    held = FileLock(lock, fallback_to_soft=False)  # a soft lock would wait for what a killed writer left
    try:
        held.acquire()
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    try:
        yield held.is_locked
    finally:
        with suppress(OSError):  # Windows removes it when the lock is released
            lock.unlink()
        held.release()


def _remove_left_over(path: Path) -> None:
    """Removes the temporary files of killed writers of a path, whose lock is held."""
    for left_over in path.parent.glob(f".{glob.escape(path.name)}-{'?' * 8}"):
        left_over.unlink()


def _flush(path: Path) -> None:
    """Waits until a file, or the entries of a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders, and needs no flush of their entries
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)  # Windows flushes what can be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
