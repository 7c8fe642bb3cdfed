"""The shape of the house: who may import whom, and how long a file may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    *sorted((ROOT / "sslmri").rglob("*.py")),
    *sorted((ROOT / "pages").glob("*.py")),
    ROOT / "app.py",
    ROOT / "train.py",
]
LAYERS = {
    "diseases": 0, "errors": 0, "files": 0, "text": 0, "processes": 0, "logging_config": 0, "memory": 0,
    "project": 0,
    "scans": 1, "cohorts": 2, "models": 3, "learning": 4, "evidence": 4, "gate": 5, "screening": 6,
    "training": 7, "dashboard": 7, "app": 8, "pages": 8, "train": 8, "__main__": 8,
}  # fmt: skip
FORBIDDEN = {
    "scans": {"torch", "streamlit", "plotly"},
    "cohorts": {"torch", "streamlit", "plotly"},
    "models": {"torch", "streamlit", "plotly"},
    "evidence": {"torch", "streamlit", "plotly"},
    "learning": {"streamlit", "plotly"},
    "gate": {"streamlit", "plotly"},
    "screening": {"streamlit", "plotly"},
    "training": {"streamlit", "plotly"},
    "pages": {"torch"},
    "dashboard": {"torch"},
}
# A training step measures what it trained: the two rooms meet in training alone.
STRANGERS = [("learning", "evidence"), ("evidence", "learning"), ("dashboard", "training"), ("training", "dashboard")]


def layer_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "sslmri" and len(parts) > 1 else parts[0]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(path: Path) -> list[str]:
    room, name, found = layer_of(path), path.relative_to(ROOT), []
    for imported in imports_of(path):
        package = imported.split(".")[0]
        if package in FORBIDDEN.get(room, set()):
            found.append(f"{name} imports {package}: the room {room} does without it")
        if package == "sslmri" and "." in imported:
            other = imported.split(".")[1]
            if LAYERS.get(other, 0) > LAYERS.get(room, 9) or (room, other) in STRANGERS:
                found.append(f"{name} imports sslmri.{other}: imports go downwards only")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards(path):
    assert not faults(path), "\n".join(faults(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_the_rule_sees_a_page_that_imports_torch(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page = tmp_path / "pages" / "wrong.py"
    page.parent.mkdir()
    page.write_text("import torch\n")
    assert faults(page) == ["pages/wrong.py imports torch: the room pages does without it"]


@pytest.mark.parametrize(
    "module", ["sslmri", "sslmri.scans.reading", "sslmri.models.cards", "sslmri.evidence.evaluate"]
)
def test_light_modules_do_not_load_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_class_names_stand_in_one_place_only():
    from sslmri.diseases import DISEASES

    labels = {label for disease in DISEASES.values() for label in disease.classes}
    assert len(labels) == 11  # of 12 classes: two diseases share one name
    labels -= {"parkinsons", "normal"}  # also a disease, and a word of plotting
    allowed = {ROOT / "sslmri" / "diseases.py", *(ROOT / "sslmri" / "cohorts").rglob("*.py")}
    for path in set(SOURCES) - allowed:
        constants = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        found = labels & {node.value for node in constants if isinstance(node.value, str)}
        assert not found, f"{path.relative_to(ROOT)} types class names {found}: take them from DISEASES"


def test_trials_use_the_harness_and_the_harness_uses_no_test():
    for package, allowed in (("harness", {"harness"}), ("soak", {"harness", "soak"})):
        for path in (ROOT / "tests" / package).glob("*.py"):
            found = {name.split(".")[1] for name in imports_of(path) if name.startswith("tests.")} - allowed
            assert not found, f"{path.relative_to(ROOT)} imports tests.{found}"
