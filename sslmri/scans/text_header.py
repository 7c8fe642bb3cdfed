"""Headers that are lines of text, a name and a value each, before the voxels or in a file of their own."""

import math
from typing import Any

import numpy as np

from sslmri.errors import ScanError

_MAX_BYTES = 64 * 2**10  # of a header; DWI with a direction for each of 500 volumes take 40 KB
_DAMAGED = "The header of the file is damaged. Export the scan again."
_KINDS = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "long": "i4", "uint": "u4", "uint32": "u4", "ulong": "u4",
    "longlong": "i8", "int64": "i8", "ulonglong": "u8", "uint64": "u8", "float": "f4", "double": "f8",
}  # fmt: skip


class TextHeader(dict[str, str]):
    """The values of a header by their names in lower case.

    Attributes:
        length: how many bytes the header takes.
    """

    def __init__(self, data: bytes, separator: str, end: bytes) -> None:
        """Reads the header that a file begins with.

        A separator stands between a name and its value; ``end`` begins the last line and is empty for a blank one.

        Raises:
            ScanError: it is too long or has no last line.
        """
        super().__init__()
        self.length = 0
        for line in data[:_MAX_BYTES].splitlines(keepends=True):
            self.length += len(line)
            name, _, value = line.decode("latin-1").partition(separator)
            if not line.startswith(b"#"):
                self.setdefault(name.strip().lower(), value.strip())
            if line.startswith(end) if end else not line.strip():
                return
        if end or len(data) >= _MAX_BYTES:
            raise ScanError(_DAMAGED)

    def numbers(self, *names: str) -> list[float]:
        """Returns the finite numbers of the first of these fields that is there, none where none is.

        Raises:
            ScanError: it holds anything else.
        """
        return numbers_in(next((self[name] for name in names if name in self), ""))

    def integer(self, name: str, otherwise: int) -> int:
        """Returns the whole number that a field begins with, ``otherwise`` where the field is absent."""
        return int((self.numbers(name) or [otherwise])[0])

    def kind(self, name: str, is_big_endian: bool) -> np.dtype[Any]:
        """Returns the type of a voxel, by its name in C.

        Raises:
            ScanError: there is no such type of intensities.
        """
        text = self.get(name, "").lower().removesuffix("_t").replace("unsigned ", "u").removeprefix("signed ")
        kind = _KINDS.get(text.removesuffix(" int").removeprefix("met_").replace(" ", "").replace("_", ""))
        if kind is None:
            raise ScanError("The voxels of this file are of an unknown type. Export the scan as .nii.gz.")
        return np.dtype(kind).newbyteorder(">" if is_big_endian else "<")


def numbers_in(text: str) -> list[float]:
    """Returns the finite numbers that a text consists of.

    Raises:
        ScanError: it holds anything else.
    """
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        raise ScanError(_DAMAGED) from None
    if not all(map(math.isfinite, numbers)):
        raise ScanError(_DAMAGED)
    return numbers
