"""What several test modules share: a small simulated cohort, a model trained on it, and command lines.

Torch is imported where it is used: the process that hands out tests to the others can start them sooner without it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock

from sslmri.models.cards import ModelCard
from sslmri.models.folder import read_model_card
from sslmri.scans.scan import Scan, ScanInfo
from tests.banks import record, seen
from tests.nifti_files import make_head

if TYPE_CHECKING:
    from sslmri.models.bank import FeatureBank

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files that use the tiny model last, but for one: a worker trains it while another does without it."""
    users = [item.path.name for item in items if "model_folder" in getattr(item, "fixturenames", ())]
    first = "test_browser.py" if "test_browser.py" in users else ""  # the longest
    items.sort(key=lambda item: (item.path.name != first, item.path.name in users))


def needs_shared(folder: str) -> pytest.MarkDecorator:
    """Returns a mark that skips a test, saying why, where there are no real scans on this host."""
    return pytest.mark.skipif(not (SHARED / folder).is_dir(), reason=f"no folder of real scans at {SHARED / folder}")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Returns a folder that one process of the test run fills, while the others wait for it; none may write to it."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # what the worker processes have in common
    folder, finished = root / name, root / f"{name}.finished"
    with FileLock(root / f"{name}.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the manifest of a small simulated cohort with five subjects per class."""
    from tests.tiny import make_cohort

    return made_once(tmp_path_factory, "cohort", make_cohort) / "manifest.csv"


@pytest.fixture(scope="session")
def model_folder(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a model trained by the real steps on the small cohort, with its evidence, in its run folder."""
    from tests.tiny import make_model

    return made_once(tmp_path_factory, "runs", lambda folder: make_model(cohort, folder / "tiny")) / "tiny" / "model"


@pytest.fixture(scope="session")
def gated_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a copy of that model with the feature bank of its training: its heads do not answer every scan."""
    from tests.tiny import copy_bank, list_files_again

    folder = tmp_path_factory.mktemp("gated") / "tiny"
    shutil.copytree(model_folder, folder, ignore=shutil.ignore_patterns("*.pt"))
    copy_bank(model_folder.parent / "bank", folder)
    list_files_again(folder)
    return folder


@pytest.fixture(scope="session")
def bank() -> "FeatureBank":
    """Returns a bank of synthetic features: those of ms, of tumours and of other images lie around three points."""
    from sslmri.gate.fit import fit_bank

    rng = np.random.default_rng(0)
    diseases = ["ms"] * 40 + ["tumours"] * 40
    train, validation = seen(rng, 0, 1, count=40), seen(rng, 0, 1, count=20)
    cases = [record(disease, str(i // 4)) for i, disease in enumerate(diseases)]
    judged = [record(disease, f"v{i}", split="validation") for i, disease in enumerate(diseases[::2])]
    return fit_bank(train, cases, validation, judged, seen(rng, 2, count=60))


@pytest.fixture
def phantom() -> np.ndarray:
    """Returns a head-like image: a bright ellipse with structure on black, (96, 80) float32 in 0..1000."""
    rows, columns = np.mgrid[0:96, 0:80]
    radius = ((rows - 50) / 36) ** 2 + ((columns - 41) / 27) ** 2
    texture = 600 + 250 * np.sin(rows / 5) * np.cos(columns / 7)
    return np.where(radius < 1, texture, 0).astype(np.float32)


@pytest.fixture(scope="session")
def head() -> np.ndarray:
    """Returns the voxels of a synthetic head, (40, 96, 80) uint8, for tests that write volumes."""
    return make_head()


def as_scan(voxels: np.ndarray, name: str = "scan.png", **known: Any) -> Scan:
    """Returns voxels (D, H, W) or (H, W) as a scan."""
    volume = voxels if voxels.ndim == 3 else voxels[None]
    return Scan(ScanInfo(name, "PNG", "0" * 64, len(volume), **known), volume.astype(np.float32))


@pytest.fixture
def configured(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """Returns the card of the small model, which the pages now show."""
    monkeypatch.setenv("SSLMRI_MODEL", str(model_folder))
    return read_model_card(model_folder)


Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Returns a function that runs a command line as a process of its own would, but in this one, which has torch."""
    import train
    from sslmri import __main__

    mains = {"train.py": train.main, "sslmri": __main__.main}

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
        capfd.readouterr()
        code = mains[program]()
        return subprocess.CompletedProcess(sys.argv, code, *capfd.readouterr())

    return run


@pytest.fixture
def unconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an empty folder; the pages have no model now."""
    monkeypatch.setenv("SSLMRI_MODEL", str(tmp_path / "none"))
    return tmp_path


os.environ.setdefault("TQDM_DISABLE", "1")
