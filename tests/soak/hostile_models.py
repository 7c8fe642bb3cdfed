"""Models that were made to do harm: each a good one with one thing changed, most with the list of hashes put right."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save

from sslmri.files import sha256_of

CARD, WEIGHTS = "heads/ms.json", "heads/ms.safetensors"
ENCODER, ENCODER_CARD = "encoder.safetensors", "encoder.json"
BANK, BANK_CARD, LIST = "bank.safetensors", "bank.json", "model.json"
_BODY = bytes(64)  # of a file of tensors whose header lies
_HUGE = 2**30


@dataclass(frozen=True)
class HostileModel:
    """What is done to a copy of a good model.

    Attributes:
        name: what it is.
        blamed: the file that the refusal names.
        spoil: changes the folder.
        relist: whether the hashes are put right afterwards, as somebody would who does it on purpose.
    """

    name: str
    blamed: str
    spoil: Callable[[Path], object]
    relist: bool = True


class Payload:
    """An object whose unpickling leaves a mark."""

    def __init__(self, mark: Path) -> None:
        """Takes the file that appears where code of the model is run."""
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        """Returns what an unpickler calls."""
        return os.mkdir, (str(self._mark),)


def mark_of(folder: Path) -> Path:
    """Returns where the payloads of a model leave their mark."""
    return folder.parent / f"{folder.name}-was-run"


def copy_spoilt(source: Path, folder: Path, hostile: HostileModel) -> None:
    """Makes the hostile model from a good one; what is not changed is linked, not copied."""
    listed = json.loads((source / LIST).read_text())["files"]
    for name in (*listed, LIST):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _put_next_to(source / name, folder / name)
    hostile.spoil(folder)
    if hostile.relist:
        _relist(folder, listed)


def _put_next_to(source: Path, target: Path) -> None:
    """Links the largest file, which is replaced where it is changed; copies it between disks, and all others."""
    if source.name == ENCODER and source.stat().st_dev == target.parent.stat().st_dev:
        target.hardlink_to(source)
    else:
        shutil.copy(source, target)


def change(folder: Path, name: str, by: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Changes a JSON file of a model."""
    content = by(json.loads((folder / name).read_text()))
    (folder / name).write_text(json.dumps(content))


def _relist(folder: Path, listed: Mapping[str, str]) -> None:
    """Puts right the list of hashes, and what cards say of an encoder that was changed."""
    encoder = sha256_of(folder / ENCODER)
    for card in ("alzheimers", "ms", "parkinsons", "tumours") if encoder != listed[ENCODER] else ():
        change(folder, f"heads/{card}.json", lambda content: content | {"encoder_sha256": encoder})
    hashes = {
        name: sha256_of(folder / name) if _is_file(folder / name) else "0" * 64
        for name in listed
        if (folder / name).exists()
    }
    change(folder, LIST, lambda content: content | {"files": hashes})


def _is_file(path: Path) -> bool:
    return path.is_file() and path.stat().st_size < _HUGE


def _put(name: str, content: bytes) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()  # the encoder is a link to the good one
        (folder / name).write_bytes(content)

    return spoil


def _flip(name: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        _put(name, bytes(data))(folder)

    return spoil


def _cut(name: str, share: float) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        _put(name, data[: int(len(data) * share)])(folder)

    return spoil


def _header(content: bytes, length: int | None = None) -> Callable[[Path], object]:
    return _put(WEIGHTS, struct.pack("<Q", len(content) if length is None else length) + content + _BODY)


def _tensors(**parts: tuple[str, list[int], list[int]]) -> Callable[[Path], object]:
    named = {key: {"dtype": kind, "shape": shape, "data_offsets": place} for key, (kind, shape, place) in parts.items()}
    return _header(json.dumps(named).encode())


def _arrays(name: str, by: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        arrays = {key: value.copy() for key, value in load_file(folder / name).items()}
        by(arrays)
        _put(name, save(arrays))(folder)

    return spoil


def _field(name: str, **fields: object) -> Callable[[Path], object]:
    return lambda folder: change(folder, name, lambda content: content | fields)


def _named(**files: str) -> Callable[[Path], object]:
    return lambda folder: change(folder, LIST, lambda content: content | {"files": content["files"] | files})


def _pickled(folder: Path) -> None:
    _put(WEIGHTS, pickle.dumps({"weight": Payload(mark_of(folder)), "bias": 0}))(folder)


def _torch_saved(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"weight": torch.zeros(2, 2048), "bias": Payload(mark_of(folder))}, folder / WEIGHTS)


def _linked_out(folder: Path) -> None:
    outside = folder.parent / f"{folder.name}-outside.safetensors"
    shutil.move(folder / WEIGHTS, outside)
    (folder / WEIGHTS).symlink_to(outside)


def _looped(folder: Path) -> None:
    (folder / CARD).unlink()
    (folder / CARD).symlink_to(Path(CARD).name)


def _piped(folder: Path) -> None:
    (folder / CARD).unlink()
    os.mkfifo(folder / CARD)


def _folded(folder: Path) -> None:
    (folder / CARD).unlink()
    (folder / CARD).mkdir()


def _sparse(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(2**36)


def _swapped(folder: Path) -> None:
    (folder / BANK).rename(folder / "between")
    (folder / BANK_CARD).rename(folder / BANK)
    (folder / "between").rename(folder / BANK_CARD)


def _reversed(folder: Path) -> None:
    change(folder, CARD, lambda content: content | {"classes": content["classes"][::-1]})


def _wide(folder: Path) -> None:
    change(folder, ENCODER_CARD, lambda c: c | {"preparation": c["preparation"] | {"image_size": [10**6, 10**6]}})


def _rule(key: str, value: object) -> Callable[[Path], object]:
    """Changes the rule that decides whether a scan shows a brain at all."""
    return lambda folder: change(
        folder, BANK_CARD, lambda c: c | {"svms": c["svms"] | {"brain": c["svms"]["brain"] | {key: value}}}
    )


def _close_match(value: object) -> Callable[[Path], object]:
    return lambda folder: change(folder, BANK_CARD, lambda c: c | {"close_match": c["close_match"] | {"ms": value}})


ALL = (
    *(HostileModel(f"a byte of {name} changed", name, _flip(name), relist=False)
      for name in (ENCODER, ENCODER_CARD, WEIGHTS, CARD, BANK, BANK_CARD)),
    HostileModel("header longer than the file", WEIGHTS, _header(b"{}", 2**40)),
    HostileModel("header of 2**63 bytes", WEIGHTS, _header(b"{}", 2**63)),
    HostileModel("header of -1 bytes", WEIGHTS, _header(b"{}", 2**64 - 1)),
    HostileModel("header that is no JSON", WEIGHTS, _header(b"\x80\x04weights")),
    HostileModel("header nested 10,000 deep", WEIGHTS, _header(b"[" * 10_000)),
    HostileModel("overlapping tensors", WEIGHTS,
                 _tensors(weight=("F16", [2, 8], [0, 32]), bias=("F16", [24], [16, 64]))),
    HostileModel("tensors beyond the end", WEIGHTS, _tensors(weight=("F16", [2, 2048], [0, 8192]))),
    HostileModel("a tensor of 2**62 values", WEIGHTS, _tensors(weight=("F16", [2**31, 2**31], [0, 2**63]))),
    HostileModel("tensors of an unknown type", WEIGHTS, _tensors(weight=("OBJECT", [8], [0, 64]))),
    HostileModel("weights cut short", WEIGHTS, _cut(WEIGHTS, 0.7)),
    HostileModel("encoder cut short", ENCODER, _cut(ENCODER, 0.5)),
    HostileModel("weights of no bytes", WEIGHTS, _put(WEIGHTS, b"")),
    HostileModel("weights of 64 GB", WEIGHTS, _sparse),
    HostileModel("weights of another shape", WEIGHTS,
                 _arrays(WEIGHTS, lambda a: a.update(weight=a["weight"][:, :7].copy()))),
    HostileModel("an encoder of another shape", ENCODER,
                 _arrays(ENCODER, lambda a: a.update({"conv1.weight": a["bn1.bias"]}))),
    HostileModel("weights without a bias", WEIGHTS, _arrays(WEIGHTS, lambda a: a.pop("bias"))),
    HostileModel("weights that are not numbers", WEIGHTS, _arrays(WEIGHTS, lambda a: a["bias"].fill(np.nan))),
    HostileModel("an encoder that is not numbers", ENCODER, _arrays(ENCODER, lambda a: a["bn1.bias"].fill(np.inf))),
    HostileModel("a head without weights", WEIGHTS, lambda folder: (folder / WEIGHTS).unlink()),
    HostileModel("a listed file is missing", WEIGHTS, lambda folder: (folder / WEIGHTS).unlink(), relist=False),
    HostileModel("a head that is not listed", "heads/other.json",
                 lambda folder: shutil.copy(folder / CARD, folder / "heads" / "other.json")),
    HostileModel("a pickle named as weights", WEIGHTS, _pickled),
    HostileModel("a torch file named as weights", WEIGHTS, _torch_saved),
    HostileModel("a head of another encoder", CARD, _field(CARD, encoder_sha256="f" * 64)),
    HostileModel("a head with its classes in another order", CARD, _reversed),
    HostileModel("a card of another head", CARD,
                 lambda folder: shutil.copy(folder / "heads/tumours.json", folder / CARD)),
    HostileModel("a file above the folder", "../../etc/passwd", _named(**{"../../etc/passwd": "0" * 64}), relist=False),
    HostileModel("a file elsewhere", "/etc/passwd", _named(**{"/etc/passwd": "0" * 64}), relist=False),
    HostileModel("a link out of the folder", WEIGHTS, _linked_out),
    HostileModel("a link to itself", CARD, _looped, relist=False),
    HostileModel("a file whose name has a NUL", "heads/a", _named(**{"heads/a\0.json": "0" * 64}), relist=False),
    HostileModel("a file with a name of 300 letters", "aaaa", _named(**{"a" * 300 + ".json": "0" * 64}), relist=False),
    HostileModel("a pipe for a card", CARD, _piped),
    HostileModel("a folder for a card", CARD, _folded),
    HostileModel("a card nested 100,000 deep", CARD, _put(CARD, b'{"a": ' + b"[" * 100_000)),
    HostileModel("a list nested 100,000 deep", LIST, _put(LIST, b'{"a": ' + b"[" * 100_000), relist=False),
    HostileModel("a list of 200 MB", LIST,
                 lambda folder: _put(LIST, b'{"a": ' + b"1" * 200_000_000)(folder), relist=False),
    HostileModel("a number of 8 MB", CARD, lambda folder: _put(CARD, b'{"a": ' + b"1" * 8_000_000 + b"}")(folder)),
    HostileModel("a scale that is no number", CARD, _field(CARD, calibration_temperature=float("nan"))),
    HostileModel("a threshold that is text", CARD, _field(CARD, threshold_low="0.5")),
    HostileModel("a threshold that no float can hold", CARD, _field(CARD, threshold_high=10**400)),
    HostileModel("a low threshold over the high one", CARD, _field(CARD, threshold_low=0.9, threshold_high=0.1)),
    HostileModel("thresholds beyond any probability", CARD, _field(CARD, threshold_low=1.5, threshold_high=2.0)),
    HostileModel("slices of 10**6 pixels a side", ENCODER_CARD, _wide),
    HostileModel("a hash that is no hash", LIST, _named(**{WEIGHTS: "7"}), relist=False),
    HostileModel("a list of 10,000 files", LIST,
                 _named(**{f"{number}.json": "0" * 64 for number in range(10_000)}), relist=False),
    HostileModel("bank and its card swapped", BANK_CARD, _swapped),
    HostileModel("a bank of another shape", BANK,
                 _arrays(BANK, lambda a: a.update(components=a["components"][:9].copy()))),
    *(HostileModel(f"a bank whose rule has the {key} {str(value)[:9]}", BANK_CARD, _rule(key, value))
      for key, value in (("threshold", "-inf"), ("threshold", "nan"), ("threshold", 10**400), ("bias", None),
                         ("gamma", -1.0))),
    HostileModel("a bank whose distance is text", BANK_CARD, _close_match("x")),
    HostileModel("a bank whose distance no float can hold", BANK_CARD, _close_match(10**400)),
    HostileModel("a bank of unknown diseases", BANK, lambda folder: change(
        folder, BANK_CARD, lambda c: c | {"cases": [["none", *row[1:]] for row in c["cases"]]})),
)  # fmt: skip
