"""What reaches a terminal: no control characters, and no line that a file name made up."""

import pytest

from sslmri.text import format_os_error, printable_line


def test_a_line_feed_in_a_name_begins_no_line():
    assert printable_line("left out: a\nerror: b.png: no\x1b[2J\udcff") == r"left out: a\nerror: b.png: no\x1b[2J\udcff"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(30, "Read-only file system", "/out/a.csv"), ": Read-only file system (/out/a.csv). What was"),
        (OSError(28, "No space left on device"), ": No space left on device. What was"),
        (OSError("odd"), ": odd. What was"),
    ],
)
def test_an_error_of_the_system_names_file_and_reason_without_its_number(error, expected):
    message = format_os_error(error)
    assert message.startswith("A file could not be read or written")
    assert expected in message
    assert "Errno" not in message
