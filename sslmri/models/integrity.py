"""The files that a model lists with their hashes: each is read once, and the bytes that were checked are those used.

A model may come from anyone and may be made to do harm. Nothing in it is run, sizes are bounded before anything is
read, and a card is compared with the types of its fields. No torch here.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from sslmri.errors import ModelError

_T = TypeVar("_T")
_MAX_BYTES = {".json": 2**24, ".safetensors": 2**27}  # 20 times a card, nearly 3 times an encoder
_ADVICE = "copy the model again"
_SHOWN = 120  # characters of a name or value that a message quotes


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
        ModelError: it is missing, outside of the folder or too large.
    """
    path = folder / name
    limit = _MAX_BYTES.get(path.suffix, _MAX_BYTES[".json"])
    try:
        is_there = path.resolve().is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # not a name of a file, or a link to itself
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


def parse_as(kind: type[_T], data: bytes, path: Path, expected: str = "", advice: str = _ADVICE) -> _T:
    """Returns the content of a JSON file as a pydantic dataclass, after all of its rules.

    Raises:
        ModelError: it is not JSON, or a rule does not hold; naming the first.
    """
    try:
        return TypeAdapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        message = first["msg"].removeprefix("Value error, ").split(": line", 1)[0]
        expected = expected or f"a {kind.__name__} of this version"
        raise ModelError(f"Expected {expected} in {path}, got {field:.{_SHOWN}}: {message:.200}; {advice}.") from error
