"""The architecture: which package may import which, how long a file may be, and where class names are written."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
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
    "project": 0, "scans": 1, "cohorts": 2, "models": 3, "learning": 4, "evidence": 4, "gate": 5, "screening": 6,
    "training": 7, "dashboard": 7, "app": 8, "pages": 8, "train": 8, "__main__": 8,
}  # fmt: skip
_TORCH, _PLOTS = frozenset({"torch", "torchvision"}), frozenset({"streamlit", "plotly"})
_BASE = {name for name, layer in LAYERS.items() if layer == 0}
FORBIDDEN = {
    **dict.fromkeys(_BASE | {"scans", "cohorts", "models", "evidence"}, _TORCH | _PLOTS),
    **dict.fromkeys(("learning", "gate", "screening", "training", "train", "__main__"), _PLOTS),
    **dict.fromkeys(("pages", "dashboard", "app"), _TORCH),
}
# A training step measures what it trained: training, evidence and the dashboard meet in the model folder alone.
STRANGERS = [("learning", "evidence"), ("evidence", "learning"), ("dashboard", "training"), ("training", "dashboard")]
# Only the router and the pages draw; a command line never loads the dashboard.
DRAWING = {"app", "pages", "dashboard"}
INTERNALS = ROOT / "sslmri" / "dashboard" / "server" / "streamlit_internals.py"
# Runs in the process that aligns, which nothing else shares: it alone of the package loads torch.
EXTRACTION = ROOT / "sslmri" / "scans" / "atlas" / "brain.py"
MAX_LINES = 300


def package_of(path: Path) -> str:
    """Returns the package of a file: the name below sslmri, or that of the folder or file at the top."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "sslmri" and parts[1:] != ("__init__",) else parts[0]


def imports_of(path: Path) -> Iterator[str]:
    """Yields the full name of everything that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def faults(path: Path) -> list[str]:
    """Returns a sentence on each import of a file that the architecture does not allow."""
    package, name, found = package_of(path), path.relative_to(ROOT), []
    if package not in LAYERS and package != "sslmri":
        return [f"{name}: {package} has no layer, give it one in LAYERS"]
    for imported in imports_of(path):
        first, *rest = imported.split(".")
        if first == "":
            found.append(f"{name} has a relative import: write the full name")
        elif first in FORBIDDEN.get(package, ()) and (first, path) != ("torch", EXTRACTION):
            found.append(f"{name} imports {first}: {package} does without it")
        elif first in ("tests", "benchmarks", "pages", "app", "train"):
            found.append(f"{name} imports {first}, which is no library")
        elif first == "sslmri" and rest:
            found += [f"{name} imports sslmri.{rest[0]}: {reason}" for reason in _reasons(package, rest[0])]
    return found


def _reasons(package: str, other: str) -> Iterator[str]:
    if other not in LAYERS:
        yield "it has no layer, give it one in LAYERS"
    elif LAYERS[other] > LAYERS.get(package, 0):
        yield "imports go downwards only"
    elif (package, other) in STRANGERS:
        yield "the two meet in the model folder alone"
    elif other == "dashboard" and package not in DRAWING:
        yield "only the router and the pages draw"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards(path):
    assert not faults(path), "\n".join(faults(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_no_two_packages_import_each_other_and_no_circle_of_them():
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        others = {name.split(".")[1] for name in imports_of(path) if name.startswith("sslmri.")}
        graph.setdefault(package_of(path), set()).update(others - {package_of(path)})
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the packages
    assert order.index("scans") < order.index("screening") < order.index("dashboard") < order.index("pages")


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("pages/wrong.py", "import torch\n", "pages/wrong.py imports torch: pages does without it"),
        ("pages/wrong.py", "from tests import tiny\n", "pages/wrong.py imports tests, which is no library"),
        ("sslmri/new/a.py", "", "sslmri/new/a.py: new has no layer, give it one in LAYERS"),
        ("sslmri/scans/a.py", "from . import b\n", "sslmri/scans/a.py has a relative import: write the full name"),
        (
            "sslmri/scans/a.py",
            "from sslmri import new\n",
            "sslmri/scans/a.py imports sslmri.new: it has no layer, give it one in LAYERS",
        ),
        (
            "sslmri/scans/a.py",
            "def f():\n    from sslmri.models import cards\n",
            "sslmri/scans/a.py imports sslmri.models: imports go downwards only",
        ),
        (
            "train.py",
            "from sslmri.dashboard import text\n",
            "train.py imports sslmri.dashboard: only the router and the pages draw",
        ),
    ],
)
def test_the_rules_see_a_wrong_import(place, text, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert faults(path) == [expected]


@pytest.mark.parametrize("module", ["sslmri", "sslmri.scans.parse", "sslmri.models.cards", "sslmri.evidence.evaluate"])
def test_light_modules_do_not_load_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_private_parts_of_streamlit_are_used_in_one_file_only():
    private = ("streamlit.runtime", "streamlit.web", "streamlit.auth_util", "streamlit.file_util", "streamlit.config",
               "streamlit.logger", "starlette.formparsers", "uvicorn")  # fmt: skip
    allowed = {"streamlit.runtime.uploaded_file_manager.UploadedFile"}  # a type that pages are given
    for path in SOURCES:
        found = {name for name in imports_of(path) if name.startswith(private)} - allowed
        assert not found or path == INTERNALS, f"{path.relative_to(ROOT)} imports {found}: only {INTERNALS.name} may"


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


# JSON as it is read or written, the state of a checkpoint, and the summary of a cohort, which pages alone draw.
UNTYPED = {
    *(f"sslmri/learning/{name}.py" for name in ("checkpoint", "finetune")),
    *(f"sslmri/models/{name}.py" for name in ("convert_evidence", "history", "integrity")),
    "sslmri/dashboard/performance/tables.py",
    *("sslmri/cohorts/summary.py", "sslmri/screening/outcome.py"),
}


def test_public_functions_take_and_return_typed_values():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                types = [ast.unparse(one) for one in (*(a.annotation for a in arguments), node.returns) if one]
                name = path.relative_to(ROOT).as_posix()
                assert name in UNTYPED or not [t for t in types if "[str, Any]" in t], f"{name}: {node.name}"
