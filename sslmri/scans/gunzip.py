"""Gzip unpacked in small steps up to its checksums, within limits that a bomb meets early."""

import io
import zlib
from collections.abc import Iterator
from typing import Any

from sslmri.errors import ScanError

MAX_UNPACKED = 512 * 2**20  # bytes
MAX_RATIO = 200  # unpacked to packed bytes; brain volumes reach 2 to 20, label masks 200
FREE_BYTES = 32 * 2**20  # unpacked bytes that any ratio may reach: small masks pack very well
_MAX_MEMBERS = 20_000  # blocked gzip has one of them for each 64 KB
_PIECE = 64 * 2**10  # packed bytes given to zlib at once
_STEP = 2**20  # unpacked bytes asked of zlib at once
_GZIP_ONLY = 31  # zlib's wbits: a gzip header and trailer are expected and both checksums compared


def open_unpacked(data: bytes) -> io.BufferedIOBase:
    """Returns a file that reads the content of gzip bytes, or the bytes themselves where they are not gzip.

    Only a reading up to the end has compared the checksums. Reading raises a ScanError on damaged data, on anything
    that follows the gzip data, and on more than ``check_unpacked`` allows.
    """
    if data.startswith(b"\x1f\x8b"):
        return io.BufferedReader(_Pieces(_gunzip(data)), _STEP)
    return io.BytesIO(data)


def max_decompressed_size(n_packed: int) -> int:
    """Returns how many bytes an upload of so many may unpack to."""
    return min(MAX_UNPACKED, max(FREE_BYTES, MAX_RATIO * n_packed))


def check_unpacked(n_unpacked: int, n_packed: int) -> None:
    """Checks how much an upload unpacks to, in bytes; also call it with what a header promises.

    Raises:
        ScanError: it is more than 512 MB, or above 32 MB and more than 200 times the upload.
    """
    if n_unpacked > MAX_UNPACKED:
        raise ScanError(f"Expected at most {MAX_UNPACKED >> 20} MB of unpacked data, got more: send a smaller scan.")
    if n_unpacked > max_decompressed_size(n_packed):
        raise ScanError(
            f"Expected data that unpack to at most {MAX_RATIO} times their size, got more: send the scan unpacked."
        )


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


def _gunzip(data: bytes) -> Iterator[bytes]:
    """Yields what gzip bytes hold, never an empty piece, through all their members and checksums."""
    position = n_unpacked = 0
    for _ in range(_MAX_MEMBERS):
        inflater = zlib.decompressobj(_GZIP_ONLY)
        while not inflater.eof:
            piece = inflater.unconsumed_tail
            if not piece:
                piece = data[position : position + _PIECE]
                position += len(piece)
            unpacked = _inflated(inflater, piece)
            n_unpacked += len(unpacked)
            check_unpacked(n_unpacked, len(data))
            if unpacked:
                yield unpacked
            elif not piece:
                raise ScanError("Expected complete gzip data, got a file that breaks off: send it again.")
        position -= len(inflater.unused_data)
        if position == len(data):
            return
    raise ScanError(f"Expected at most {_MAX_MEMBERS} parts of gzip data, got more: pack the scan again.")


def _inflated(inflater: Any, piece: bytes) -> bytes:
    try:
        return inflater.decompress(piece, _STEP)
    except zlib.error as error:
        raise ScanError("Expected intact gzip data, got damaged data or a wrong checksum: send it again.") from error
