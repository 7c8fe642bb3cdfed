"""Gzip and zlib data decompressed up to their checksums, within limits that a bomb meets early."""

import gzip
import io
import zlib

from sslmri.errors import ScanError
from sslmri.scans.limits import FREE_BYTES, MAX_DECOMPRESSED, MAX_RATIO, check_decompressed

_GZIP = b"\x1f\x8b"


def gunzipped(data: bytes) -> bytes:
    """Returns the content of gzip bytes, or the bytes themselves where they are not gzip; raises as ``inflated``."""
    return inflated(data) if data.startswith(_GZIP) else data


def gunzipped_start(start: bytes) -> bytes:
    """Returns what the first bytes of a gzip file hold, as many at most, or the bytes themselves where it is none.

    Raises:
        zlib.error: they are damaged.
    """
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, len(start)) if start.startswith(_GZIP) else start


def inflated(data: bytes, wbits: int = zlib.MAX_WBITS) -> bytes:
    """Returns the content of gzip or zlib bytes, of gzip through all its members.

    ``wbits``, of ``zlib.decompressobj``, is for bytes that are not gzip.

    Raises:
        ScanError: they are damaged, more than zeros follow gzip, or they hold more than ``check_decompressed`` allows.
    """
    most = min(MAX_DECOMPRESSED, max(FREE_BYTES, MAX_RATIO * len(data))) + 1
    try:
        if data.startswith(_GZIP):
            content = gzip.GzipFile(fileobj=io.BytesIO(data)).read(most)
        else:
            inflater = zlib.decompressobj(wbits)
            content = inflater.decompress(data, most)
            if not inflater.eof and len(content) < most:
                raise EOFError
    except (EOFError, OSError, zlib.error) as error:
        raise ScanError("The compressed data is damaged or incomplete. Upload the file again.") from error
    check_decompressed(len(content), len(data))
    return content
