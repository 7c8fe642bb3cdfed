"""Downloaded folders become manifests that keep each person in one group."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sslmri.cohorts.manifest import MANIFEST_COLUMNS, read_manifest, write_manifest
from sslmri.cohorts.public import DOWNLOADS, build_manifest, list_checksum
from sslmri.cohorts.registry import COHORTS, caveat_of, terms_of
from sslmri.cohorts.splits import assign_splits
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError

OASIS = ("Non Demented", "Very mild Dementia", "Mild Dementia", "Moderate Dementia")
PEOPLE_6400 = {
    "Non_Demented/non": 100,
    "Very_Mild_Demented/verymild": 70,
    "Mild_Demented/mild": 28,
    "Moderate_Demented/moderate": 2,
}


def touch(folder: Path, *names: str) -> Path:
    """Returns the folder with these files in it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def groups(rows: pd.DataFrame) -> dict[str, str]:
    """Returns the group of each path."""
    return dict(zip(rows["path"], rows["group"], strict=True))


def refusal(folder: Path, cohort: str) -> str:
    """Returns the sentence that refuses the folder."""
    with pytest.raises(ManifestError) as caught:
        build_manifest(folder, cohort)
    return str(caught.value)


def order_6400(n: int) -> list[tuple[int, int]]:
    """Returns (person, slice) of each file of a class of n people: the test part, then the training part."""
    slice_by_slice = [(at % n, at // n) for at in range(32 * n)]
    n_training, order = 32 * n - 32 * n // 5, np.random.default_rng(n).permutation(n).tolist()
    upper = [(person, number) for number in range(26, 32) for person in order]
    return slice_by_slice[n_training : 26 * n][::-1] + upper + slice_by_slice[:n_training]


@pytest.fixture(scope="module")
def folder_6400(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a set in the order of the 6,400-image set, each person a texture that turns from slice to slice."""
    folder, rng = tmp_path_factory.mktemp("public"), np.random.default_rng(0)
    for stem, n in PEOPLE_6400.items():
        (folder / stem).parent.mkdir()
        people = rng.normal(0, 30, (n, 2, 16, 16))
        for i, (person, number) in enumerate(order_6400(n), start=1):
            turned = people[person, 0] * np.cos(number / 6) + people[person, 1] * np.sin(number / 6)
            image = Image.fromarray(np.uint8((turned + 128).clip(0, 255)))
            image.save(folder / f"{stem}{'' if i == 1 else f'_{i}'}.png", compress_level=1)
    return folder


def test_matlab_files_are_refused_with_how_to_convert_them(tmp_path):
    (tmp_path / "1.mat").write_bytes(b"MATLAB 7.3 MAT-file")
    with pytest.raises(ManifestError, match=r"only .mat files: write the image of each .mat file as PNG"):
        build_manifest(tmp_path, "cheng")


def test_every_label_of_an_adapter_is_a_class_of_its_disease() -> None:
    for key, adapter in DOWNLOADS.items():
        disease = COHORTS[key].disease
        assert {folder.label for folder in adapter.folders} - {""} <= set(DISEASES[disease].classes if disease else ())


SMALL_SETS = {  # cohort -> files, and the group, slice, contrast, label and use of the last one
    "cheng": (
        ["glioma/1.jpg", "meningioma/1.jpg", "pituitary/1.jpg"],
        ("unknown-pituitary-pituitary-000", "0", "T1ce", "pituitary", "train"),
    ),
    "br35h": (["no/no1.jpg"], ("unknown-no/no1.jpg", "", "mixed", "no_tumour", "train")),
    "tcga_lgg": (
        ["images/lgg-000_t1post_12.jpg", "unlabelled/lgg-001_flair_01.jpg"],
        ("LGG-001", "1", "FLAIR", "", "train"),
    ),
    "ehealth_cyprus": (["ms01_003.jpg"], ("MS01", "3", "T2", "multiple_sclerosis", "train")),
    "ixi_t2": (["IXI002-Guys-0828-T2_040.jpg"], ("IXI002", "40", "T2", "normal", "train")),
    "ixi_t1": (["ixi012_044.jpg"], ("IXI012", "44", "T1", "", "train")),
    "web_controls": (["web_000.jpg"], ("unknown-web_000.jpg", "", "mixed", "normal", "train")),
    "mendeley_ms": (
        ["images/flair_108009.jpg"],
        ("108", "9", "FLAIR", "multiple_sclerosis", "localisation"),
    ),
    "ms_pair": (
        ["normal/1.jpg", "multiple_sclerosis/1.jpg", "multiple_sclerosis/2.jpg"],
        ("multiple_sclerosis", "1", "mixed", "multiple_sclerosis", "leak_demo"),
    ),
    "pd_pair": (["normal/1.jpg", "parkinsons/1.jpg"], ("parkinsons", "0", "mixed", "parkinsons", "leak_demo")),
    "ntua_volumes": (
        ["normal/pd-normal-00_03.png", "parkinsons/pd-parkinsons-01_37.png"],
        ("PD-PARKINSONS-01", "37", "mixed", "parkinsons", "train"),
    ),
}


@pytest.mark.parametrize("cohort", SMALL_SETS)
def test_folder_of_a_cohort_becomes_rows_that_are_read(tmp_path: Path, cohort: str) -> None:
    names, last = SMALL_SETS[cohort]
    rows = build_manifest(touch(tmp_path, *names, "masks/ignored.png"), cohort).set_index("path")
    assert sorted(rows.index) == sorted(names)
    assert tuple(rows.loc[names[-1], ["group", "slice", "contrast", "label", "use"]]) == last
    write_manifest(tmp_path / "manifest.csv", rows.reset_index())
    assert {record.cohort for record in read_manifest(tmp_path / "manifest.csv")} == {cohort}


def test_page_on_data_lists_every_cohort_and_the_checksum_of_the_complete_set() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    assert [cohort for cohort in DOWNLOADS if f"`{cohort}`" not in page] == []
    files = [f"{stem}{'' if i == 1 else f'_{i}'}.jpg" for stem, n in PEOPLE_6400.items() for i in range(1, 32 * n + 1)]
    assert list_checksum(files[::-1]) in page


@pytest.mark.parametrize("cohort", DOWNLOADS)
def test_caveat_and_terms_of_every_adapter_are_reported(cohort: str) -> None:
    assert terms_of(cohort) != terms_of("no such cohort")
    key = COHORTS[cohort].disease
    if key is not None and COHORTS[cohort].caveat:
        assert COHORTS[cohort].caveat in caveat_of(key, [cohort])
    if cohort in ("tumours", "ms", "parkinsons"):
        assert caveat_of(cohort, [cohort]) != caveat_of(cohort, [])


def test_oasis_sessions_and_repeats_of_a_person_are_one_group(tmp_path: Path) -> None:
    names = [f"{label}/OAS1_{i:04d}_MR1_mpr-1_100.jpg" for i, label in enumerate(OASIS)]
    names += ["Non Demented/OAS1_0000_MR2_mpr-3_160.jpg", "Non Demented/notes.txt", "Non Demented/._x.jpg"]
    rows = build_manifest(touch(tmp_path, *names), "oasis")
    assert rows.columns.tolist() == list(MANIFEST_COLUMNS)
    assert len(rows) == 5
    assert rows["path"].is_monotonic_increasing
    first = rows[rows["label"] == "non_demented"]
    assert first["group"].tolist() == ["OAS1_0000"] * 2
    assert first["slice"].tolist() == ["100", "160"]
    assert set(rows["label"]) == set(DISEASES["alzheimers"].classes)


def test_oasis_name_without_a_subject_is_refused(tmp_path: Path) -> None:
    names = [f"{label}/{i}.jpg" for i, label in enumerate(OASIS)]
    assert "OAS1_0028_MR1_mpr-1_100.jpg" in refusal(touch(tmp_path, *names), "oasis")


def test_built_manifest_is_written_read_and_split(tmp_path: Path) -> None:
    names = [
        f"{label}/OAS1_{i}{j:03d}_MR1_mpr-1_{s}.jpg" for i, label in enumerate(OASIS) for j in range(5) for s in "12"
    ]
    write_manifest(tmp_path / "manifest.csv", build_manifest(touch(tmp_path, *names), "oasis"))
    records = assign_splits(read_manifest(tmp_path / "manifest.csv"))
    assert len(records) == 40
    assert {record.split for record in records} == {"train", "validation", "test"}


def test_6400_set_gives_32_slices_of_each_of_200_people(folder_6400: Path) -> None:
    rows = build_manifest(folder_6400, "alzheimers_6400")
    assert len(rows) == 6400
    subjects = rows.groupby("label")["group"].nunique().to_dict()
    assert subjects == {"non_demented": 100, "very_mild_demented": 70, "mild_demented": 28, "moderate_demented": 2}
    assert set(rows.groupby("group")["slice"].apply(lambda own: tuple(sorted(map(int, own))))) == {tuple(range(32))}
    found = {path: (group, number) for path, group, number in rows[["path", "group", "slice"]].to_numpy()}
    assert found["Non_Demented/non_641.png"] == ("non_demented-000", "0")
    for stem, n in PEOPLE_6400.items():
        label = stem.split("/")[0].lower()
        for i, (person, number) in enumerate(order_6400(n), start=1):
            path = f"{stem}{'' if i == 1 else f'_{i}'}.png"
            assert found[path] == (f"{label}-{person:03d}", str(number))


def test_6400_set_of_another_size_is_refused(tmp_path: Path) -> None:
    names = [f"{stem}.jpg" for stem in PEOPLE_6400]
    assert "Expected 3200 images of non_demented" in refusal(touch(tmp_path, *names), "alzheimers_6400")


def test_6400_set_with_other_names_is_refused(folder_6400: Path, tmp_path: Path) -> None:
    parts = [f"{'test' if i < 640 else 'train'}/NonDemented/26 ({i}).jpg" for i in range(3200)]
    names = [str(file.relative_to(folder_6400)) for file in folder_6400.glob("[!N]*/*")]
    assert "named like non.jpg, non_2.jpg" in refusal(touch(tmp_path, *parts, *names), "alzheimers_6400")


@pytest.mark.parametrize("form", ["{}", "{}_tumor", "Training/{}", "Brain/Testing/{}_tumour"])
def test_tumour_folders_are_found_however_they_are_named(tmp_path: Path, form: str) -> None:
    names = [f"{form.format(label)}/a.jpg" for label in ("glioma", "meningioma", "pituitary")]
    rows = build_manifest(touch(tmp_path, *names, "no_tumour/a.jpg", "x/notumor/b.jpg"), "tumours")
    assert rows["label"].value_counts().to_dict() == {"no_tumour": 2, "glioma": 1, "meningioma": 1, "pituitary": 1}


def test_unknown_people_are_blocks_of_20_neighbours_in_natural_order(tmp_path: Path) -> None:
    names = [f"Training/{label}/{i}.jpg" for label in ("glioma", "meningioma", "pituitary") for i in range(1, 42)]
    group = groups(build_manifest(touch(tmp_path, *names), "tumours"))
    assert group["Training/glioma/2.jpg"] == "unknown-glioma-Training_glioma-000"
    assert group["Training/glioma/20.jpg"] == "unknown-glioma-Training_glioma-000"
    assert group["Training/glioma/21.jpg"] == "unknown-glioma-Training_glioma-001"
    assert group["Training/glioma/41.jpg"] == "unknown-glioma-Training_glioma-002"


def test_matlab_files_are_refused_by_their_suffix(tmp_path: Path) -> None:
    assert "got only .mat files" in refusal(touch(tmp_path, "1.mat", "2.mat"), "tumours")


def test_sclerosis_views_of_a_class_share_its_label_not_its_blocks(tmp_path: Path) -> None:
    names = ("Control-Axial/C-A (1).png", "Control-Sagittal/C-S (1).png", "MS-Axial/A (1).png", "MS-Sagittal/S (1).png")
    rows = build_manifest(touch(tmp_path, *names), "ms")
    assert rows["label"].tolist() == ["normal"] * 2 + ["multiple_sclerosis"] * 2
    assert rows["group"].nunique() == 4


def test_folder_of_a_person_is_the_group_and_dopamine_scans_are_skipped(tmp_path: Path) -> None:
    names = [
        f"{label}/Subject{i}/1.MRI/{n}.png"
        for label in ("Non PD Patients", "PD Patients")
        for i in (1, 2)
        for n in "12"
    ]
    rows = build_manifest(touch(tmp_path, *names, "PD Patients/Subject1/2.DAT/1.png"), "parkinsons")
    assert rows.groupby("group").size().to_dict() == dict.fromkeys(
        ["normal-Subject1", "normal-Subject2", "parkinsons-Subject1", "parkinsons-Subject2"], 2
    )


def test_nearest_folder_that_names_a_class_counts(tmp_path: Path) -> None:
    rows = build_manifest(
        touch(tmp_path, "parkinsons_dataset/normal/1.png", "parkinsons_dataset/parkinson/1.png"), "parkinsons"
    )
    assert rows["label"].tolist() == ["normal", "parkinsons"]


def test_image_in_a_folder_of_no_class_is_refused(tmp_path: Path) -> None:
    assert "got other/x.png in none of them" in refusal(
        touch(tmp_path, "MS/1.png", "Control/1.png", "other/x.png"), "ms"
    )


def test_missing_class_is_refused_by_name(tmp_path: Path) -> None:
    assert "got no image of normal" in refusal(touch(tmp_path, "MS/1.png"), "ms")


def test_files_that_no_reader_takes_are_no_images(tmp_path: Path) -> None:
    touch(tmp_path, "glioma/1.jpg", "meningioma/1.jpg", "pituitary/1.jpg", "pituitary/2.bmp")
    assert "pituitary/2.bmp" not in set(build_manifest(tmp_path, "tumours")["path"])


def test_missing_folder_and_unknown_cohort_are_refused(tmp_path: Path) -> None:
    assert "got none" in refusal(tmp_path / "none", "ms")
    assert "got no files" in refusal(tmp_path, "ms")
    assert "Expected a cohort out of oasis, oasis_2d, alzheimers_6400, tumours, cheng" in refusal(tmp_path, "flu")
