"""Records readings from many threads, as a server does for its sessions: ``python -m tests.register_writer 20 3``.

Prints the scan and the reader once the readings of the scan are recorded, all diseases together.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from sslmri.diseases import DISEASES
from sslmri.screening import register


def readings_of(scan: int, reader: int) -> list[register.Reading]:
    return [
        register.Reading(
            scan_sha256=f"scan{scan}",
            model_sha256="model",
            disease=disease.key,
            initials=f"R{reader}",
            verdict="flagged",
            reading=disease.classes[(scan + reader) % 2],
            read_at=f"2026-11-30T12:00:{scan % 60:02}+00:00",
        )
        for disease in DISEASES.values()
    ]


def record_all(reader: int, n_scans: int) -> None:
    for scan in range(n_scans):
        register.keep(readings_of(scan, reader))
        os.write(1, f"scan{scan} R{reader}\n".encode())  # whole lines, also from several threads


if __name__ == "__main__":
    n_readers, n_scans = map(int, sys.argv[1:])
    with ThreadPoolExecutor(n_readers) as sessions:
        list(sessions.map(record_all, range(n_readers), [n_scans] * n_readers))
