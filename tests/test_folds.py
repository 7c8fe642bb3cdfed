"""Folds of a cross-validation: who is tested, who only trains, and labels that belong to a slice."""

from dataclasses import replace
from pathlib import Path

import pytest

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.splits import label_negatives, leave_out, with_folds
from sslmri.errors import ManifestError


def record(name: str, group: str, label: str | None = None, fold: int | None = None, use: str = "train") -> Record:
    return Record(Path(name), name, "c", "tumours" if label else None, label, group, fold, use=use)


def test_annotated_slices_with_a_fold_take_part_and_others_do_not():
    records = [
        record("a", "1", "glioma", 0),
        record("b", "2", "glioma", 1, use="localisation"),
        record("c", "3", "glioma", None, use="localisation"),
        record("d", "4", "glioma", 1, use="excluded"),
    ]
    assert [(r.name, r.fold, r.use) for r in with_folds(records)] == [("a", 0, "train"), ("b", 1, "train")]


def test_slices_without_a_label_are_left_out_with_their_group_alone():
    pool = with_folds(
        [record("a", "1", "glioma", 0), record("b", "2", "no_tumour", 1), record("c", "1"), record("d", "3")]
    )
    splits = {fold: [r.split for r in leave_out(pool, fold)] for fold in (0, 1, None)}
    assert splits[0] == ["test", "train", "test", "train"]
    assert splits[1] == ["train", "test", "train", "train"]
    assert splits[None] == ["train"] * 4


def test_groups_without_folds_get_one_of_five():
    pool = with_folds([record(str(i), str(i // 2), "glioma") for i in range(40)])
    folds = {r.group: r.fold for r in pool}
    assert {sum(fold == each for fold in folds.values()) for each in range(5)} == {4}
    assert all(folds[r.group] == r.fold for r in pool)


@pytest.mark.parametrize(
    ("folds", "message"),
    [((0, None), "a fold on every labelled record or on none"), ((0, 1), "Expected every group in one fold")],
)
def test_folds_that_contradict_are_refused(folds, message):
    group = "1" if folds == (0, 1) else "2"
    with pytest.raises(ManifestError, match=message):
        with_folds([record("a", "1", "glioma", folds[0]), record("b", group, "glioma", folds[1])])


def test_negatives_get_the_reference_class_and_the_fold_of_their_patient(tmp_path):
    (tmp_path / "n.csv").write_text("path,group,fold\nb,1,3\n")
    records = [replace(record("a", "1", "glioma", 3), use="localisation"), record("b", "1"), record("c", "2")]
    labelled = label_negatives(records, tmp_path / "n.csv")
    assert [(r.label, r.fold) for r in labelled] == [("glioma", 3), ("no_tumour", 3), (None, None)]
    assert [(r.name, r.fold) for r in with_folds(labelled)] == [("a", 3), ("b", 3), ("c", None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,group\nb,1\n", "the columns path and fold"),
        ("path,group,fold\nb,1,third\n", "a whole number on every row"),
        ("path,group,fold\nb\n", "a whole number on every row"),
        ("path,group,fold\nz,1,3\n", "got 1 others, first z"),
        ("path,group,fold\na,1,3\n", "got 1 others, first a"),
    ],
)
def test_a_file_of_negatives_at_fault_is_one_sentence(tmp_path, text, message):
    (tmp_path / "n.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        label_negatives([record("b", "1"), record("a", "1", "glioma")], tmp_path / "n.csv")


def test_a_file_of_negatives_that_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / "n.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="Expected a CSV file with"):
        label_negatives([record("b", "1")], tmp_path / "n.csv")
