"""What the viewer in the browser was given, as the tests read it."""

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest


@dataclass(frozen=True)
class Payload:
    """The header, and the bytes of each part by name."""

    header: dict[str, Any]
    parts: dict[str, np.ndarray]

    def slice_of(self, plane: int, index: int) -> np.ndarray:
        """Returns a slice as the viewer reads it, (rows, columns) uint8."""
        found = self.header["planes"][plane]
        _, rows, columns = found["shape"]
        by_slice, by_row, by_column = found["steps"]
        y, x = np.mgrid[0:rows, 0:columns]
        return self.parts["voxels"][found["start"] + index * by_slice + y * by_row + x * by_column]


def unpack(data: bytes) -> Payload:
    (length,) = struct.unpack_from("<I", data)
    header, start, parts = json.loads(data[4 : 4 + length]), 4 + length, {}
    for name, size in header["parts"]:
        parts[name] = np.frombuffer(data[start : start + size], np.uint8)
        start += size
    assert start == len(data)
    return Payload(header, parts)


def in_viewer(app: AppTest) -> Payload:
    (viewer,) = app.get("bidi_component")
    return unpack(viewer.proto.bytes)
