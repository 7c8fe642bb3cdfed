"""The precision of training: chosen by the device, forced by name, recorded, and the same when a run is resumed."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from sslmri.cohorts.store import Store
from sslmri.errors import TrainingError
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import extract_features
from sslmri.learning.precision import autocast, choose_precision, with_precision
from sslmri.learning.pretrain import pretrain
from sslmri.learning.settings import FinetuneSettings, PretrainSettings, ViewSettings
from sslmri.scans.slices import Preparation
from sslmri.training.options import RunOptions
from sslmri.training.steps import run_all, run_finetune, run_pretrain
from tests.banks import record
from tests.small_encoder import SMALL_ENCODER

CPU = torch.device("cpu")
SMALL = Preparation(image_size=(32, 32))
SETTINGS = PretrainSettings(
    epochs=1, batch_size=4, device="cpu", architecture=SMALL_ENCODER, views=ViewSettings(size=32)
)


@pytest.fixture(params=[True, False], ids=["with bfloat16 units", "without"])
def has_bfloat16(request, monkeypatch) -> bool:
    monkeypatch.setattr("sslmri.learning.precision._has_bfloat16", lambda device: request.param)
    return bool(request.param)


def slices() -> Store:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)
    return Store(pixels, [record("ms", "a")] * 8, [])


def test_auto_is_what_the_device_computes_fast(has_bfloat16):
    expected = "bfloat16" if has_bfloat16 else "float32"
    assert choose_precision(CPU) == choose_precision(CPU, "auto") == expected
    assert with_precision(SETTINGS).precision == expected
    assert choose_precision(CPU, "float32") == "float32"


def test_a_precision_that_the_device_lacks_is_refused(monkeypatch):
    monkeypatch.setattr("sslmri.learning.precision._has_bfloat16", lambda device: False)
    with pytest.raises(TrainingError, match="This CPU has no bfloat16 instructions: use --precision float32"):
        choose_precision(CPU, "bfloat16")


@pytest.mark.parametrize(
    "step",
    [
        lambda options: run_pretrain(options, dataclasses.replace(SETTINGS, precision="bfloat16")),
        lambda options: run_finetune(options, FinetuneSettings(device="cpu", precision="bfloat16")),
        lambda options: run_all(options, SETTINGS, FinetuneSettings(device="cpu", precision="bfloat16")),
    ],
    ids=["pretrain", "finetune", "all"],
)
def test_a_precision_that_the_device_lacks_is_refused_before_the_data_are_opened(step, monkeypatch, tmp_path):
    monkeypatch.setattr("sslmri.learning.precision._has_bfloat16", lambda device: False)
    monkeypatch.setattr("sslmri.training.steps.open_cohort", lambda options: pytest.fail("opened"))
    with pytest.raises(TrainingError, match="no bfloat16 instructions"):
        step(RunOptions(run=tmp_path / "run"))


def test_a_processor_limited_to_avx2_computes_in_float32():
    code = "import torch; from sslmri.learning.precision import choose_precision as c; print(c(torch.device('cpu')))"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "float32"


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_a_forward_pass_computes_in_the_chosen_precision(precision, dtype):
    with autocast(CPU, precision), torch.no_grad():
        assert Encoder(SMALL_ENCODER).eval()(torch.zeros(1, 1, 32, 32)).dtype == dtype


def test_pre_training_records_its_precision_and_is_not_resumed_in_another(has_bfloat16, tmp_path):
    pretrain(slices(), (slices(), slices()), SMALL, tmp_path, SETTINGS)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["settings"]["precision"]
    assert saved == ("bfloat16" if has_bfloat16 else "float32")
    other = dataclasses.replace(SETTINGS, precision="float32")
    if has_bfloat16:
        with pytest.raises(TrainingError, match="precision bfloat16 -> float32"):
            pretrain(slices(), (slices(), slices()), SMALL, tmp_path, other)


def test_features_are_float32_and_close_in_both_precisions(monkeypatch):
    monkeypatch.setattr("sslmri.learning.precision._has_bfloat16", lambda device: True)
    torch.manual_seed(0)
    encoder = Encoder(SMALL_ENCODER)
    exact, fast = (extract_features(encoder, slices(), SMALL, precision) for precision in ("float32", "bfloat16"))
    assert exact.dtype == fast.dtype == torch.float32
    assert not torch.equal(exact, fast)
    assert torch.allclose(exact, fast, rtol=0.05, atol=0.02)
