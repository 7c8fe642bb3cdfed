"""A BIDS dataset becomes a manifest of volumes, and these go through audit, training and evaluation as slices do."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from sslmri.cohorts.audit import audit
from sslmri.cohorts.bids import LabelColumn, build_bids
from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.registry import unit_of
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import Store, open_store
from sslmri.cohorts.summary import summarise
from sslmri.errors import ManifestError
from sslmri.gate.fit import build_bank, encode
from sslmri.learning.model import Model
from sslmri.scans import prepare, read_scan
from sslmri.scans.atlas import AlignedBrain
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation
from sslmri.screening import screener as screener_module
from sslmri.screening.screener import Screener
from sslmri.training.options import RunOptions
from sslmri.training.steps import run_all
from tests.conftest import Call
from tests.nifti_files import make_head, nifti
from tests.test_aligned import VENTRICLES
from tests.tiny import TINY_FINETUNE, TINY_PRETRAIN

SLAB, WHOLE_HEAD = (5.0, 2.0, 2.0), (8.0, 2.0, 2.0)  # mm: 100 and 160 in height
NO_DEMENTIA = ("alzheimers", "non_demented")
PEOPLE = ["participant_id\tage\tSex\tgroup", "sub-01\t71.5\tF\tHC", "sub-02\t89+\tM\tMS", "sub-03\tn/a\tF\tn/a"]
MS = ("group", "ms", ("HC=normal", "MS=multiple_sclerosis"))


def dataset(folder: Path, *images: str, people: list[str] | None = None) -> Path:
    """Returns a BIDS dataset of empty images: ``sub-01_ses-a_T2w`` lies in ``sub-01/ses-a/anat``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "participants.tsv").write_text("\n".join(people or PEOPLE) + "\n", encoding="utf-8")
    for name in images:
        above = [part for part in name.split("_") if part.startswith(("sub-", "ses-"))]
        path = folder.joinpath(*above, "anat", f"{name}.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def built(folder: Path, column: str = MS[0], disease: str = MS[1], pairs: tuple[str, ...] = MS[2]):
    return build_bids(folder, LabelColumn.of(column, disease, pairs))


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(ManifestError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_images_of_all_sessions_of_a_participant_are_one_group(tmp_path):
    folder = dataset(tmp_path / "ds", "sub-01_ses-a_T2w", "sub-01_ses-b_run-2_T2w", "sub-02_T2w", "sub-02_ce-gd_T1w")
    table, lines = built(folder)
    assert list(table["path"]) == [
        "sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_run-2_T2w.nii.gz",
        "sub-02/anat/sub-02_T2w.nii.gz",
        "sub-02/anat/sub-02_ce-gd_T1w.nii.gz",
    ]
    table = table.sort_values("path").set_index("path")
    assert list(table["group"]) == ["sub-01", "sub-01", "sub-02", "sub-02"]
    assert list(table["session"]) == ["a", "b", "", ""]
    assert list(table["contrast"]) == ["T2", "T2", "T2", "T1ce"]
    assert list(table["label"]) == ["normal", "normal", "multiple_sclerosis", ""]
    assert list(table["disease"]) == ["ms", "ms", "ms", ""]
    assert list(table["age"]) == ["71.5", "71.5", "", ""]
    assert list(table["sex"]) == ["F", "F", "M", "M"]
    assert set(table["cohort"]) == {"bids-ds"}
    assert unit_of(["bids-ds/sub-01"]) == "subject"
    assert lines == [
        "1 participant without a T1w, T2w or FLAIR image (first sub-03)",
        "1 participant whose age is no number: left blank (first sub-02)",
        "1 image of another sequence than T2: no label (first sub-02/anat/sub-02_ce-gd_T1w.nii.gz)",
    ]


def test_derivatives_other_suffixes_and_phase_images_are_not_read(tmp_path):
    others = ("sub-02_T2starw", "sub-02_part-phase_T2w", "sub-02_desc-brain_T2w", "sub-02_space-MNI_T2w", "sub-02_PDw")
    folder = dataset(tmp_path / "ds", "sub-01_part-mag_T2w", *others)
    dataset(folder / "derivatives" / "prep", "sub-02_T2w")
    assert list(built(folder)[0]["path"]) == ["sub-01/anat/sub-01_part-mag_T2w.nii.gz"]


def test_what_is_left_out_is_counted(tmp_path):
    folder = dataset(tmp_path / "ds", "sub-01_T2w", "sub-03_T2w", "sub-04_T2w", "sub-05_T2w")
    (folder / "sub-01/anat/sub-01_run-2_T2w.nii.gz").symlink_to(tmp_path / "annex")
    table, lines = built(folder)
    assert list(table["label"]) == ["normal", ""]
    assert lines[0] == "1 participant without a T1w, T2w or FLAIR image (first sub-02)"
    assert lines[1].startswith("2 images of people who are not in participants.tsv: left out (first sub-04/anat/")
    assert lines[2].startswith("1 image whose content is not on this computer: left out (first sub-01/anat/sub-01_run")
    assert lines[-1] == "1 image of participants without a label (first sub-03/anat/sub-03_T2w.nii.gz)"


def test_without_a_label_column_every_image_serves_pre_training(tmp_path):
    table, lines = build_bids(dataset(tmp_path / "ds", "sub-01_T2w", "sub-02_FLAIR", "sub-03_T1w"), None)
    assert set(table["label"]) == set(table["disease"]) == {""}
    assert lines == ["1 participant whose age is no number: left blank (first sub-02)"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((None, "ms", ()), "Expected --label and --disease together"),
        (("group", None, ()), "Expected --label and --disease together"),
        (("group", "flu", ()), "Expected a disease out of alzheimers, tumours, ms, parkinsons, got 'flu'"),
        (("group", "ms", ("HC",)), "Expected --map VALUE=CLASS, got 'HC'"),
        (("stage", "ms", ()), "got participant_id, age, Sex, group: name one of these with --label"),
        (
            ("group", "ms", ("HC=normal",)),
            "Expected classes of ms (normal, multiple_sclerosis) in the column group of participants.tsv, got MS (1): "
            "name the class of each, --map MS=CLASS, or none after the = for no label.",
        ),
        (("group", "ms", ("HC=well", "MS=")), "got well (1)"),
        (("group", "ms", ("HC=", "MS=")), "Expected T2 images of participants with a value in the column group, got"),
        (("group", "alzheimers", ("HC=non_demented", "MS=")), "got none among T2 (1): alzheimers is learned from T1."),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_how_to_map_them(given, said, tmp_path):
    folder = dataset(tmp_path / "ds", "sub-01_T2w")
    assert said in refusal(lambda: build_bids(folder, LabelColumn.of(*given)))


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (["name\tage", "sub-01\t3"], "Expected the column participant_id in"),
        (["participant_id\tage", "sub-01\t3", "01\t3"], "Expected each participant once"),
        (["participant_id\tage", "sub-01\t3", "sub-02"], "Expected 2 values per row"),
        (["participant_id\tage", "sub-07\t3"], "got 1 image of others or not on this computer"),
        (["participant_id\tgroup"], "got no participant"),
    ],
)
def test_a_faulty_participants_table_is_refused(people, said, tmp_path):
    folder = dataset(tmp_path / "ds", "sub-01_T2w", people=people)
    assert said in refusal(lambda: build_bids(folder, LabelColumn.of("group", "ms", ()) if "got no" in said else None))


def test_a_folder_that_is_no_bids_dataset_is_refused(call: Call, tmp_path):
    assert call("sslmri", "manifest", tmp_path, "--cohort", "bids").stderr == (
        f"error: Expected participants.tsv in {tmp_path}, got none: give the top folder of a BIDS dataset.\n"
    )
    assert "got 0 images" in refusal(lambda: build_bids(dataset(tmp_path / "ds"), None))
    done = call("sslmri", "manifest", tmp_path, "--cohort", "ms", "--label", "group", "--disease", "ms")
    assert (done.returncode, "with --cohort bids alone" in done.stderr) == (1, True)


def volume(seed: int, level: float = 0.0, spacing: tuple[float, ...] = SLAB) -> bytes:
    """Returns an uneven head of its own in 20 slices, as NIfTI; the level darkens its middle."""
    noise = np.random.default_rng(seed).normal(size=(20, 96, 80))
    head = make_head()[::2] * (1 + 2 * ndimage.gaussian_filter(noise, (0.7, 4, 4)) / 0.1).clip(0.2, 2)
    head[:, 35:60, 30:50] *= 1 - level
    return nifti(head.clip(0, 255), spacing=spacing)


def write_volumes(folder: Path) -> Path:
    """Writes a BIDS dataset of five people of each class, one with a second session and one with a FLAIR too."""
    people = [f"sub-{n:02}\t{50 + n}\t{'MS' if n % 2 else 'HC'}" for n in range(10)]
    images = [f"sub-{n:02}_T2w" for n in range(10)] + ["sub-00_ses-b_T2w", "sub-01_FLAIR"]
    dataset(folder, *images, people=["participant_id\tage\tgroup", *people])
    for path in sorted(folder.glob("sub-*/**/*.nii.gz")):
        number = int(path.name[4:6])
        path.write_bytes(volume(number, 0.6 * (number % 2)))
    return folder


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    return write_volumes(tmp_path_factory.mktemp("bids") / "ds")


@pytest.fixture(scope="module")
def manifest(volumes) -> Path:
    table, _ = built(volumes)
    table.to_csv(volumes / "manifest.csv", index=False)
    return volumes / "manifest.csv"


def opened(manifest: Path, cache: Path) -> Store:
    return open_store(assign_splits(read_manifest(manifest)), Preparation(), cache)


def test_a_bids_dataset_is_audited_trained_on_and_measured(call: Call, volumes, tmp_path):
    options = ("--label", "group", "--disease", "ms", "--map", "HC=normal", "MS=multiple_sclerosis")
    out, cache = tmp_path / "manifest.csv", tmp_path / "cache"
    done = call("sslmri", "manifest", volumes, "--cohort", "bids", "--out", out, *options)
    assert f"{out}: 12 volumes, 10 groups, file list " in done.stdout
    audited = call("sslmri", "audit", out, "--cache", cache)
    assert (audited.returncode, "no leak and no label conflict" in audited.stdout) == (0, True)
    results = run_all(RunOptions(out, tmp_path / "run", cache=cache), TINY_PRETRAIN, TINY_FINETUNE)
    records = [record for record in assign_splits(read_manifest(out)) if record.split == "test" and record.disease]
    screener = Screener.load(tmp_path / "run")
    scans = [read_scan(record.path.read_bytes(), record.path.name) for record in records]
    analysed = [screener.screen(scan).arrays.slices for scan in scans]
    assert results["ms"].slices.n_cases == sum(map(len, analysed)) > len(records)
    assert results["ms"].groups.n_groups == len({record.group for record in records}) == 2
    validated = call("sslmri", "validate", out, "--model", tmp_path / "run")
    assert validated.returncode == 0
    assert "| Multiple sclerosis | 11 |" in validated.stdout
    store = opened(out, cache)
    of_record = [store.slices[[r == record for r in store.records]] for record in records]
    assert all(np.array_equal(*pair) for pair in zip(of_record, analysed, strict=True))


@pytest.fixture
def heads(tmp_path, monkeypatch) -> list[Record]:
    """Returns the records of four whole heads, which are aligned at once, to six of their slices."""

    def align(scan: Scan, report: object) -> AlignedBrain:
        info = replace(scan.info, n_slices=6, spacing_mm=None, orientation="SPL")
        return AlignedBrain(Scan(info, scan.voxels[7:13, :64, :64]), np.eye(4), True, VENTRICLES)

    monkeypatch.setattr(prepare, "align", align)
    monkeypatch.setattr(screener_module, "align", align)
    files = [tmp_path / f"{number}.nii" for number in range(4)]
    for number, file in enumerate(files):
        file.write_bytes(volume(number, spacing=WHOLE_HEAD))
    return [Record(file, file.name, "c", *NO_DEMENTIA, file.stem, None, split="train") for file in files]


def test_a_whole_head_trains_with_the_slices_of_its_aligned_brain_that_screening_analyses(
    heads, model_folder, tmp_path
):
    head = heads[0]
    records, screener = [head, replace(head, disease=None, label=None)], Screener.load(model_folder)
    preparation = screener.card.encoder.preparation
    store, acquired = (open_store([record], preparation, tmp_path) for record in records)
    arrays = screener.screen(read_scan(head.path.read_bytes(), head.path.name)).arrays
    assert arrays.aligned is not None
    assert np.array_equal(acquired.slices, arrays.slices)
    assert np.array_equal(store.labelled.slices, arrays.aligned.slices[:, ::-1, ::-1])
    assert np.array_equal(store.whole_heads.slices, arrays.slices)  # by which the gate recognises brain MRI
    assert len(store.labelled.records) == 6 == len(store.records) - len(arrays.slices)


def test_whole_heads_as_acquired_are_recognised_by_a_gate_of_their_aligned_brains(heads, model_folder, tmp_path):
    model = Model.load(model_folder)
    store = open_store(heads, model.card.encoder.preparation, tmp_path)
    seen = encode(model, store.whole_heads).textures
    with_heads, without = (build_bank(model, slices) for slices in (store, store.labelled))
    passed, before = (bank.brain_svm.passes(bank.brain_projection.project(seen)) for bank in (with_heads, without))
    assert passed.mean() > 0.9 > before.mean()


def test_a_copied_volume_is_one_finding(manifest, tmp_path):
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    for name in table["path"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((manifest.parent / name).read_bytes())
    first, second = table[table["label"] == "normal"]["path"].iloc[[-2, -1]]
    (tmp_path / second).write_bytes((tmp_path / first).read_bytes())
    table.to_csv(tmp_path / "manifest.csv", index=False)
    records = assign_splits(read_manifest(tmp_path / "manifest.csv"))
    checks = {check.name: check.count for check in audit(records, open_store(records, Preparation(), tmp_path))}
    assert checks["identical files in two groups"] == 1
    assert checks["near copies in two groups"] == 0


def test_a_damaged_volume_is_reported_as_a_damaged_image_is(manifest, tmp_path):
    records = read_manifest(manifest)
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(records[0].path.read_bytes()[:500])
    ((record, reason),) = open_store([replace(records[0], path=broken), *records[1:]], Preparation(), tmp_path).bad
    assert record.name == "sub-00/anat/sub-00_T2w.nii.gz"
    assert reason.startswith("The NIfTI")


def test_the_summary_says_that_volumes_count_as_one_slice(manifest):
    summary = summarise(assign_splits(read_manifest(manifest)), Preparation(image_size=(32, 32)), per_class=2)
    assert [fault["text"] for fault in summary["faults"] if "volume" in fault["text"]] == [
        "A volume counts as one slice here, and is measured as acquired; training takes several slices of each."
    ]
    assert json.dumps(summary)
