"""Files that hold one volume, or a header whose voxels are in a second file: which they are, and how each is read."""

from collections.abc import Sequence
from dataclasses import replace

from sslmri.errors import ScanError
from sslmri.scans.file_type import SOURCES, file_type
from sslmri.scans.gunzip import gunzipped
from sslmri.scans.volume import Volume

VOLUMES = ("NIfTI", "MGH", "NRRD", "MetaImage", "MATLAB")
_VOXEL_SUFFIX = {".hdr": (".img",), ".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".img")}


def voxel_names(name: str) -> tuple[str, ...]:
    """Returns how the file of voxels may be named that belongs to a header of this name, as ``plain_name`` does."""
    stem, dot, suffix = plain_name(name).rpartition(".")
    return tuple(stem + voxels for voxels in _VOXEL_SUFFIX.get(dot + suffix, ()))


def pair_up(names: Sequence[str]) -> dict[int, int]:
    """Returns where the file of its voxels stands for each header that has one, by their names."""
    at = {plain_name(name): position for position, name in enumerate(names)}
    return {header: at[voxels] for header, name in enumerate(names) for voxels in voxel_names(name) if voxels in at}


def plain_name(name: str) -> str:
    """Returns a name in lower case, without the suffix of compression."""
    return name.lower().removesuffix(".gz")


def read_volume_file(source: str, contents: Sequence[bytes]) -> Volume:
    """Returns the volume in a file of one of ``VOLUMES``, or in a header and the file of its voxels.

    Raises:
        ScanError: the content is damaged, too large, or not one intensity for each voxel.
    """
    voxel_file = contents[1] if len(contents) > 1 else None
    if source == "NRRD":
        from sslmri.scans.nrrd import read_nrrd

        return read_nrrd(contents[0], voxel_file)
    if source == "MetaImage":
        from sslmri.scans.metaimage import read_metaimage

        return read_metaimage(contents[0], voxel_file)
    if source == "MATLAB":
        from sslmri.scans.matlab import read_matlab

        return read_matlab(contents[0])
    content = gunzipped(gunzipped(contents[0]))  # servers and browsers compress what is compressed already
    found = source if content is contents[0] else file_type(content)
    if found == "MGH":
        from sslmri.scans.mgh import read_mgh

        return replace(read_mgh(content), source=found)
    if found != "NIfTI" and found in SOURCES:
        raise ScanError(f"This is a gzip-compressed {found} file. Upload it uncompressed.")
    from sslmri.scans.nifti import read_nifti, read_pair

    return read_nifti(content) if voxel_file is None else read_pair(content, gunzipped(voxel_file))
