"""One brain slice in many kinds of file: is the answer alike? ``python -m benchmarks.encodings [FILE] [MODEL]``.

Prints for each kind of file and head the top class and the largest difference of a probability to the PNG's. The slice
is the middle one of the file named, else of each simulated patient.
"""

import json
import sys
from pathlib import Path

import numpy as np

from sslmri.cohorts.patients import PATIENTS, make_patient
from sslmri.scans.scan import Scan
from sslmri.screening.screener import Screener
from tests.encodings import TOLERANCES, encodings
from tests.harness.parsing import parse_scan

ROOT = Path(__file__).resolve().parents[1]


def compare(screener: Screener, scan: Scan) -> bool:
    """Prints the table of the middle slice of a scan, and returns whether every kind of file stays within its bound."""
    image = scan.voxels[len(scan.voxels) // 2]
    low, high = np.percentile(image, (0.1, 99.9))
    files = encodings(np.rint(np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8))
    answers = {name: screener.screen(parse_scan(data, name)).summary.findings for name, data in files.items()}
    print(f"{scan.info.name}, slice {len(scan.voxels) // 2 + 1} of {len(scan.voxels)}")
    is_alike = True
    for name, findings in answers.items():
        cells = []
        for plain, own in zip(answers["PNG"].values(), findings.values(), strict=True):
            difference = max(abs(own.probabilities[label] - plain.probabilities[label]) for label in own.probabilities)
            same = own.top_class == plain.top_class and own.is_assessed == plain.is_assessed
            is_alike &= same and difference <= TOLERANCES.get(name, 0.01)
            silent = "" if own.is_assessed else ", not assessed"
            cells.append(f"{own.disease} {own.top_class} {difference:.4f}{silent}")
        print(f"  {name:28} " + " | ".join(cells))
    return is_alike


def main() -> int:
    """Compares the scans, and returns 0 where all are alike."""
    model = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "models" / "default"
    screener = Screener.load(model)
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
        scans = [parse_scan(path.read_bytes(), path.name)]
    else:
        scans = [make_patient(key)[0] for key in PATIENTS]
    alike = [compare(screener, scan) for scan in scans]
    print(json.dumps({"alike": sum(alike), "of": len(alike)}))
    return 0 if all(alike) else 1


if __name__ == "__main__":
    sys.exit(main())
