"""The summary counts everything, measures a fair sample, and names the faults of the data."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.summary import N_BINS, QUANTILES, summarise
from sslmri.scans.slices import Preparation, to_slices
from tests.harness.parsing import parse_scan

SMALL = Preparation(image_size=(32, 32))


def record(folder: Path, label: str, group: str, number: int, cohort: str = "c", **more: str) -> Record:
    """Returns a slice of multiple sclerosis or its controls, without its file."""
    name = f"{label}-{group}-{number:02}.png"
    disease = more.get("disease", "ms")
    return Record(folder / name, name, cohort, disease, label, group, None, use=more.get("use", "train"))


def draw(records: list[Record], size: tuple[int, int] = (40, 48)) -> None:
    """Writes a noisy disc, as (height, width), for each record."""
    generator = np.random.default_rng(0)
    y, x = np.ogrid[: size[0], : size[1]]
    disc = (y - size[0] / 2) ** 2 + (x - size[1] / 2) ** 2 < (min(size) * 0.4) ** 2
    for one in records:
        grey = disc * generator.integers(80, 255, size=size)
        Image.fromarray(grey.astype(np.uint8)).save(one.path)


def cohort(folder: Path, n_groups: int = 15, n_slices: int = 2) -> list[Record]:
    """Returns both classes in one cohort, with files."""
    labels = ("normal", "multiple_sclerosis")
    records = [
        record(folder, label, f"{label}{group:02}", number)
        for label in labels
        for group in range(n_groups)
        for number in range(n_slices)
    ]
    draw(records)
    return records


def test_summary_is_json_and_the_same_every_time(tmp_path: Path) -> None:
    records = cohort(tmp_path, 6)
    first = summarise(records, SMALL, per_class=8)
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert summarise(records[::-1], SMALL, per_class=8) == first


def test_classes_are_counted_by_split_where_there_are_splits(tmp_path: Path) -> None:
    records = cohort(tmp_path, 15)
    found = summarise(assign_splits(records), SMALL, per_class=1)["classes"]
    assert {"disease": "ms", "label": "normal", "split": "train", "groups": 9, "slices": 18} in found
    assert len(found) == 6
    unsplit = summarise(records, SMALL, per_class=1)["classes"]
    assert unsplit[0] == {"disease": "ms", "label": "normal", "split": None, "groups": 15, "slices": 30}


def test_sizes_and_formats_are_those_of_the_files(tmp_path: Path) -> None:
    records = [record(tmp_path, "normal", f"g{i}", i, "small" if i < 3 else "large") for i in range(5)]
    draw(records[:3], (40, 48))
    draw(records[3:], (64, 60))
    found = summarise(records, SMALL)
    assert found["sizes"] == [
        {"cohort": "large", "width": 60, "height": 64, "slices": 2},
        {"cohort": "small", "width": 48, "height": 40, "slices": 3},
    ]
    assert found["formats"] == [
        {"cohort": "large", "format": "PNG", "slices": 2},
        {"cohort": "small", "format": "PNG", "slices": 3},
    ]


def test_intensity_is_that_of_the_prepared_slices(tmp_path: Path) -> None:
    records = [record(tmp_path, "normal", "g", i) for i in range(4)]
    draw(records)
    (row,) = summarise(records, SMALL)["intensity"]
    slices = np.concatenate([to_slices(parse_scan(r.path.read_bytes(), r.name), SMALL) for r in records]) / 255.0
    inside = slices[slices > 0]
    assert row["n_slices"] == 4
    assert row["density"] == pytest.approx(np.histogram(inside, N_BINS, (0, 1), density=True)[0])
    assert sum(row["density"]) / N_BINS == pytest.approx(1)
    assert row["quantiles"] == pytest.approx(np.percentile(inside, QUANTILES, method="inverted_cdf"))
    assert row["contrast"] == pytest.approx(np.mean([one[one > 0].std() for one in slices]))


def test_use_counts_also_what_is_never_trained_on(tmp_path: Path) -> None:
    leak = [record(tmp_path, "normal", "leak", i, "pair", use="leak_demo") for i in range(3)]
    unlabelled = Record(tmp_path / "u.png", "u.png", "other", None, None, "u", None)
    found = summarise([*cohort(tmp_path, 5), *leak, unlabelled], SMALL, per_class=1)
    assert found["use"] == [
        {"cohort": "c", "disease": "ms", "use": "train", "slices": 20, "groups": 10, "unit": "group"},
        {"cohort": "other", "disease": None, "use": "train", "slices": 1, "groups": 1, "unit": "group"},
        {"cohort": "pair", "disease": "ms", "use": "leak_demo", "slices": 3, "groups": 1, "unit": "group"},
    ]
    assert [row["cohort"] for row in found["sizes"]] == ["c"]


def test_progress_counts_every_file_read(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    summarise(cohort(tmp_path, 5), SMALL, lambda done, total: seen.append((done, total)), per_class=3)
    assert seen == [(done, 6) for done in range(1, 7)]


def test_faults_name_classes_with_few_groups_or_none_to_train(tmp_path: Path) -> None:
    records = [r for r in cohort(tmp_path, 25) if r.label == "normal" or r.group.endswith(("00", "01"))]
    faults = summarise(assign_splits(records), SMALL, per_class=1)["faults"]
    name = "Multiple sclerosis"
    text = f"{name}: 1 train, 0 validation, 1 test groups; fewer than 5 groups: results are unreliable."
    assert faults == [{"disease": "ms", "text": text}]
    only_normal = [r for r in records if r.label == "normal"]
    faults = summarise(assign_splits(only_normal), SMALL, per_class=1)["faults"]
    assert faults[0]["text"] == f"{name} cannot be predicted: no training group."


def test_groups_of_people_are_subjects_until_one_is_blank() -> None:
    people = [record(Path(), "normal", f"n{i}", i, "ixi_t2") for i in range(6)]
    blank = record(Path(), "normal", "unknown-x", 7, "ixi_t2")
    for records, unit in ((people, "subject"), ([*people, blank], "group")):
        found = summarise(records, SMALL, per_class=1)
        assert [row["unit"] for row in found["use"]] == [unit]
        assert f"no training {unit}" in found["faults"][0]["text"]


def test_faults_name_classes_that_come_from_sources_of_their_own(tmp_path: Path) -> None:
    assert summarise(cohort(tmp_path, 5), SMALL, per_class=1)["faults"] == []
    records = [
        record(tmp_path, label, f"{label}{i}", i, f"of {label}")
        for label in ("normal", "multiple_sclerosis")
        for i in range(5)
    ]
    draw(records)
    (fault,) = summarise(records, SMALL, per_class=1)["faults"]
    assert fault["disease"] == "ms"
    assert "Normal comes from of normal, the other classes from of multiple_sclerosis" in fault["text"]


def test_unreadable_files_are_named_and_not_measured(tmp_path: Path) -> None:
    records = cohort(tmp_path, 5)
    records[0].path.write_bytes(b"not a picture")
    records[1].path.unlink()
    found = summarise(records, SMALL)
    assert len(found["faults"]) == 2
    assert found["faults"][0]["text"].startswith("normal-normal00-00.png: ")
    assert sum(row["slices"] for row in found["sizes"]) == 18


def test_many_unreadable_files_are_counted(tmp_path: Path) -> None:
    records = cohort(tmp_path, 5)
    for one in records:
        one.path.write_bytes(b"")
    found = summarise(records, SMALL)
    assert found["faults"][-1]["text"] == "15 more files of the sample cannot be read."
    assert found["intensity"] == []


def test_no_records_give_an_empty_summary() -> None:
    keys = ("classes", "sizes", "intensity", "formats", "use", "faults")
    assert summarise([], SMALL) == {key: [] for key in keys}
