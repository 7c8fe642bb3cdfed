"""Manifests as spreadsheets of any country and system write them."""

from pathlib import Path

import pytest

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.errors import ManifestError

HEADER = ("path", "cohort", "disease", "label", "group", "age", "box_xywh")
ROWS = (
    ("sub/a.png", "mine", "tumours", "glioma", "p1", "71.5", "0.42 0.30 0.30 0.35"),
    ("sub/b.png", "mine", "tumours", "no_tumour", "p2", "", ""),
)


def lines(delimiter: str, rows: tuple[tuple[str, ...], ...] = ROWS) -> list[str]:
    return [delimiter.join(row) for row in (HEADER, *rows)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for row in ROWS:
        (tmp_path / row[0]).touch()
    return tmp_path


def read(folder: Path, text: str, encoding: str = "utf-8", newline: str = "\n") -> list[Record]:
    path = folder / "manifest.csv"
    path.write_bytes(text.replace("\n", newline).encode(encoding))
    return read_manifest(path)


@pytest.fixture
def expected(folder: Path) -> list[Record]:
    records = read(folder, "\n".join(lines(",")))
    assert [(record.name, record.age) for record in records] == [("sub/a.png", 71.5), ("sub/b.png", None)]
    assert records[0].box == (0.42, 0.3, 0.3, 0.35)
    return records


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_semicolons_tabs_and_a_sep_line_are_read(folder: Path, expected: list[Record], delimiter, newline) -> None:
    text = "\n".join(lines(delimiter)) + "\n"
    for encoding in ("utf-8", "utf-8-sig"):
        assert read(folder, text, encoding, newline) == expected
    assert read(folder, f"sep={delimiter}\n" + text, newline=newline) == expected
    assert read(folder, f'"sep={delimiter}"\n' + text, newline=newline) == expected


def test_a_decimal_comma_is_read_between_semicolons(folder: Path, expected: list[Record]) -> None:
    german = tuple(tuple(v if i < 5 else v.replace(".", ",") for i, v in enumerate(row)) for row in ROWS)
    assert read(folder, "\n".join(lines(";", german))) == expected


def test_a_sep_line_counts_among_the_lines(folder: Path) -> None:
    with pytest.raises(ManifestError, match="'flu' in line 3"):
        read(folder, "sep=;\n" + "\n".join(lines(";")).replace("tumours", "flu", 1))


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_blank_columns_and_rows_at_the_end_are_ignored(folder: Path, expected: list[Record], delimiter: str) -> None:
    text = "\n".join(line + 2 * delimiter for line in lines(delimiter))
    assert read(folder, text + "\n" + 8 * delimiter + "\n") == expected


def test_values_without_a_column_are_refused_with_their_line(folder: Path) -> None:
    with pytest.raises(ManifestError, match="7 values per row.*line 3"):
        read(folder, "\n".join(f"{line},,{'x' * (number == 2)}" for number, line in enumerate(lines(","))))


def test_relative_paths_of_windows_are_read(folder: Path, expected: list[Record]) -> None:
    windows = tuple((row[0].replace("/", "\\"), *row[1:]) for row in ROWS)
    assert read(folder, "\n".join(lines(",", windows))) == expected


@pytest.mark.parametrize("root", ["C:\\data\\", "\\\\server\\data\\", "d:/data/"])
def test_absolute_paths_of_windows_are_named(folder: Path, root: str) -> None:
    windows = tuple((root + row[0], *row[1:]) for row in ROWS)
    with pytest.raises(ManifestError, match="a path on this computer.*relative to the folder of the manifest"):
        read(folder, "\n".join(lines(",", windows)))


def test_a_backslash_in_the_name_of_a_file_stays(folder: Path) -> None:
    (folder / "sub\\a.png").touch()
    row = ("sub\\a.png", *ROWS[0][1:])
    assert read(folder, "\n".join(lines(",", (row,))))[0].path == folder / "sub\\a.png"
