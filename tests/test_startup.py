"""Starting is quick, because only what a command needs is imported."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "sklearn", "pandas", "matplotlib", "plotly", "streamlit", "sympy", "torch._dynamo"}
_RUN = """
import json, runpy, sys
kind, name, sys.argv = sys.argv[1], sys.argv[2], sys.argv[2:]
try:
    runpy.run_module(name, run_name="__main__") if kind == "module" else runpy.run_path(name, run_name="__main__")
    code = 0
except SystemExit as end:
    code = end.code or 0
print()
print(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""


def imported(kind: str, *arguments: object) -> set[str]:
    """Returns the heavy packages that a command has imported when it ends."""
    command = [sys.executable, "-c", _RUN, kind, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    end = json.loads(done.stdout.splitlines()[-1])
    assert end["code"] == 0, done.stdout + done.stderr
    return HEAVY & ({name.split(".")[0] for name in end["modules"]} | set(end["modules"]))


@pytest.mark.parametrize("command", [(), ("all",), ("label-efficiency",)])
def test_help_of_training_imports_nothing_heavy(command):
    assert imported("script", "train.py", *command, "--help") == set()


def test_screening_imports_torch_alone(model_folder, phantom, tmp_path):
    Image.fromarray((phantom / 4).astype(np.uint8)).save(tmp_path / "one.png")
    assert imported("module", "sslmri", "screen", tmp_path / "one.png", "--model", model_folder) == {"torch"}
