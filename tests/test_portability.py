"""Importing any module and screening a slice needs nothing that Windows lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sslmri.scans.sandbox import unlimited_resources
from tests.pages import png

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_UNIX = """
import os, signal, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {"fcntl", "resource", "pwd", "grp", "termios"}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
for module, names in ((os, ("register_at_fork", "fork", "nice")), (signal, ("setitimer", "ITIMER_PROF"))):
    for name in names:
        delattr(module, name)
"""
LOAD_TORCH = """
import os
os.register_at_fork = lambda **_: None  # torch goes by the name of the platform and would call it on this one
import torch
del os.register_at_fork
"""
IMPORT_ALL = (
    LOAD_TORCH
    + """
import importlib, pkgutil, sslmri
for module in pkgutil.walk_packages(sslmri.__path__, "sslmri."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import sslmri.__main__, train
"""
)
SCREEN = (
    LOAD_TORCH
    + """
import sys
from pathlib import Path
from sslmri.files import write_json
from sslmri.scans import sandbox
from sslmri.screening.screener import Screener

assert not hasattr(os, "fork")
scan = sandbox.read_scan(Path(sys.argv[1]).read_bytes(), "a.png")
assert sandbox._idle  # another process has read it
screening = Screener.load(Path("models/default")).screen(scan)
write_json(Path(sys.argv[2]), {"source": screening.summary.source})
print(*sandbox.unlimited_resources(), sep=", ")
"""
)


@pytest.fixture
def without_unix(tmp_path: Path) -> dict[str, str]:
    """Returns an environment in which every Python process, the reader of scans too, lacks what Windows lacks."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_UNIX)
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}


def run(code: str, environment: dict[str, str], *arguments: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports_without_unix_modules(without_unix):
    run(IMPORT_ALL, without_unix)


def test_a_slice_is_read_in_a_process_and_screened_without_unix_modules(without_unix, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    printed = run(SCREEN, without_unix, tmp_path / "a.png", tmp_path / "out.json")
    assert printed == "CPU time, memory, files, processes\n"
    assert (tmp_path / "out.json").read_text() == '{\n "source": "PNG"\n}\n'


@pytest.mark.skipif(sys.platform != "linux", reason="what a reader may use is limited in full on Linux only")
def test_linux_limits_everything():
    assert unlimited_resources() == ()
