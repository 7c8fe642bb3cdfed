"""Files are written whole or not at all, and cells of tables that a spreadsheet of any country would run are text."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sslmri.files import neutralised, write_atomically

HIDDEN = ["", "\0", "\x0b", "\u200e", "\u00ad", "\u2066", "\u202e", "\ufeff", "\u2003", "\x1f\u200b ", "\n", "\t"]


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
@pytest.mark.parametrize("sign", "=+-@\uff1d", ids=ascii)
def test_no_sign_that_is_not_seen_hides_a_formula(hidden, sign):
    assert neutralised(f"{hidden}{sign}1") == f"'{hidden}{sign}1"


@pytest.mark.parametrize(
    ("cell", "safe"),
    [("a;=1+1", "a;'=1+1"), ("a\t-1", "a\t'-1"), ("a; @b;+c", "a;' @b;'+c"), (";=1", ";'=1")],
    ids=ascii,
)
def test_a_formula_behind_a_separator_of_another_country_is_text(cell, safe):
    assert neutralised(cell) == safe


@pytest.mark.parametrize("cell", ["", " ", "a=1", "a; b", "1 - 2", "\u00e9=1", 3, None, -1.5])
def test_other_cells_stay_as_they_are(cell):
    assert neutralised(cell) == cell


def test_what_a_killed_writer_left_does_not_pile_up_and_goes_when_its_file_is_next_written(tmp_path):
    path = tmp_path / "a[1].pt"
    code = (
        "import os, sys; from pathlib import Path; from sslmri.files import write_atomically\n"
        "write_atomically(Path(sys.argv[1]), lambda temporary: (temporary.touch(), os._exit(9)))"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, path], check=False, cwd=Path(__file__).parents[1])
    left = sorted(one.name for one in tmp_path.iterdir())
    assert [name[:-8] for name in left] == [".a[1].pt-", ".a[1].pt.lock"[:-8]]
    write_atomically(path, lambda temporary: temporary.write_text("whole"))
    assert os.listdir(tmp_path) == ["a[1].pt"]


def test_writers_of_one_path_wait_for_each_other(tmp_path):
    path = tmp_path / "a"

    def write_slowly(temporary: Path) -> None:
        temporary.write_text("first")
        time.sleep(0.5)
        assert temporary.read_text() == "first"

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(write_atomically, path, write_slowly)
        time.sleep(0.2)
        second = threads.submit(write_atomically, path, lambda temporary: temporary.write_text("second"))
        first.result()
        second.result()
    assert path.read_text() == "second"
    assert os.listdir(tmp_path) == ["a"]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("a part")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["a"])


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_written_all_the_same(code, tmp_path, monkeypatch):
    def lacking(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", lacking)
    (tmp_path / ".a.lock").touch()  # of a writer that was killed
    for text in ("first", "second"):
        write_atomically(tmp_path / "a", lambda temporary, text=text: temporary.write_text(text))
    assert (tmp_path / "a").read_text() == "second"
    assert os.listdir(tmp_path) == ["a"]
