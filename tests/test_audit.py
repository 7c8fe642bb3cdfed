"""The audit finds planted leaks and conflicts, names them, and is silent on a clean cohort."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from sslmri.cohorts.audit import Check, audit, list_findings
from sslmri.cohorts.duplicates import MIN_CORRELATION, find_copies, hash_slices
from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import Store, open_store
from sslmri.scans.slices import Preparation

CLASSES = "classes with fewer than 5 validation or test groups, or no training group"


@pytest.fixture
def copy(cohort: Path, tmp_path: Path) -> Path:
    """Returns the manifest of a copy of the simulated cohort, to be changed."""
    return Path(shutil.copytree(cohort.parent, tmp_path / "copy")) / "manifest.csv"


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def opened(manifest: Path, cache: Path) -> tuple[list[Record], Store]:
    records = assign_splits(read_manifest(manifest), is_checked=False)
    return records, open_store([record for record in records if record.split], Preparation(), cache)


def found_in(manifest: Path, cache: Path) -> list[Check]:
    return audit(*opened(manifest, cache))


def grave(found: list[Check]) -> list[str]:
    return [check.name for check in found if check.is_grave and check.count]


def figures(found: list[Check]) -> dict[str, int]:
    return {check.name: check.count for check in found}


def items(found: list[Check], name: str) -> list[str]:
    return next(list(check.found["item"]) for check in found if check.name == name)


def change(manifest: Path, alter: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    alter(pd.read_csv(manifest, dtype=str, keep_default_na=False)).to_csv(manifest, index=False)


def plant(manifest: Path, alter: Callable[[Image.Image], Image.Image], name: str, **changed: str) -> str:
    """Puts an altered copy of a test person's slice into a training group; returns the path of the original."""
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    source = table[(table["fold"] == "0") & (table["label"] == "glioma")].iloc[0]
    target = table[(table["fold"] == "3") & (table["label"] == changed.get("label", "glioma"))].iloc[0]
    image = alter(Image.open(manifest.parent / source["path"]).convert("L"))
    image.save(manifest.parent / name, **({"quality": 75} if name.endswith(".jpg") else {}))
    change(manifest, lambda rows: pd.concat([rows, pd.DataFrame([{**target, "path": name}])]))
    return str(source["path"])


def shifted(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.roll(np.asarray(image), (1, 1), axis=(0, 1)))


def brightened(image: Image.Image) -> Image.Image:
    return image.point(lambda grey: min(255, round(grey * 1.15 + 8)))


def test_a_clean_cohort_has_no_leak_and_no_conflict(cohort, cache):
    found = found_in(cohort, cache)
    assert grave(found) == []
    assert figures(found)["identical files in two groups"] == 0
    assert figures(found)["near copies in two groups"] == 0
    assert figures(found)["groups without ids"] == 0
    assert figures(found)["cohorts whose groups are not known to be subjects"] == 0
    assert figures(found)["cohorts with one class of a disease"] == 0


@pytest.mark.parametrize(
    ("name", "alter"),
    [("copy.jpg", lambda image: image), ("shifted.png", shifted), ("brightened.png", brightened)],
)
def test_an_altered_copy_of_a_test_slice_in_a_training_group_is_a_leak(copy, cache, name, alter):
    original = plant(copy, alter, name)
    found = found_in(copy, cache)
    assert grave(found) == ["near copies in two splits"]
    assert items(found, grave(found)[0]) == [f"{original} = {name} (test/train)"]


@pytest.mark.parametrize(
    ("alter", "transform"),
    [
        (ImageOps.mirror, "mirrored"),
        (ImageOps.flip, "mirrored and rotated by 180 degrees"),
        (lambda image: image.transpose(Image.Transpose.ROTATE_90), "rotated by -90 degrees"),
        (lambda image: image.transpose(Image.Transpose.ROTATE_180), "rotated by 180 degrees"),
        (lambda image: image.transpose(Image.Transpose.ROTATE_270), "rotated by 90 degrees"),
        (lambda image: image.transpose(Image.Transpose.TRANSPOSE), "mirrored and rotated by 90 degrees"),
        (lambda image: image.transpose(Image.Transpose.TRANSVERSE), "mirrored and rotated by -90 degrees"),
        (lambda image: image.rotate(6, Image.Resampling.BICUBIC), "rotated by -6 degrees"),
        (
            lambda image: ImageOps.mirror(image).rotate(-3, Image.Resampling.BICUBIC),
            "mirrored and rotated by -3 degrees",
        ),
    ],
)
def test_a_mirrored_or_turned_copy_of_a_test_slice_in_a_training_group_is_a_leak(copy, cache, alter, transform):
    original = plant(copy, alter, "copy.jpg")
    found = found_in(copy, cache)
    assert grave(found) == ["near copies in two splits"]
    assert items(found, grave(found)[0]) == [f"{original} = copy.jpg (test/train, {transform})"]


def test_an_identical_file_in_a_training_group_is_a_leak(copy, cache):
    plant(copy, lambda image: image, "same.png")
    source = next(copy.parent.glob("tumours/glioma/*-000_*.png"))
    shutil.copy(source, copy.parent / "same.png")
    found = found_in(copy, cache)
    assert grave(found) == ["identical files in two splits"]
    assert figures(found)["near copies in two groups"] == 0
    assert items(found, grave(found)[0]) == [f"{source.relative_to(copy.parent)} = same.png (test/train)"]


def test_copies_within_one_group_are_no_finding(copy, cache):
    change(copy, lambda rows: pd.concat([rows, rows.head(1).assign(path="again.png")]))
    first = pd.read_csv(copy)["path"][0]
    shutil.copy(copy.parent / first, copy.parent / "again.png")
    assert grave(found_in(copy, cache)) == []


def test_the_same_image_with_two_labels_is_a_conflict(copy, cache):
    original = plant(copy, shifted, "other.png", label="meningioma")
    found = found_in(copy, cache)
    assert grave(found) == ["near copies in two splits", "same image with two labels"]
    assert items(found, "same image with two labels") == [f"{original} = other.png (test/train)"]
    details = list_findings(found)
    row = details[details["check"] == "same image with two labels"].iloc[0]
    assert (row["first_label"], row["second_label"]) == ("glioma", "meningioma")


def test_a_group_with_two_labels_is_a_conflict(cohort, cache):
    records, store = opened(cohort, cache)
    other = next(r for r in records if r.label == "glioma")
    found = audit([*records, replace(other, name="mask", label="pituitary", use="localisation", split=None)], store)
    assert grave(found) == ["groups with two labels of one disease"]
    assert items(found, grave(found)[0]) == [f"{other.group_key} (tumours: glioma and pituitary)"]


def test_a_group_in_two_splits_is_named(copy, cache):
    def tear(rows: pd.DataFrame) -> pd.DataFrame:
        rows.loc[rows.index[rows["group"] == "sim-glioma-003"][0], "fold"] = "0"
        return rows

    change(copy, tear)
    found = found_in(copy, cache)
    assert items(found, "groups in two splits") == ["simulated/sim-glioma-003 (test and train)"]
    assert grave(found) == ["groups in two splits"]


def test_groups_without_ids_are_listed_and_are_not_grave(copy, cache):
    change(copy, lambda rows: rows.assign(cohort="mine", group=[f"unknown-{i:03d}" for i in range(len(rows))]))
    found = found_in(copy, cache)
    n_slices = len(pd.read_csv(copy))
    assert figures(found)["groups without ids"] == n_slices
    assert items(found, "cohorts whose groups are not known to be subjects") == [
        f"mine ({n_slices} groups, each one image)"
    ]
    assert grave(found) == []


def test_a_cohort_of_people_with_a_blank_group_is_not_known_to_be_people(copy, cache):
    change(copy, lambda rows: rows.assign(group=["", *rows["group"][1:]]))
    listed = items(found_in(copy, cache), "cohorts whose groups are not known to be subjects")
    assert [item.partition(" ")[0] for item in listed] == ["simulated"]


def test_cohorts_of_one_class_and_classes_of_one_cohort_are_listed(copy, cache):
    change(copy, lambda rows: rows.assign(cohort=rows["label"].where(rows["label"] == "no_tumour", "simulated")))
    found = found_in(copy, cache)
    assert items(found, "cohorts with one class of a disease") == ["no_tumour (Tumour: no tumour)"]
    assert "Tumour: no tumour (no_tumour)" in items(found, "classes of one cohort only")
    assert "Tumour: glioma (simulated)" in items(found, "classes of one cohort only")


def test_classes_with_few_groups_are_listed_by_side(copy, cache):
    found = found_in(copy, cache)  # five people a class: one tests, one validates, three train
    assert "Tumour: glioma (1 test group)" in items(found, CLASSES)
    assert not any("train" in item for item in items(found, CLASSES))
    change(copy, lambda rows: rows[~((rows["label"] == "glioma") & (rows["fold"].astype(int) > 0))])
    assert {"Tumour: glioma (no train groups)", "Tumour: glioma (no validation groups)"} <= set(
        items(found_in(copy, cache), CLASSES)
    )


def test_the_hash_is_the_sign_of_low_frequencies_about_their_median():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 16, 16), dtype=np.uint8)
    rows = np.arange(16)
    waves = np.cos(np.pi * (2 * rows + 1) * np.arange(8)[:, None] / 32)  # DCT-II, written out
    low = waves @ image[0].astype(float) @ waves.T
    expected = (low > np.median(low)).ravel()
    assert np.array_equal(np.unpackbits(hash_slices(image).view(np.uint8)).astype(bool), expected)


def test_pairs_agree_with_a_double_loop(monkeypatch):
    monkeypatch.setattr("sslmri.cohorts.duplicates._CELLS", 90)  # three rows of hashes at a time
    monkeypatch.setattr("sslmri.cohorts.duplicates._PAIRS", 7)
    rng = np.random.default_rng(1)
    base = rng.normal(128, 40, (4, 48, 48)) * (np.hypot(*np.mgrid[-24:24, -24:24]) < 20)
    slices = np.clip(base[rng.integers(0, 4, 30)] + rng.normal(0, 12, (30, 48, 48)), 0, 255).astype(np.uint8)
    records = [Record(Path(__file__), str(i), "c", None, None, f"g{i % 6}", None) for i in range(30)]
    monkeypatch.setattr("sslmri.cohorts.duplicates._centred", lambda one: one)
    monkeypatch.setattr("sslmri.cohorts.duplicates._MAX_BITS", 12)
    monkeypatch.setattr("sslmri.cohorts.duplicates.MIN_CORRELATION", 0.9)
    expected = set()
    hashes = [int(value) for value in hash_slices(slices)]
    for i in range(30):
        for j in range(i + 1, 30):
            near = bin(hashes[i] ^ hashes[j]).count("1") <= 12
            inside = (slices[i] > 25.5) | (slices[j] > 25.5)
            alike = np.corrcoef(slices[i][inside], slices[j][inside])[0, 1] >= 0.9
            if near and alike and i % 6 != j % 6:
                expected.add((i, j))
    found = find_copies(Store(slices, records, []))
    assert len(expected) > 20
    assert set(zip(found["first"], found["second"], strict=True)) == expected


def test_the_command_prints_a_line_a_check_and_exits_0_on_a_clean_cohort(call, cohort, tmp_path):
    done = call("sslmri", "audit", cohort, "--cache", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["check", "count", "examples"]
    assert len(lines) == 1 + 13 + 2
    assert lines[-1] == "no leak and no label conflict"


def test_the_command_exits_3_on_a_leak_and_writes_the_pairs(call, copy, tmp_path):
    original = plant(copy, shifted, "=1+1.png")
    table = tmp_path / "out" / "findings.csv"
    done = call("sslmri", "audit", copy, "--cache", tmp_path, "--csv", table)
    assert done.returncode == 3, done.stderr
    assert f"{original} = =1+1.png (test/train)" in done.stdout
    assert done.stdout.splitlines()[-1] == "leak or label conflict: near copies in two splits"
    rows = pd.read_csv(table)
    pair = rows[rows["check"] == "near copies in two splits"].iloc[0]
    assert (pair["first_name"], pair["second_name"]) == (original, "'=1+1.png")
    assert pair["correlation"] >= MIN_CORRELATION


def test_the_command_exits_3_on_a_group_with_two_labels(call, copy, tmp_path):
    def relabel(rows: pd.DataFrame) -> pd.DataFrame:
        first = rows.index[rows["label"] == "glioma"][0]
        rows.loc[first, "label"] = "meningioma"
        return rows

    change(copy, relabel)
    done = call("sslmri", "audit", copy, "--cache", tmp_path)
    assert done.returncode == 3, done.stderr
    assert "leak or label conflict: groups with two labels of one disease" in done.stdout


def test_the_command_exits_1_with_a_sentence_without_a_manifest(call, tmp_path):
    done = call("sslmri", "audit", tmp_path / "none.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("error: Expected a manifest at")
