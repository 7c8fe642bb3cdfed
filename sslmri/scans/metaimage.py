"""MetaImage (.mha, or .mhd with a file of voxels), the format of ITK, to axial slices."""

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.gunzip import inflated
from sslmri.scans.text_header import TextHeader
from sslmri.scans.volume import Volume, directions_of
from sslmri.scans.voxel_data import VolumeHeader, read_volume

_TO_RAS = (-1, -1, 1)  # ITK counts to the patient's left, posterior and superior


def read_metaimage(data: bytes, voxel_file: bytes | None = None) -> Volume:
    """Returns the volume of a MetaImage file, or of its header and a file of voxels; of several the first.

    Raises:
        ScanError: the content is damaged, too large, stored in an unusual way, or not one intensity for each voxel.
    """
    fields = TextHeader(data, "=", end=b"ElementDataFile")
    stored = data[fields.length :] if fields.get("elementdatafile", "").upper() == "LOCAL" else voxel_file
    if stored is None:
        raise ScanError("This is a MetaImage header without voxels. Upload the .mhd and the .raw file together.")
    header = _header(fields)
    content = inflated(stored) if _is_true(fields, "compresseddata") else stored
    return read_volume(content, fields.integer("headersize", 0), header)


def _header(fields: TextHeader) -> VolumeHeader:
    n_channels = fields.integer("elementnumberofchannels", 1)
    if n_channels != 1:
        raise ScanError(
            f"Each voxel of this MetaImage file holds {n_channels} values (directions or colours). Export one volume "
            "of them."
        )
    if not _is_true(fields, "binarydata", otherwise="true"):
        raise ScanError("The MetaImage file is stored in an unusual way. Save it as one .mha file.")
    sizes = [int(size) for size in fields.numbers("dimsize")]
    kind = fields.kind(
        "elementtype", any(_is_true(fields, f"{name}byteordermsb") for name in ("binarydata", "element"))
    )
    spacing = fields.numbers("elementspacing", "elementsize")[:3]
    if len(spacing) < 3:
        return VolumeHeader("MetaImage", sizes, kind, None)
    matrix = fields.numbers("transformmatrix", "rotation", "orientation")
    n_axes = round(len(matrix) ** 0.5)
    if n_axes < 3 or n_axes**2 != len(matrix):
        return VolumeHeader("MetaImage", sizes, kind, None, spacing)
    if min(spacing) <= 0:
        raise ScanError("The voxel spacing in the file header is invalid. Export the scan again.")
    directions, _ = directions_of(np.array(matrix).reshape(n_axes, n_axes)[:3, :3] * _TO_RAS)
    return VolumeHeader("MetaImage", sizes, kind, directions * np.array(spacing)[:, None])


def _is_true(fields: TextHeader, name: str, otherwise: str = "false") -> bool:
    return fields.get(name, otherwise).lower() in ("true", "1")
