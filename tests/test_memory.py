"""What a process still holds of what it freed, and what a volume costs on its way from the process that reads it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.nifti_files import nifti
from tests.test_reading import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read where Linux tells it")
LEFT = """
import os
import numpy as np
from tests.harness.memory import held_mb
from sslmri import memory

def left(n, size, gives_back=False):
    before = held_mb([os.getpid()])
    blocks = [np.ones(size, np.uint8) for _ in range(n)]
    last = blocks[-1]  # in use, above the others in their heap
    del blocks
    if gives_back:
        memory.release_freed_memory()
    return held_mb([os.getpid()]) - before

"""
VOLUME = """
import pathlib, sys
from tests.harness.memory import forget_peak, peak_mb
from sslmri.scans import sandbox

small, large = (pathlib.Path(path).read_bytes() for path in sys.argv[1:])
sandbox.read_scan(small, "small.nii")  # loads the libraries
pids = ["self", sandbox._idle[0]._process.pid]
for pid in pids:
    forget_peak(pid)
before = [peak_mb(pid) for pid in pids]
scan = sandbox.read_scan(large, "large.nii")
print(scan.voxels.nbytes / 2**20, *(peak_mb(pid) - least for pid, least in zip(pids, before)))
"""


def told(code: str, *arguments: str) -> list[float]:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return [float(word) for word in done.stdout.split()]


def test_small_blocks_below_one_in_use_are_given_back():
    kept, kept_given_back = told(LEFT + "print(left(800, 100_000), left(800, 100_000, True))")
    assert kept > 70
    assert kept_given_back < 20


def test_large_blocks_are_free_at_once_whatever_was_freed_before():
    code = "left(1, 30 * 2**20); print(left(4, 20 * 2**20))"
    (kept,), (kept_if_told,) = told(LEFT + code), told(f"{LEFT}memory.set_mmap_threshold(); {code}")
    assert kept > 60
    assert kept_if_told < 25


def test_a_volume_is_held_once_at_each_end_of_its_way_from_the_reader(tmp_path):
    paths = [str(tmp_path / name) for name in ("small", "large")]
    for path, side in zip(paths, (16, 240), strict=True):
        voxels = np.random.default_rng(0).integers(0, 255, (side, side, side), dtype=np.uint8)
        Path(path).write_bytes(nifti(voxels, "LIP", "u1"))
    size, here, in_reader = told(VOLUME, *paths)
    assert size > 50
    assert here < 1.3 * size
    assert in_reader < 1.3 * size + size / 4  # where the file lies too
