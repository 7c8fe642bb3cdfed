"""What several test modules share: a small simulated cohort, and a model really trained on it."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sslmri.cohorts.simulated import SimulatedSettings, write_simulated
from sslmri.learning.bank import FeatureBank
from sslmri.learning.cards import MODEL_FILE, ModelCard, read_model_card, write_model_file
from sslmri.learning.labels import FinetuneSettings
from sslmri.learning.pretrain import PretrainSettings
from sslmri.learning.views import ViewSettings
from sslmri.scans.scan import Scan
from sslmri.training.bank import build_bank, drop_bank, fit_bank
from sslmri.training.data import RunOptions
from sslmri.training.steps import run_evaluate, run_finetune, run_pretrain
from tests.banks import features, record
from tests.nifti_files import make_head

SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY_PRETRAIN = PretrainSettings(epochs=2, batch_size=16, probe_every=2, views=ViewSettings(size=32))
TINY_FINETUNE = FinetuneSettings(epochs=1, labels_per_class=4, batch_size=16)


def needs_shared(folder: str) -> pytest.MarkDecorator:
    """Returns a mark that skips a test, saying why, where real scans are not on this machine."""
    return pytest.mark.skipif(not (SHARED / folder).is_dir(), reason=f"no folder of real scans at {SHARED / folder}")


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the manifest of a small simulated cohort with five people a class."""
    folder = tmp_path_factory.mktemp("cohort")
    return write_simulated(folder, SimulatedSettings(subjects_per_class=5, slices_per_subject=2))


@pytest.fixture(scope="session")
def model_folder(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a model trained by the real steps on the small cohort, with its evidence."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    options = RunOptions(data=cohort, run=folder, cache=folder.parent / "cache")
    run_pretrain(options, TINY_PRETRAIN)
    run_finetune(options, TINY_FINETUNE)
    drop_bank(options)  # heads taught for a moment on a few slices still speak about whatever a test draws
    card = json.loads((folder / MODEL_FILE).read_text())
    write_model_file(folder, card["name"], card["training"], card["created"])
    run_evaluate(options)
    return folder


@pytest.fixture(scope="session")
def gated_folder(cohort: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a copy of that model with a feature bank: its heads do not answer every scan."""
    folder = tmp_path_factory.mktemp("gated") / "tiny"
    shutil.copytree(model_folder, folder, ignore=shutil.ignore_patterns("*.pt"))
    build_bank(RunOptions(data=cohort, run=folder, cache=model_folder.parent / "cache"))
    return folder


@pytest.fixture(scope="session")
def bank() -> FeatureBank:
    """Returns a bank of made-up features: those of ms, of tumours and of pictures lie at three places."""
    rng = np.random.default_rng(0)
    diseases = ["ms"] * 40 + ["tumours"] * 40
    train = np.concatenate([features(rng, 0, 40), features(rng, 1, 40)])
    validation = np.concatenate([features(rng, 0, 20), features(rng, 1, 20)])
    cases = [record(disease, str(i // 4)) for i, disease in enumerate(diseases)]
    judged = [record(disease, f"v{i}", split="validation") for i, disease in enumerate(diseases[::2])]
    return fit_bank(train, cases, validation, judged, features(rng, 2, 60))


@pytest.fixture
def phantom() -> np.ndarray:
    """Returns a head-like picture: a bright ellipse with structure on black, (96, 80) float32 in 0..1000."""
    rows, columns = np.mgrid[0:96, 0:80]
    radius = ((rows - 50) / 36) ** 2 + ((columns - 41) / 27) ** 2
    texture = 600 + 250 * np.sin(rows / 5) * np.cos(columns / 7)
    return np.where(radius < 1, texture, 0).astype(np.float32)


@pytest.fixture(scope="session")
def head() -> np.ndarray:
    """Returns the voxels of a synthetic head, (40, 96, 80) uint8, for tests that write volumes."""
    return make_head()


def as_scan(voxels: np.ndarray, name: str = "scan.png") -> Scan:
    """Returns voxels (D, H, W) or (H, W) as a scan."""
    volume = voxels if voxels.ndim == 3 else voxels[None]
    return Scan(volume.astype(np.float32), None, None, None, "PNG", name, "0" * 64)


@pytest.fixture
def configured(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """Returns the card of the small model, which the pages now show."""
    monkeypatch.setenv("SSLMRI_MODEL", str(model_folder))
    return read_model_card(model_folder)


@pytest.fixture
def unconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an empty folder; the pages have no model now."""
    monkeypatch.setenv("SSLMRI_MODEL", str(tmp_path / "none"))
    return tmp_path


os.environ.setdefault("TQDM_DISABLE", "1")
