"""Reads a folder of hostile files in one process and prints what became of each; loads no more than reading does."""

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans import read_scan
from tests.harness.memory import forget_peak, peak_mb

GOOD = "images/ants__r64slice.jpg"
FIRST = ("dicom/own__brain_plain.dcm", "nifti/own__brain_small.nii.gz", "zip/own__brain_series_30.zip")


def read_all(folder: Path) -> None:
    """Prints a line of JSON on each file of the manifest: its outcome, the seconds and the MB it took at its peak."""
    good = (folder / GOOD).read_bytes()
    expected = read_scan(good, "good").voxels
    for name in FIRST:  # its process loads the libraries of each format with its first file
        read_scan((folder / name).read_bytes(), "first")
    for row in csv.DictReader((folder / "MANIFEST.csv").read_text(encoding="utf-8").splitlines()):
        found = outcome((folder / row["file"]).read_bytes())
        found |= {"file": row["file"], "expected": row["expected_outcome"]}
        found["next_reads"] = np.array_equal(read_scan(good, "good").voxels, expected)
        print(json.dumps(found))


def outcome(data: bytes) -> dict[str, object]:
    """Returns what became of one file, with its cost."""
    forget_peak()
    before, start, warned = peak_mb(), time.perf_counter(), 0
    try:
        scan = read_scan(data, "upload")
        ended, said, warned = "read", repr(scan), len(scan.info.warnings)
    except ScanError as error:
        ended, said = "refused", str(error)
    except BaseException as error:  # whatever a reader lets through is what the test looks for
        ended, said = "raised", repr(error)
    seconds = time.perf_counter() - start
    growth_mb = peak_mb() - before
    return {"outcome": ended, "said": said, "warned": warned, "seconds": seconds, "growth_mb": growth_mb}


if __name__ == "__main__":
    read_all(Path(sys.argv[1]))
