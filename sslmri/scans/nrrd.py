"""NRRD, in one file or as a header and a file of voxels, to axial slices."""

import re

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.gunzip import inflated
from sslmri.scans.text_header import TextHeader, numbers_in
from sslmri.scans.volume import Volume
from sslmri.scans.voxel_data import VolumeHeader, read_volume

_TO_RAS = {"right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1), "left-anterior-superior": (-1, 1, 1),
           "las": (-1, 1, 1), "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1)}  # fmt: skip
_VECTOR = re.compile(r"none|\([^()]*\)")
_UNUSUAL = "The NRRD file is stored in an unusual way. Save it as one .nrrd file, compressed with gzip or not at all."


def read_nrrd(data: bytes, voxel_file: bytes | None = None) -> Volume:
    """Returns the volume of an NRRD file, or of its header and a file of voxels; of several the first.

    Raises:
        ScanError: the content is damaged, too large, stored in an unusual way, or not one intensity for each voxel.
    """
    fields = TextHeader(data, ":", end=b"")
    stored: bytes | None = data[fields.length :]
    if "data file" in fields or "datafile" in fields:
        stored = voxel_file
    if stored is None:
        raise ScanError("This is an NRRD header without voxels. Upload the .nhdr and the .raw file together.")
    header = _header(fields)
    encoding = fields.get("encoding", "raw").lower()
    if encoding not in ("raw", "gzip", "gz") or fields.integer("line skip", 0):
        raise ScanError(_UNUSUAL)
    return read_volume(stored if encoding == "raw" else inflated(stored), fields.integer("byte skip", 0), header)


def _header(fields: TextHeader) -> VolumeHeader:
    sizes = [int(size) for size in fields.numbers("sizes")]
    vectors = _VECTOR.findall(fields.get("space directions", ""))[:3]
    if "none" in vectors and sizes:
        raise ScanError(
            f"Each voxel of this NRRD file holds {sizes[0]} values (directions or colours). Export one volume of them."
        )
    kind = fields.kind("type", fields.get("endian", "").lower() == "big")
    signs = _TO_RAS.get(fields.get("space", "").lower().removesuffix("-time"))
    axes = [numbers_in(vector.strip("()").replace(",", " ")) for vector in vectors]
    is_in_space = signs is not None and [len(axis) for axis in axes] == [3, 3, 3]
    spacings = fields.numbers("spacings")[:3] if "spacings" in fields and not is_in_space else []
    steps = np.array(axes) * signs if is_in_space else None
    return VolumeHeader("NRRD", sizes, kind, steps, spacings if len(spacings) == 3 else None)
