"""``sslmri export --onnx``: a file that computes what screening gives for a slice, or none."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.screen import compare_runtimes
from sslmri.learning import onnx_file
from sslmri.learning.encoder import Encoder
from sslmri.learning.model import Head, Model
from sslmri.learning.sequence_head import SequenceHead
from sslmri.models.cards import INTENDED_USE
from sslmri.project import DEFAULT_MODEL
from sslmri.scans.scan import SEQUENCES
from sslmri.scans.slices import prepare_scan
from sslmri.screening.screener import Screener
from tests.conftest import Call, as_scan
from tests.small_encoder import SMALL_ENCODER

ROOT = Path(__file__).resolve().parents[1]
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def model() -> Model:
    """Returns a small model with heads on the last stage, both stages, the halves of the second, and its textures."""
    torch.manual_seed(0)
    n_early, n_textures = SMALL_ENCODER.texture_dim // 2, SMALL_ENCODER.texture_dim
    widths = {"alzheimers": n_textures, "tumours": n_early + SMALL_ENCODER.feature_dim}
    loaded, heads = Model.load(DEFAULT_MODEL), {}
    for key, card in loaded.card.heads.items():
        weight = torch.randn(len(card.classes), widths.get(key, SMALL_ENCODER.feature_dim))
        heads[key] = Head(weight, torch.randn(len(card.classes)), card.pooling)
    assert {head.pooling for head in heads.values()} == {"mean", "log-mean-exp", "halves"}
    return replace(
        loaded,
        encoder=Encoder(SMALL_ENCODER).eval(),
        heads=heads,
        sequence=SequenceHead(n_early).eval(),
    )


@pytest.fixture
def from_here(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the folder that is current now; commands load the small model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Model, "load", lambda folder: model)
    return tmp_path


def test_the_file_computes_what_screening_gives_for_a_slice(
    model: Model, phantom: np.ndarray, from_here: Path, call: Call, capfd: pytest.CaptureFixture[str]
) -> None:
    done = call("sslmri", "export", "--onnx", "model.onnx")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"model\.onnx: differs from torch by at most \d\.\de-0[5-9]\n", done.stdout)
    images = [np.roll(phantom, shift, axis=(0, 1)) for shift in ((0, 0), (9, 0), (0, 7), (-5, 5))]
    prepared = [prepare_scan(as_scan(image), model.card.encoder.preparation) for image in images]
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(None, {"slices": np.stack([scan.slices for scan in prepared])})
    screened = Screener(model).screen_slices(prepared)
    assert names == ["features", *model.card.heads, "sequence"]
    for name, values in zip(names, found, strict=True):
        expected = {
            "features": lambda one: one.arrays.features[0],
            "sequence": lambda one: [one.summary.sequence_seen[sequence] for sequence in SEQUENCES],
        }.get(name, lambda one, name=name: one.arrays.slice_probabilities[name][0])
        np.testing.assert_allclose(values, [expected(one) for one in screened], atol=1e-4, err_msg=name)
    stated = session.get_modelmeta().custom_metadata_map
    assert (stated["model_sha256"], stated["notice"]) == (model.card.sha256, INTENDED_USE)
    assert json.loads(stated["classes"])["ms"] == list(model.card.heads["ms"].classes)

    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8"), re.S)
    Image.fromarray((phantom / 4).astype(np.uint8)).save("scan.png")
    exec(example, {})
    assert capfd.readouterr().out.startswith("{'features': array(")

    figures = compare_runtimes(model, from_here / "model.onnx", rounds=1)
    assert {"torch_over_onnx_1", "torch_over_onnx_cpu_1"} <= figures.keys()
    assert all(ratio > 0 for ratio in figures.values())


def test_a_file_that_differs_from_torch_is_not_put_in_place(
    from_here: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "_TOLERANCE", -1.0)
    (from_here / "model.onnx").write_bytes(b"before")
    done = call("sslmri", "export", "--onnx", "model.onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"^error: ONNX Runtime and torch differ by .*, so nothing was written: .*\n\Z", done.stderr, re.M)
    assert [(path.name, path.read_bytes()) for path in from_here.iterdir()] == [("model.onnx", b"before")]


def test_a_missing_package_is_one_sentence(from_here: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = call("sslmri", "export", "--onnx", "model.onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith('run pip install "sslmri[onnx]".\n')
