"""``sslmri embed``: the features of scans as a table, and the notebook that fits a classifier to it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from sslmri.models.cards import INTENDED_USE
from sslmri.models.folder import read_model_card
from sslmri.screening import embed
from sslmri.screening.batch import screen_files
from sslmri.screening.screener import Screener
from tests.conftest import Call
from tests.nifti_files import nifti, packed

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def manifest(cohort: Path, tmp_path: Path) -> Path:
    """Returns a manifest of the slices of one disease of the simulated cohort, and of a file that is none."""
    (tmp_path / "bad.png").write_bytes(b"<html>")
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False)
    own = table[table["disease"] == "ms"].assign(path=lambda rows: [str(cohort.parent / path) for path in rows["path"]])
    pd.concat([own.iloc[:1].assign(path="bad.png"), own]).to_csv(tmp_path / "own.csv", index=False)
    return tmp_path / "own.csv"


def test_every_slice_is_a_row_with_the_features_that_screening_sees(
    call: Call, manifest: Path, gated_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "_ROWS", 8)
    monkeypatch.setattr(Screener, "align", None)  # no head is aligned
    out = manifest.with_name("features.parquet")
    done = call("sslmri", "embed", manifest, "--out", out, "--model", gated_folder)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("left out: ")
    assert "bad.png: This is a text file." in done.stdout
    assert done.stdout.count("\n") == 1
    table, listed = pd.read_parquet(out), pd.read_csv(manifest)[1:]
    assert list(table) == ["scan", "slice", "group", "sequence", "is_brain_mri", "assessed", "features"]
    assert table["scan"].tolist() == listed["path"].tolist()
    assert table["group"].tolist() == ("simulated/" + listed["group"]).tolist()
    screened = list(screen_files(Screener.load(gated_folder), map(Path, listed["path"]), is_aligned=False))
    features = np.concatenate([own.features for _, own in screened])  # in other batches
    np.testing.assert_allclose(np.stack(table["features"]), features, atol=1e-6)
    assert table["is_brain_mri"].tolist() == [entry.outcome.is_brain_mri for entry, _ in screened]
    assert table["assessed"].tolist() == [" ".join(entry.outcome.assessed) for entry, _ in screened]
    written = parquet.ParquetFile(out)
    assert written.num_row_groups > 2
    card = read_model_card(gated_folder)
    assert {b"model_sha256": card.sha256.encode(), b"notice": INTENDED_USE.encode()}.items() <= (
        written.schema_arrow.metadata.items()
    )


def test_arrays_are_the_columns_of_the_table(call: Call, manifest: Path, model_folder: Path, head: np.ndarray) -> None:
    volume = manifest.with_name("head\udcff.nii.gz")
    volume.write_bytes(packed(nifti(head)))
    for suffix in (".parquet", ".npz"):
        done = call("sslmri", "embed", volume, manifest, "--out", manifest.with_suffix(suffix), "--model", model_folder)
        assert done.returncode == 2, done.stderr
    table, arrays = pd.read_parquet(manifest.with_suffix(".parquet")), np.load(manifest.with_suffix(".npz"))
    assert list(table) == list(arrays)
    np.testing.assert_array_equal(np.stack(table["features"]), arrays["features"])
    for name in ("scan", "slice", "assessed"):
        assert table[name].tolist() == arrays[name].tolist()
    own = table[table["scan"].str.endswith("head\\udcff.nii.gz")]
    assert len(own) > 2
    assert own["slice"].is_monotonic_increasing
    assert own["group"].isna().all()
    assert set(arrays["group"][: len(own)]) == {""}
    assert not [path for path in manifest.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("paths", "out", "sentence"),
    [
        (["own.csv"], "features.txt", "Expected a file that ends in .parquet or .npz, got features.txt"),
        (["empty"], "features.npz", "Expected files to read, got none"),
        (["none.csv"], "features.npz", "Expected a manifest at"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(
    paths: list[str], out: str, sentence: str, call: Call, manifest: Path, model_folder: Path
) -> None:
    folder = manifest.parent
    (folder / "empty").mkdir()
    named = [folder / path for path in paths]
    done = call("sslmri", "embed", *named, "--out", folder / out, "--model", model_folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {sentence}")
    assert done.stderr.count("\n") == 1
    assert not (folder / out).exists()


def test_the_notebook_goes_from_features_to_a_classifier(
    cohort: Path,
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cells = json.loads((ROOT / "docs" / "features.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sslmri.project.DEFAULT_MODEL", model_folder)
    (tmp_path / "simulated").symlink_to(cohort.parent)
    names: dict[str, object] = {}
    for cell in code:
        exec("".join(cell["source"]), names)
    assert capsys.readouterr().out.startswith("balanced accuracy 0.")
