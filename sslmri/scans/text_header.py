"""Headers that are lines of text, a name and a value each, before the voxels or in a file of their own."""

import math
from collections.abc import Mapping

from sslmri.errors import ScanError

_MAX_BYTES = 64 * 2**10  # of a header; DWI with a direction for each of 500 volumes take 40 KB
_DAMAGED = "The header of the file is damaged. Export the scan again."


def fields_of(data: bytes, separator: str, end: bytes) -> tuple[dict[str, str], int]:
    """Returns the values of a header by their names in lower case, and how many bytes the header takes.

    Args:
        data: begins with the header.
        separator: between a name and its value.
        end: what the last line of the header begins with; empty for a blank line.

    Raises:
        ScanError: it is too long or has no last line.
    """
    fields: dict[str, str] = {}
    position = 0
    header = data[:_MAX_BYTES]
    while position < len(header):
        stop = header.find(b"\n", position)
        stop = len(header) if stop < 0 else stop
        line = header[position:stop].rstrip(b"\r")
        position = stop + 1
        name, _, value = line.decode("latin-1").partition(separator)
        if not line.startswith(b"#"):
            fields.setdefault(name.strip().lower(), value.strip())
        if line.startswith(end) if end else not line:
            return fields, position
    if end or len(data) >= _MAX_BYTES:
        raise ScanError(_DAMAGED)
    return fields, len(data)  # a header in a file of its own ends with the file


def header_numbers(fields: Mapping[str, str], *names: str) -> list[float]:
    """Returns the finite numbers of the first of these fields that is there; without names those of the only one.

    Raises:
        ScanError: none is there, or it holds anything else.
    """
    text = next((fields[name] for name in names or fields if name in fields), "")
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        raise ScanError(_DAMAGED) from None
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ScanError(_DAMAGED)
    return numbers


def first_number(fields: Mapping[str, str], name: str, otherwise: int) -> int:
    """Returns the whole number that a field begins with, ``otherwise`` where the field is absent."""
    return int(header_numbers(fields, name)[0]) if name in fields else otherwise
