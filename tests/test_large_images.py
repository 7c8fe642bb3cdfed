"""The largest images that are read, and those that are refused, in memory that is told before anything is decoded."""

import subprocess
import sys

import pytest
from PIL import Image

from tests.test_archive import zipped
from tests.test_reading import ROOT, encoded

PEAK = """
import pathlib, sys
from tests.harness.memory import peak_mb
from sslmri.errors import ScanError
from tests.harness.parsing import parse_scan

parse_scan(pathlib.Path(sys.argv[1]).read_bytes(), "small.png")  # loads the libraries
before = peak_mb()
try:
    parse_scan(pathlib.Path(sys.argv[2]).read_bytes(), "large")
except ScanError as error:
    print(error, file=sys.stderr)
print(peak_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read where Linux tells it")
@pytest.mark.parametrize(
    ("mode", "level", "turn", "n_zipped", "refusal", "limit_mb"),
    [
        ("I;16", 900, 1, 0, "", 400),
        ("RGBA", (90, 90, 90, 200), 6, 0, "", 400),
        ("RGB", (250, 90, 20), 1, 0, "colour image", 400),
        ("RGB", (90, 90, 90), 1, 2, "Upload fewer", 600),
    ],
)
def test_the_largest_images_cost_a_bounded_memory(tmp_path, mode, level, turn, n_zipped, refusal, limit_mb) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    large = encoded(Image.new(mode, (8000, 8000), level), "PNG", compress_level=1, exif=exif)
    packed = zipped(*((f"{number}.png", large) for number in range(n_zipped)))
    (tmp_path / "large").write_bytes(packed if n_zipped else large)
    (tmp_path / "small").write_bytes(encoded(Image.new(mode, (16, 16), level if mode != "RGB" else 0), "PNG"))
    command = [sys.executable, "-W", "ignore", "-c", PEAK, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert refusal in done.stderr
    assert bool(refusal) == bool(done.stderr)
    assert float(done.stdout) < limit_mb
