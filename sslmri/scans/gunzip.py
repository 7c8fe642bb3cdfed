"""Gzip and zlib data decompressed in small steps up to its checksums, within limits that a bomb meets early."""

import io
import zlib
from collections.abc import Iterator
from typing import Any

from sslmri.errors import ScanError
from sslmri.scans.limits import check_decompressed

_MAX_MEMBERS = 20_000  # blocked gzip has one of them for each 64 KB
_INPUT_BYTES = 64 * 2**10  # compressed bytes given to zlib at once
_OUTPUT_BYTES = 2**20  # decompressed bytes taken from zlib at once
_GZIP_ONLY = 31  # zlib's wbits: a gzip header and trailer are expected and both checksums compared
_GZIP_OR_ZLIB = 47


def open_gunzipped(data: bytes) -> io.BufferedIOBase:
    """Returns a file that reads the content of gzip bytes, or the bytes themselves where they are not gzip.

    The checksums are compared only once it is read to the end. Reading raises a ScanError on damaged data, on anything
    but zeros that follows the gzip data, and on more than ``check_decompressed`` allows.
    """
    if data.startswith(b"\x1f\x8b"):
        return io.BufferedReader(_Pieces(_gunzip(data)), _OUTPUT_BYTES)
    return io.BytesIO(data)


def open_inflated(data: bytes, is_bare: bool = False) -> io.BufferedIOBase:
    """Returns a file that reads gzip, zlib or bare deflated bytes, as ``open_gunzipped`` does."""
    return io.BufferedReader(_Pieces(_gunzip(data, -zlib.MAX_WBITS if is_bare else _GZIP_OR_ZLIB)), _OUTPUT_BYTES)


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a raw file, for io.BufferedReader to read in any portion."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Returns how many bytes it put into the buffer; 0 at the end."""
        if not self._left:
            self._left = memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _gunzip(data: bytes, wbits: int = _GZIP_ONLY) -> Iterator[bytes]:
    """Yields the content of compressed bytes, never an empty piece, through all their members and checksums."""
    position = n_decompressed = 0
    n_unpadded = len(data.rstrip(b"\0"))  # zeros may follow, as tapes and some programs fill blocks
    for _ in range(_MAX_MEMBERS):
        inflater = zlib.decompressobj(wbits)
        while not inflater.eof:
            compressed = inflater.unconsumed_tail
            if not compressed:
                compressed = data[position : position + _INPUT_BYTES]
                position += len(compressed)
            try:
                piece = inflater.decompress(compressed, _OUTPUT_BYTES)
            except zlib.error as error:
                raise ScanError("The compressed data is damaged. Upload the file again.") from error
            n_decompressed += len(piece)
            check_decompressed(n_decompressed, len(data))
            if piece:
                yield piece
            elif not compressed:
                raise ScanError("The compressed data is incomplete. Upload the file again.")
        position -= len(inflater.unused_data)
        if position >= n_unpadded:
            return
    raise ScanError(f"The compressed data has over {_MAX_MEMBERS:,} parts. Compress the scan again.")
