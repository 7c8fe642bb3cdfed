"""Large sets with bad files in them: training ends and names each, or stops before its first epoch."""

import random
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import train
from tests.soak.result import Row, row
from tests.soak.toy_training import (
    PRETRAIN,
    arguments_of,
    finish,
    flags_of,
    scratch,
    start,
    write_cohort,
)

_SHORT = replace(PRETRAIN, epochs=1, batch_size=128, probe_every=1)


def bad_files(count: int = 20_000, share: float = 0.005, seed: int = 0) -> Row:
    """Returns the row of a training on so many slices of which a share, at most 2 %, cannot be read.

    Every bad file has to be named, and no other, and the training has to end with its encoder.
    """
    with scratch() as folder:
        bad = _cohort(folder, count, round(share * count), seed)
        code, said = _train(folder)
        listed = dict(re.findall(r"left out: (\S+): (.*)", said))
        faults = [f"{name} ({kind}) was not listed" for name, kind in bad.items() if name not in listed]
        faults += [f"{name} was listed: {reason}" for name, reason in listed.items() if name not in bad]
        if code or not (folder / "run" / "pretrain" / "encoder.safetensors").exists():
            faults.append(f"ended with {code}: {said[-300:]}")
        measured = f"{count} slices, {len(listed)} bad ones listed by path, training ended with {code}"
    return row("bad files in a large set: training ends, each is listed", len(bad), faults, measured)


def too_many_bad_files(count: int = 5_000, share: float = 0.021, seed: int = 0) -> Row:
    """Returns the row of a set with more than 2 % bad files: it stops before the first epoch, with one sentence."""
    with scratch() as folder:
        bad = _cohort(folder, count, round(share * count), seed)
        code, said = _train(folder)
        pending = [path.name for path in folder.glob("run/pretrain/*")]
        faults = [f"ended with {code}: {said[-300:]}"] if code != 1 else []
        faults += [f"began: {', '.join(pending)}"] if pending else []
        faults += [] if "error: Expected at most 2% unreadable files" in said else [f"said {said[-300:]}"]
        faults += ["showed a traceback"] if "Traceback" in said else []
    return row("over 2 % bad files: stops before the first epoch", 1, faults, f"{len(bad)} of {count} slices")


def _train(folder: Path) -> tuple[int, str]:
    """Returns the exit code of a short pre-training by the command line, and what it said."""
    log = folder / "log"
    arguments = arguments_of("pretrain", folder / "cohort" / "manifest.csv", folder, flags_of(_SHORT, "pretrain"))

    def run() -> int:
        sys.argv = arguments
        return train.main()

    code = finish(start(run, log))
    return code, log.read_text(encoding="utf-8")


def _cohort(folder: Path, count: int, n_bad: int, seed: int) -> dict[str, str]:
    """Returns the kind of each bad file, by name, of a cohort that is written to the folder."""
    write_cohort(folder / "cohort", count)
    chosen = sorted(random.Random(seed).sample(range(count), n_bad))
    bad = {f"{number:05d}.png": kind for number, kind in zip(chosen, list(_KINDS) * n_bad, strict=False)}
    for name, kind in bad.items():
        path = folder / "cohort" / name
        path.write_bytes(_KINDS[kind](path.read_bytes()))
    return bad


def _other_checksum(good: bytes) -> bytes:
    """Returns an image with one bit changed amid its pixels."""
    middle = len(good) // 2
    return good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]


def _huge(good: bytes) -> bytes:
    """Returns an image whose header says 65535 x 65535 pixels, with the right checksum."""
    header = b"IHDR" + (65535).to_bytes(4, "big") * 2 + good[24:29]
    return good[:12] + header + zlib.crc32(header).to_bytes(4, "big") + good[33:]


_KINDS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut off": lambda good: good[: len(good) // 2],
    "a web page": lambda _: b"<!DOCTYPE html><html><body>404</body></html>",
    "noise": lambda good: random.Random(len(good)).randbytes(len(good)),
    "a changed bit": _other_checksum,
    "a header that lies": _huge,
    "a file that begins as a PSD": lambda good: b"8BPS\x00\x01" + good,
    "a DICOM header alone": lambda _: bytes(128) + b"DICM",
    "a gzip that is cut off": lambda _: b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
}
