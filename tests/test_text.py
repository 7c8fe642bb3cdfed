"""What reaches a terminal: no sign that steers it, and no line that nobody wrote."""

import pytest

from sslmri.text import format_os_error, printable, printable_line


def test_a_line_feed_in_a_name_begins_no_line():
    assert printable_line("left out: a\nerror: b.png: no\x1b[2J\udcff") == r"left out: a\nerror: b.png: no\x1b[2J\udcff"
    assert printable("one\ntwo") == "one\ntwo"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(30, "Read-only file system", "/out/a.csv"), "got: Read-only file system of /out/a.csv. What was"),
        (OSError(28, "No space left on device"), "got: No space left on device. What was"),
        (OSError("odd"), "got: odd. What was"),
    ],
)
def test_what_the_system_says_is_told_in_one_sentence_without_its_number(error, said):
    told = format_os_error(error)
    assert told.startswith("Expected to read and write")
    assert said in told
    assert "Errno" not in told
