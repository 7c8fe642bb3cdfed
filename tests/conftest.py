"""What several test modules share: a small simulated cohort, and a model really trained on it."""

import os
from pathlib import Path

import numpy as np
import pytest

from sslmri.cohorts.simulated import SimulatedSettings, write_simulated
from sslmri.learning.labels import FinetuneSettings
from sslmri.learning.pretrain import PretrainSettings
from sslmri.learning.views import ViewSettings
from sslmri.scans.scan import Scan
from sslmri.training.data import RunOptions
from sslmri.training.steps import run_evaluate, run_finetune, run_pretrain

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
    run_evaluate(options)
    return folder


@pytest.fixture
def phantom() -> np.ndarray:
    """Returns a head-like picture: a bright ellipse with structure on black, (96, 80) float32 in 0..1000."""
    rows, columns = np.mgrid[0:96, 0:80]
    radius = ((rows - 50) / 36) ** 2 + ((columns - 41) / 27) ** 2
    texture = 600 + 250 * np.sin(rows / 5) * np.cos(columns / 7)
    return np.where(radius < 1, texture, 0).astype(np.float32)


def as_scan(voxels: np.ndarray, name: str = "scan.png") -> Scan:
    """Returns voxels (D, H, W) or (H, W) as a scan."""
    volume = voxels if voxels.ndim == 3 else voxels[None]
    return Scan(volume.astype(np.float32), None, None, None, "PNG", name, "0" * 64)


os.environ.setdefault("TQDM_DISABLE", "1")
