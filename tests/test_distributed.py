"""Several processes: the joint batch's loss and gradients, one writer, and clear refusals."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, nn

from sslmri.cohorts.store import Store
from sslmri.errors import TrainingError
from sslmri.learning.distributed import distributed_model
from sslmri.learning.encoder import pick_device
from sslmri.learning.pretrain import SimCLR, batch_loss, pretrain
from sslmri.learning.settings import PretrainSettings, ViewSettings
from sslmri.learning.views import draw_views
from sslmri.models.history import read_history
from sslmri.scans.slices import Preparation
from tests.banks import record
from tests.small_encoder import SMALL_ENCODER

SETTINGS = PretrainSettings(
    epochs=2,
    batch_size=8,
    probe_every=9,
    device="cpu",
    precision="float32",
    architecture=SMALL_ENCODER,
    views=ViewSettings(size=32),
)
PREPARATION = Preparation(image_size=(32, 32))
ROOT = Path(__file__).parent.parent


def pool() -> Store:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32), dtype=np.uint8)
    return Store(pixels, [record("ms", "g")] * 16, [])


def one_step() -> tuple[float, dict[str, torch.Tensor]]:
    """Returns the loss of the first batch and its gradients; batch norm, which processes do not share, is fixed."""
    torch.manual_seed(0)
    model = SimCLR(SETTINGS.architecture)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)  # at zero, as training starts, a block has no gradient
    trained = distributed_model(model).eval()
    views = draw_views(16, SETTINGS.views, Generator().manual_seed(1))
    loss = batch_loss(trained, pool(), np.arange(8), views, PREPARATION, SETTINGS)[0]
    loss.backward()
    return loss.item(), {name: value.grad for name, value in model.named_parameters()}


def torchrun(script: Path, folder: Path) -> subprocess.CompletedProcess:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command, str(script), str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


_STEP_AND_RUN = """
import sys
from pathlib import Path
import torch
from sslmri.learning.distributed import joined_processes, process_index
from sslmri.learning.pretrain import pretrain
from tests.test_distributed import PREPARATION, SETTINGS, one_step, pool
folder = Path(sys.argv[1])
with joined_processes("cpu"):
    torch.save(one_step(), folder / f"{process_index()}.pt")
    pretrain(pool(), (pool(), pool()), PREPARATION, folder / "run", SETTINGS)
"""


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns what two processes wrote: the loss and gradients of one step of each, and then their whole run."""
    folder = tmp_path_factory.mktemp("two")
    script = folder / "script.py"
    script.write_text(_STEP_AND_RUN, encoding="utf-8")
    done = torchrun(script, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_give_loss_and_gradients_of_the_joint_batch(shared_out):
    loss, gradients = one_step()
    for process in range(2):
        joint_loss, joint_gradients = torch.load(shared_out / f"{process}.pt")
        assert abs(joint_loss - loss) < 1e-5
        assert joint_gradients.keys() == gradients.keys()
        for name, expected in gradients.items():
            assert (joint_gradients[name] - expected).norm() <= 1e-5 * expected.norm(), name


def test_a_run_of_two_processes_is_written_by_the_first_alone(shared_out):
    assert [entry["epoch"] for entry in read_history(shared_out / "run" / "history.jsonl")] == [1, 2]
    assert sorted(path.name for path in (shared_out / "run").iterdir()) == [
        "checkpoint.pt",
        "history.jsonl",
        "views.png",
    ]


def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("sslmri.learning.pretrain.n_processes", lambda: 2)
    with pytest.raises(TrainingError, match="choose a multiple of 2"):
        pretrain(pool(), (pool(), pool()), PREPARATION, tmp_path, replace(SETTINGS, batch_size=9))


def test_a_device_that_is_not_there_is_refused():
    missing = "cuda" if not torch.cuda.is_available() else "cuda:99"
    with pytest.raises(TrainingError, match="Expected the device"):
        pick_device(missing)


def test_several_processes_are_refused_where_one_is_meant(call, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = call("train.py", "finetune", "--run", tmp_path / "run", "--cache", tmp_path / "cache")
    assert done.returncode == 1
    assert "Expected one process, got several" in done.stderr
    assert not list(tmp_path.iterdir())
