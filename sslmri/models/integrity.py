"""Files that a model lists with their hashes: each is read once, and the bytes that were checked are those used.

A model may come from anywhere and may be made to do harm. Nothing in it is run, sizes are bounded before anything is
read, and a card is compared with the types of its fields. No torch here.
"""

import hashlib
import json
import math
import types
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, Union, get_args, get_origin

from sslmri.errors import ModelError

_MAX_BYTES = {".json": 2**24, ".safetensors": 2**27}  # 20 times a card, nearly 3 times an encoder
_ADVICE = "copy the model again"
_HASH_DIGITS = 64
_MAX_FILES = 64  # of a model; four heads and a bank are 12
_SHOWN = 120  # characters of a name or value that a sentence quotes


def read_listed(folder: Path, hashes: Mapping[str, str], name: str) -> bytes:
    """Returns the content of a file of a model whose hash is the listed one.

    Raises:
        ModelError: it is not listed, not in the folder, too large, or of another hash.
    """
    if name not in hashes:
        raise ModelError(f"Expected {name} in the list of the model {folder}, got none: {_ADVICE}.")
    data = read_bounded(folder, name)
    got = hashlib.sha256(data).hexdigest()
    if got != hashes[name]:
        raise ModelError(
            f"Expected {name} of the model {folder} to have the hash {hashes[name][:12]}, got {got[:12]}: "
            "the file was changed, copy the model again."
        )
    return data


def read_bounded(folder: Path, name: str, advice: str = _ADVICE) -> bytes:
    """Returns the content of a file of a folder.

    Raises:
        ModelError: it is missing, elsewhere or too large.
    """
    path = folder / name
    limit = _MAX_BYTES[path.suffix]
    try:
        is_there = path.resolve().is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # no name of a file, or a link that leads to itself
        is_there = False
    if not is_there:
        raise ModelError(f"Expected the file {name[:_SHOWN]} in {folder}, got no such file: {advice}.")
    try:
        if path.stat().st_size > limit:
            raise ModelError(f"Expected at most {limit // 2**20} MB in {path}, got more: {advice}.")
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise ModelError(f"Expected to read {path}, got {error.strerror}: {advice}.") from error


def check_list(hashes: Any, folder: Path, needed: set[str]) -> dict[str, str]:
    """Returns a model's list of files, whose names lie in the folder and whose hashes look like hashes.

    Raises:
        ModelError: it is none or too long, a needed file is not in it, or a name leads elsewhere.
    """
    if not isinstance(hashes, dict) or not needed <= hashes.keys():
        raise ModelError(f"Expected the list of a model's files in {folder / 'model.json'}, got none: {_ADVICE}.")
    if len(hashes) > _MAX_FILES:
        raise ModelError(
            f"Expected at most {_MAX_FILES} files in {folder / 'model.json'}, got {len(hashes)}: {_ADVICE}."
        )
    for name, value in hashes.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.suffix not in _MAX_BYTES:
            raise ModelError(
                f"Expected the names of files in the model {folder}, got {name[:_SHOWN]} in its list: {_ADVICE}."
            )
        if not isinstance(value, str) or len(value) != _HASH_DIGITS:
            raise ModelError(f"Expected the hash of {name} in {folder / 'model.json'}, got another value: {_ADVICE}.")
    return hashes


def parse_json(data: bytes, path: Path, advice: str = _ADVICE) -> dict[str, Any]:
    """Returns the object in a JSON file; numbers that are not finite are no JSON.

    Raises:
        ModelError: it is something else, or nested beyond reason.
    """
    try:
        content = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"Expected JSON in {path}, got something else: {advice}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"Expected a JSON object in {path}, got a {type(content).__name__}: {advice}.")
    return content


def is_of(value: Any, hint: Any) -> bool:
    """Returns whether a value read from JSON, with tuples for its lists, is of a type as a field declares it."""
    kind, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if kind in (Union, types.UnionType):
        return any(is_of(value, part) for part in parts)
    if kind is tuple:
        wanted = (parts[0],) * len(value) if isinstance(value, tuple) and Ellipsis in parts else parts
        return isinstance(value, tuple) and len(value) == len(wanted) and all(map(is_of, value, wanted))
    if kind is list:
        return isinstance(value, list) and all(is_of(part, parts[0]) for part in value)
    if kind is dict:
        keys, values = parts
        return isinstance(value, dict) and all(is_of(key, keys) and is_of(own, values) for key, own in value.items())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
    return isinstance(value, bool) == (hint is bool) and isinstance(value, hint)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
