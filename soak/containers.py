"""Which field of a gzip or zip file a byte belongs to."""

import io
import zipfile

_Fields = tuple[tuple[str, int], ...]

_GZIP: _Fields = (("magic", 2), ("method", 1), ("flags", 1), ("time", 4), ("system", 2))
_ENTRY: _Fields = (
    ("signature", 4), ("version", 2), ("flags", 2), ("method", 2), ("time", 4), ("copy of the CRC", 4),
    ("copy of the sizes", 8), ("lengths", 4),
)  # fmt: skip
_LISTED: _Fields = (
    ("signature", 4), ("version", 4), ("flags", 2), ("method", 2), ("time", 4), ("CRC", 4), ("sizes", 8),
    ("lengths", 6), ("disk", 2), ("attributes", 6), ("place", 4),
)  # fmt: skip
_END: _Fields = (("signature", 4), ("disk", 4), ("counts", 4), ("place", 8), ("lengths", 2))


def field_of(data: bytes, position: int) -> str:
    """Returns the field of a packed file to which a byte belongs, ``"packed data"`` for what is no header."""
    if data.startswith(b"\x1f\x8b"):
        return _named("gzip", _GZIP, position)
    if not data.startswith(b"PK"):
        return "packed data"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [("entry", _ENTRY, info.header_offset) for info in archive.infolist()]
        listed = archive.start_dir
        for info in archive.infolist():
            entries.append(("directory", _LISTED, listed))
            listed += 46 + len(info.orig_filename.encode()) + len(info.extra) + len(info.comment)
    for whose, fields, start in (*entries, ("end record", _END, listed)):
        if 0 <= position - start < sum(size for _, size in fields):
            return _named(whose, fields, position - start)
    return "packed data"


def _named(whose: str, fields: _Fields, offset: int) -> str:
    names = [name for name, size in fields for _ in range(size)]
    return f"{whose} {names[offset]}" if offset < len(names) else "packed data"
