"""Reads the rows of a CSV file, separated by commas, semicolons or tabs."""

import csv
import io
import re
from pathlib import Path

from sslmri.errors import ManifestError

_MAX_BYTES = 64 * 2**20  # of a manifest, half a million rows: a page reads whatever path is typed
_DELIMITERS = (",", ";", "\t")
_SEP_LINE = re.compile(
    r'"?sep=[,;\t]"?[,;\t]*\r?\n'
)  # by which Excel is told the delimiter, which the header shows too

Rows = list[tuple[int, list[str]]]


def read_rows(path: Path) -> tuple[list[str], Rows]:
    """Returns the header, and each row that is not blank with its line number.

    Columns without a name behind the last that has one are dropped where they hold nothing.

    Raises:
        ManifestError: the file is no such text.
    """
    text = _read_text(path)
    sep_line = _SEP_LINE.match(text)
    n_before, text = (1, text[sep_line.end() :]) if sep_line else (0, text)
    header_line = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=header_line.count), strict=True)
    try:
        header = next(reader, [])
        rows = [(reader.line_num + n_before, row) for row in reader if any(row)]
    except csv.Error as error:
        raise ManifestError(
            f"Expected comma-separated values in {path.name}, got a line {reader.line_num + n_before} that cannot be "
            f"read ({error}): save it again as CSV."
        ) from error
    while header and not header[-1].strip():
        header.pop()
    n = len(header)
    return header, [(number, row if "".join(row[n:]).strip() else row[:n]) for number, row in rows]


def _read_text(path: Path) -> str:
    """Returns the file's text, refusing what is no text file."""
    if not path.is_file():
        raise ManifestError(f"Expected a manifest at {path}, got no such file: give the path of a manifest.csv.")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ManifestError(f"Expected at most {_MAX_BYTES >> 20} MB in {path}, got more: split the manifest.")
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ManifestError(
            f"Expected a readable manifest at {path}, got {error.strerror}: check its rights."
        ) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"Expected UTF-8 text in {path.name}, got byte 0x{content[error.start]:02x} in line {line}: save it so."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ManifestError(f"Expected text in {path.name}, got a NUL byte in line {line}: save it as a CSV file.")
    if not text.strip():
        raise ManifestError(f"Expected a header and rows in {path.name}, got an empty file: write the manifest again.")
    return text
