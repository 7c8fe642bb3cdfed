"""Damaged files: every one is read or refused in one sentence, in time and memory, and none is read wrongly."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans import read_scan
from sslmri.scans.sandbox import TOO_COSTLY
from sslmri.scans.scan import Scan, ScanInfo
from tests.soak.mutants import FORMATS, mutant, sound, zipped
from tests.soak.result import Row, is_plain_sentence, row

MAX_SECONDS = 5.0
_THREADS = 2
_FLIPPED = ("NIfTI", "zip", "PNG")
_REFUSED, _UNCHANGED = "refused", "unchanged"
_OF_THE_FILE = ("name", "sha256")  # what a scan tells of its file, not of what the file shows


def mutants(count: int = 10_000, seed: int = 0) -> Row:
    """Returns how many damaged files of all formats were neither read nor refused in one sentence within 5 s."""
    for kind in FORMATS:  # made by one thread
        sound(kind)
    with ThreadPoolExecutor(_THREADS) as threads:
        ends = list(threads.map(lambda number: _end(*mutant(number, seed)), range(count)))
    faults = [f"mutant {number}, {kind}: {fault}" for number, (kind, _, fault) in enumerate(ends) if fault]
    faults += [f"a sound {kind} is refused afterwards" for kind in FORMATS if not _reads(sound(kind))]
    return row("damaged files of each format: read, or refused in one sentence within 5 s", count, faults, _told(ends))


def bit_flips(count: int = 1_000, seed: int = 0) -> Row:
    """Returns how many single flipped bits in packed files changed a scan unnoticed, or ended the reader.

    The hazard allows one in a thousand that goes unnoticed; here none may. A flip of what nobody reads, such as the
    time of an entry, changes nothing.
    """
    chance = random.Random(seed)
    faults: list[str] = []
    ends = Counter[str]()
    for kind in _FLIPPED:
        data = zipped({"1.png": sound("PNG")}) if kind == "zip" else sound(kind)
        scan = read_scan(data, "sound")
        for bit in chance.sample(range(8 * len(data)), min(count, 8 * len(data))):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            end = _end_of_flip(bytes(flipped), scan)
            ends[f"{kind} {end}"] += 1
            faults += [f"{kind}, bit {bit}: {end}"] * (end not in (_REFUSED, _UNCHANGED))
        faults += [f"a sound {kind} is refused afterwards"] * (not _reads(data))
    n_held = sum(number for end, number in ends.items() if end.endswith((_REFUSED, _UNCHANGED)))
    return row(
        "single flipped bits in .nii.gz, .zip and .png: refused, or the scan is the same",
        ends.total(),
        faults,
        f"{n_held / ends.total():.2%} (limit 99.9 %): {_listed(ends)}",
    )


def _end_of_flip(data: bytes, sound: Scan) -> str:
    """Returns what became of a file that held a sound scan before one of its bits was flipped."""
    try:
        scan = read_scan(data, "flipped")
    except ScanError as error:
        return "ended the reader" if TOO_COSTLY in str(error) else _REFUSED
    except Exception as error:  # whatever a reader lets through
        return repr(error)
    own, kept = (
        {field.name: getattr(one.info, field.name) for field in fields(ScanInfo) if field.name not in _OF_THE_FILE}
        | {"voxels": one.voxels}
        for one in (scan, sound)
    )
    changed = [name for name, value in kept.items() if not np.array_equal(own[name], value)]
    return f"other {', '.join(changed)}" if changed else _UNCHANGED


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())) or "none"


def _told(ends: Sequence[tuple[str, str, str]]) -> str:
    """Returns how many files of each kind were read, and how many were ended."""
    tried = Counter(kind for kind, _, _ in ends)
    read = Counter(kind for kind, outcome, _ in ends if outcome == "read")
    ended = sum(outcome == "ended" for _, outcome, _ in ends)
    kinds = ", ".join(f"{kind} {read[kind]:,}/{tried[kind]:,}" for kind in FORMATS)
    return f"read: {kinds}; the others refused, {ended} of them ended by the operating system"


def _end(kind: str, data: bytes) -> tuple[str, str, str]:
    """Returns a file's kind, how it ended, and a fault in that, or an empty string."""
    pending = time.monotonic()
    try:
        voxels = read_scan(data, "mutant").voxels
        outcome, fault = "read", "" if voxels.ndim == 3 and np.isfinite(voxels).all() else "no finite volume"
    except ScanError as error:
        outcome = "ended" if TOO_COSTLY in str(error) else "refused"
        fault = "" if str(error).startswith("mutant") and is_plain_sentence(error.reason) else f"said {error}"
    except Exception as error:  # whatever a reader lets through is what the trial counts
        outcome, fault = "raised", repr(error)
    seconds = time.monotonic() - pending
    return kind, outcome, fault or (f"took {seconds:.1f} s" if seconds > MAX_SECONDS else "")


def _reads(data: bytes) -> bool:
    try:
        return bool(read_scan(data, "sound").voxels.size)
    except Exception:  # whatever a reader lets through
        return False
