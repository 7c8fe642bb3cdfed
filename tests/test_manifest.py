"""What a manifest must say, and how its faults are told."""

import time
from pathlib import Path

import pandas as pd
import pytest

from sslmri.cohorts.manifest import MANIFEST_COLUMNS, read_manifest, write_manifest
from sslmri.errors import ManifestError

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
HEADER = "path,cohort,disease,label,group,fold,use"
BOXES = "path,cohort,disease,label,group,box_xywh"


def write(folder: Path, *lines: str, header: str = HEADER, files: bool = True) -> Path:
    """Returns a manifest of these lines, with an empty file for each of them."""
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    for line in lines if files else ():
        (folder / line.split(",")[0]).touch()
    return path


def refusal(path: Path) -> str:
    """Returns the sentence that refuses the manifest."""
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    return str(caught.value)


def test_row_becomes_a_record_in_file_order(tmp_path: Path) -> None:
    path = write(tmp_path, "b.png,c,ms,normal,g1,2,", "a.png,c,,,g2,,", "x.png,c,ms,normal,g3,,gap")
    first, second, third = read_manifest(path)
    assert (first.path, first.name, first.group_key) == (tmp_path / "b.png", "b.png", "c/g1")
    assert (first.disease, first.label, first.fold, first.use, first.split) == ("ms", "normal", 2, "train", None)
    assert (second.disease, second.label, second.fold) == (None, None, None)
    assert third.use == "gap"


def test_box_of_a_finding_is_read_as_four_fractions(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png,c,ms,normal,g,0.42 0.30 0.30 0.35", "b.png,c,ms,normal,h,", header=BOXES)
    assert [record.box for record in read_manifest(path)] == [(0.42, 0.3, 0.3, 0.35), None]
    assert read_manifest(write(tmp_path, "a.png,c,ms,normal,g,,"))[0].box is None


def test_age_in_years_is_read_and_a_wrong_one_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png,c,,,71.5", "b.png,c,,,", header="path,cohort,disease,label,age")
    assert [record.age for record in read_manifest(path)] == [71.5, None]
    path = write(tmp_path, "a.png,c,,,old", header="path,cohort,disease,label,age")
    assert "got age 'old' in line 2" in refusal(path)


@pytest.mark.parametrize(
    "box",
    ["0.5 0.5 0.2", "0.5 0.5 0.2 0.2 0.2", "a b c d", "nan 0.5 0.2 0.2", "0.5 0.5 0 0.2", "0.5 0.5 -0.2 0.2",
     "0.5 0.5 0.2 inf", "64 64 20 20", "0.95 0.5 0.2 0.2", "0.5 0.05 0.2 0.2", "0.5;0.5;0.2;0.2"],
)  # fmt: skip
def test_box_that_is_none_or_leaves_the_image_is_told_with_its_line(tmp_path: Path, box: str) -> None:
    path = write(tmp_path, "a.png,c,ms,normal,g,0.5 0.5 1 1", f"b.png,c,ms,normal,h,{box}", header=BOXES)
    assert f"got box_xywh {box!r} in line 3 of the manifest: correct the box" in refusal(path)


def test_optional_columns_may_be_missing_and_others_are_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png,c,ms,normal,g,blue", header="path,cohort,disease,label,group,colour")
    assert read_manifest(path)[0].fold is None
    assert read_manifest(path)[0].use == "train"


def test_text_that_looks_like_a_missing_number_stays_text(tmp_path: Path) -> None:
    record = read_manifest(write(tmp_path, "a.png,NA,ms,normal,001,,"))[0]
    assert (record.cohort, record.group) == ("NA", "001")


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER.encode() + b"\r\na.png,c,ms,normal,g,0,train\r\n")
    (tmp_path / "a.png").touch()
    assert read_manifest(path)[0].fold == 0


def test_absolute_path_stands_as_it_is(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.touch()
    (tmp_path / "in").mkdir()
    assert read_manifest(write(tmp_path / "in", f"{elsewhere},c,ms,normal,g,,"))[0].path == elsewhere


def test_without_a_group_each_record_is_one_of_its_own_and_known_as_unknown(tmp_path: Path) -> None:
    blank = read_manifest(write(tmp_path, "a.png,c,ms,normal, ,,", "b.png,c,ms,multiple_sclerosis,g,,"))
    assert [record.group for record in blank] == ["unknown-a.png", "g"]
    path = write(tmp_path, "a.png,c,ms,normal", "b.png,c,ms,multiple_sclerosis", header="path,cohort,disease,label")
    assert [record.group_key for record in read_manifest(path)] == ["c/unknown-a.png", "c/unknown-b.png"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.png,c,flu,normal,g,,", "disease 'flu'"),
        ("a.png,c,ms,ill,g,,", "normal, multiple_sclerosis, got label 'ill'"),
        ("a.png,c,ms,,g,,", "got a blank label"),
        ("a.png,c,,normal,g,,", "got a blank disease"),
        ("a.png,,ms,normal,g,,", "got a blank cohort"),
        ("a.png,c/d,ms,normal,g,,", "cohort 'c/d'"),
        ("a.png,c,ms,normal,g,-1,", "fold '-1'"),
        ("a.png,c,ms,normal,g,1.0,", "fold '1.0'"),
        ("a.png,c,ms,normal,g,one,", "fold 'one'"),
        ("a.png,c,ms,normal,g", "7 values per row"),
    ],
)
def test_fault_is_told_with_its_value_and_line(tmp_path: Path, line: str, said: str) -> None:
    message = refusal(write(tmp_path, "ok.png,c,ms,normal,g0,,", line))
    assert said in message
    assert "line 3" in message


def test_first_five_lines_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    path = write(tmp_path, *(f"{i}.png,c,ms,normal,g,,".replace("normal", "ill") for i in range(8)))
    assert "lines 2, 3, 4, 5, 6 and 3 more" in refusal(path)


def test_line_numbers_count_blank_lines_and_quoted_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path, 'a.png,c,ms,normal,"g\n1",,', "", "b.png,c,ms,ill,g,,", files=False)
    assert "line 5 " in refusal(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png,c,ms,normal,g,,", "b.png,c,ms,normal,g,,")
    (tmp_path / "b.png").unlink()
    assert "'b.png' in line 3" in refusal(path)


def test_file_named_twice_is_refused_however_it_is_written(tmp_path: Path) -> None:
    assert "lines 2, 3" in refusal(write(tmp_path, "a.png,c,ms,normal,g,,", "./a.png,c,ms,normal,g,,"))


def test_group_with_two_labels_of_a_disease_is_refused(tmp_path: Path) -> None:
    lines = ("a.png,c,ms,normal,g,,", "b.png,c,ms,multiple_sclerosis,g,,")
    assert "got group 'g' in lines 2, 3" in refusal(write(tmp_path, *lines))


def test_same_group_name_in_two_cohorts_or_diseases_or_out_of_use_is_no_clash(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "a.png,c,ms,normal,g,,",
        "b.png,d,ms,multiple_sclerosis,g,,",
        "e.png,c,parkinsons,parkinsons,g,,",
        "f.png,c,ms,multiple_sclerosis,g,,leak_demo",
    )
    assert len(read_manifest(path)) == 4


def test_missing_manifest_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "manifest.csv")
    assert "no such file" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty file"),
        (b"\n \n", "empty file"),
        (HEADER.encode(), "header only"),
        (b"path;cohort\na;b\n", "add disease, label."),
        (b"path,cohort,disease\n", "add label"),
        (HEADER.encode() + b",use\n", "got use twice"),
        (HEADER.encode() + b'\n"a.png,c\n', "cannot be read"),
        (HEADER.encode() + b"\na.png,c,ms,normal,g\xff,,\n", "byte 0xff in line 2"),
        (HEADER.encode() + b"\na.png,c,ms,normal,g\0,,\n", "NUL byte in line 2"),
        (b"\x89PNG\r\n\x1a\n\0\0", "byte 0x89 in line 1"),
        (HEADER.encode() + b"\n" + b"a" * 200_000 + b",c,ms,normal,g,,\n", "cannot be read"),
    ],
)
def test_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    assert said in refusal(path)


def test_a_file_too_large_for_a_manifest_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    with path.open("wb") as file:
        file.truncate(2**40)  # no disk holds it: it is a hole
    assert "Expected at most 64 MB" in refusal(path)


def test_written_manifest_reads_back_with_whole_folds(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "group": ["g1", "g2"],
            "label": "normal",
            "disease": "ms",
            "cohort": "c",
            "path": ["a", "b"],
            "fold": [0, None],
        }
    )
    path = tmp_path / "new" / "manifest.csv"
    write_manifest(path, rows)
    assert path.read_text().splitlines()[0] == ",".join(MANIFEST_COLUMNS)
    assert [file.name for file in path.parent.iterdir()] == ["manifest.csv"]
    for name in rows["path"]:
        (path.parent / name).touch()
    assert [record.fold for record in read_manifest(path)] == [0, None]


def test_failed_write_leaves_the_old_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.png,c,ms,normal,g,,")
    before = path.read_bytes()
    rows = pd.DataFrame([dict.fromkeys(MANIFEST_COLUMNS, "x")])

    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_manifest(path, rows)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "manifest.csv"]


def test_rows_without_a_label_column_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="add label"):
        write_manifest(tmp_path / "m.csv", pd.DataFrame(columns=["path", "cohort", "disease"]))


def test_a_hundred_thousand_rows_take_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.isfile", lambda _: True)
    path = tmp_path / "manifest.csv"
    rows = (f"{i}.png,c,ms,normal,g{i // 30},{i // 30 % 5},train" for i in range(100_947))
    path.write_text("\n".join([HEADER, *rows]))
    start = time.process_time()  # another program may have the machine
    assert len(read_manifest(path)) == 100_947
    assert time.process_time() - start < 15


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public slices in ../shared/data are not on this machine")
def test_shared_manifest_is_read_whole() -> None:
    records = read_manifest(SHARED / "manifest.csv")
    assert len(records) == 14_483
    assert {record.disease for record in records} == {"alzheimers", "tumours", "ms", "parkinsons", None}
    assert sum(record.box is not None for record in records) == 2_409
    people = {record.group_key: record for record in records if record.age is not None}
    assert len(people) == 153


def test_a_name_that_is_not_in_utf_8_is_refused_and_nothing_is_written(tmp_path):
    rows = {"path": ["a\udcff\n.png"], "cohort": ["x"], "disease": ["ms"], "label": ["normal"]}
    with pytest.raises(ManifestError, match=r"^Expected names in UTF-8, got a\\udcff\\n\.png: rename"):
        write_manifest(tmp_path / "manifest.csv", pd.DataFrame(rows, dtype=object))
    assert not list(tmp_path.iterdir())
