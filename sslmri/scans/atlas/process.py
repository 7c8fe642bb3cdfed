"""Alignment of a head with the atlas, in a process of its own whose time and memory are limited."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock, Timer
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.logging_config import record
from sslmri.processes import MessagePipe, start_process
from sslmri.scans.atlas.brain import extract, head_image, load_networks
from sslmri.scans.atlas.contrast import T1_FROM, load_maps, measure_contrast
from sslmri.scans.atlas.slab import PARTIAL, SHAPE, cut_slab
from sslmri.scans.atlas.ventricles import Ventricles, measure
from sslmri.scans.sandbox import limit_cpu_time, limit_this_process
from sslmri.scans.scan import Scan, ScanInfo, Spacing
from sslmri.scans.volume import AXIAL

# Measured on two cores: 9 s of CPU time for a whole head at 1 mm, 6 s of them in the networks, and 1.5 GB.
CPU_SECONDS = 120
WALL_SECONDS = 600  # a host busy with other scans is slow
MEMORY_BYTES = 3 * 2**30  # of address space beyond the libraries
HEAD_MM = 120.0  # from which height on a volume can hold a whole brain
_MIN_SIDE_MM = 110.0  # of its slices, for the same reason
# Intensities in every fourth voxel along each axis: 115 to 229 in 24 heads, 203 in the average, 5 in a map of 5 labels.
_MIN_INTENSITIES, _STEP = 16, 4
_MAX_ANSWER = 2**16  # bytes of an answer without its voxels
_LIBRARIES_BYTES = 16 * 2**30  # of address space, where the system does not say how much they take
_PAGES = Path("/proc/self/statm")

EXTRACTING, ALIGNING = "extracting the brain", "aligning it with the atlas"
_FAILED = "Could not be aligned: it takes too long or too much memory."
_LABELS = "Could not be aligned: the scan has too few different intensities. Upload the image, not a map of labels."
_BUSY = "Could not be aligned: the server is too busy. Try again."

_alone = Lock()  # two at once would need twice the memory and take twice the time


@dataclass(frozen=True)
class AlignedBrain:
    """The brain of a scan in the slab of the atlas that a classifier learned from.

    Attributes:
        scan: the aligned slices, the front of the head at the top; its spacing is that of no file, so it has none.
        to_scan: (4, 4), from (slice, row, column) of the aligned slices to those of the scan.
        is_t1: whether its contrast is that of T1, with or without contrast agent.
        ventricles: what they measure in these slices.
    """

    scan: Scan
    to_scan: np.ndarray
    is_t1: bool
    ventricles: Ventricles


def align(scan: Scan, report: Callable[[str], object]) -> AlignedBrain:
    """Returns the brain of a whole head, aligned; about 10 s on two cores.

    The scan is an axial volume of known spacing; what ``report`` raises, called with the name of each step, ends the
    alignment.

    Raises:
        ScanError: there is no whole brain that can be aligned, or not within the limits.
    """
    if scan.info.spacing_mm is None:
        raise ScanError("Could not be aligned: the size of the voxels is unknown.", scan.info.name)
    if len(np.unique(scan.voxels[::_STEP, ::_STEP, ::_STEP])) < _MIN_INTENSITIES:
        raise ScanError(_LABELS, scan.info.name)
    sizes = [size * mm for size, mm in zip(scan.voxels.shape, scan.info.spacing_mm, strict=True)]
    if sizes[0] < HEAD_MM or min(sizes[1:]) < _MIN_SIDE_MM:
        raise ScanError(PARTIAL, scan.info.name)
    with _alone:
        return _ask(scan, scan.info.spacing_mm, report)


def _ask(scan: Scan, spacing_mm: Spacing, report: Callable[[str], object]) -> AlignedBrain:
    environment = {"OMP_NUM_THREADS": str(_n_threads()), "OPENBLAS_NUM_THREADS": "1"}
    report(EXTRACTING)
    try:
        process, pipe = start_process(__name__, "serve", environment)
        watch = Timer(WALL_SECONDS, process.kill)
        watch.start()
    except (OSError, RuntimeError):  # there is no process, handle, memory or thread left
        raise ScanError(_BUSY, scan.info.name) from None
    try:
        pipe.send(json.dumps({"shape": scan.voxels.shape, "spacing_mm": spacing_mm}).encode())
        pipe.send_array(scan.voxels.astype(np.float32, copy=False))
        return _receive(pipe, scan.info, report)
    except (EOFError, OSError, ValueError, KeyError, TypeError) as error:  # it was ended, or answered in another form
        record("alignment ended", error=type(error).__name__)
        raise ScanError(_FAILED, scan.info.name) from None
    finally:
        watch.cancel()
        process.kill()
        process.wait()
        pipe.close()


def _n_threads() -> int:
    return min(2, os.cpu_count() or 1)


def _receive(pipe: MessagePipe, info: ScanInfo, report: Callable[[str], object]) -> AlignedBrain:
    """Returns what the process answers, after its steps; anything else raises."""
    from pydantic import TypeAdapter  # here, as that process does not need it

    while "step" in (answer := json.loads(pipe.receive(_MAX_ANSWER))):
        report(ALIGNING)
    if "refused" in answer:
        raise ScanError(str(answer["refused"]), info.name)
    voxels, to_scan = pipe.receive_array(SHAPE), np.array(answer["to_scan"], dtype=np.float64)
    if to_scan.shape != (4, 4) or not (np.isfinite(voxels).all() and np.isfinite(to_scan).all()):
        raise ValueError("Expected finite voxels and an affine, got others.")
    info = replace(info, n_slices=len(voxels), spacing_mm=None, orientation=AXIAL, warnings=())
    ventricles = TypeAdapter(Ventricles).validate_python(answer["ventricles"])
    return AlignedBrain(Scan(info, voxels), to_scan, bool(answer["is_t1"]), ventricles)


def serve(pipe: MessagePipe) -> None:
    """Aligns, in a process of its own, the one volume that comes through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller is interrupted too, and ends this process
    networks = load_networks(_n_threads())
    load_maps()
    n_pages = int(_PAGES.read_text().split()[0]) if _PAGES.exists() else None
    taken = _LIBRARIES_BYTES if n_pages is None else n_pages * os.sysconf("SC_PAGE_SIZE")
    limit_this_process(taken + MEMORY_BYTES)
    limit_cpu_time(CPU_SECONDS)
    request = json.loads(pipe.receive())
    voxels = pipe.receive_array(tuple(request["shape"]))
    try:
        answer, slab = _align(
            voxels, request["spacing_mm"], networks, lambda: pipe.send(json.dumps({"step": 2}).encode())
        )
    except ScanError as error:
        pipe.send(json.dumps({"refused": error.reason}).encode())
        return
    pipe.send(json.dumps(answer).encode())
    pipe.send_array(slab)


def _align(
    voxels: np.ndarray, spacing_mm: Spacing, networks: Any, report: Callable[[], object]
) -> tuple[dict[str, Any], np.ndarray]:
    head = head_image(voxels, spacing_mm)
    brain = extract(head, networks)
    report()
    slab = cut_slab(brain)
    to_scan = _to_voxels(slab.to_head, voxels.shape, spacing_mm)
    answer = {
        "to_scan": to_scan.tolist(),
        "is_t1": measure_contrast(slab.voxels) >= T1_FROM,
        "ventricles": asdict(measure(slab.voxels)),
    }
    return answer, slab.voxels


def _to_voxels(to_head: np.ndarray, shape: tuple[int, ...], spacing_mm: Spacing) -> np.ndarray:
    """Returns the affine (4, 4) from (slice, row, column) of the slab to those of the volume."""
    depth_first = np.eye(4)[[2, 1, 0, 3]]
    from_mm = np.diag([1 / spacing_mm[0], -1 / spacing_mm[1], -1 / spacing_mm[2], 1.0])
    from_mm[1:3, 3] = np.array(shape[1:]) - 1  # rows grow to posterior and columns to the left
    return np.asarray(from_mm @ depth_first @ to_head @ depth_first)
