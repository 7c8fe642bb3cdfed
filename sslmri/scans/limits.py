"""The largest and smallest scans that are read; sizes are compared with these before anything is decoded."""

from collections.abc import Sequence

from sslmri.errors import ScanError

MAX_BYTES = 136 * 2**20  # of one uploaded file: 256 x 256 x 256 voxels of 64 bits and a header
MAX_SERIES_BYTES = 512 * 2**20  # of the files of one series together
MAX_DECOMPRESSED = 512 * 2**20  # bytes
MAX_RATIO = 200  # decompressed to compressed bytes; brain volumes reach 2 to 20, label masks 200
FREE_BYTES = 32 * 2**20  # decompressed bytes that are allowed at any ratio: small masks compress very well
MAX_VOXELS = 64_000_000  # all slices together
MAX_SLICES = 1_000
MIN_SIDE = 8  # pixels; smaller images hold no anatomy


def check_size(shape: Sequence[int]) -> None:
    """Checks the size of a volume or of the pages of an image, (D, H, W) in Python integers.

    Raises:
        ScanError: there are too many voxels or slices, or a slice is too small to hold anatomy.
    """
    depth, height, width = shape
    size = f"{width:,} x {height:,} pixels"
    if depth * height * width > MAX_VOXELS:
        raise ScanError(
            f"The scan is too large: {f'{depth:,} slices of ' if depth > 1 else ''}{size}, over "
            f"{MAX_VOXELS // 1_000_000} million in total. Export it at a lower resolution."
        )
    if depth > MAX_SLICES:
        raise ScanError(f"The scan has too many slices: {depth:,}, over {MAX_SLICES:,}. Export fewer.")
    if min(height, width) < MIN_SIDE:
        raise ScanError(f"The image is too small: {size}. At least {MIN_SIDE} x {MIN_SIDE} are needed.")


def check_bytes(n_bytes: int, max_bytes: int, source: str) -> None:
    """Checks the size of the files of a scan, which the error names.

    Raises:
        ScanError: they are too large.
    """
    if n_bytes > max_bytes:
        raise ScanError(f"The upload is too large: over {max_bytes >> 20} MB.", source)


def check_decompressed(n_decompressed: int, n_compressed: int) -> None:
    """Checks how many bytes an upload decompresses to; also called with what a header declares.

    Raises:
        ScanError: they are more than 512 MB, or more than 32 MB and 200 times the upload.
    """
    if n_decompressed > MAX_DECOMPRESSED:
        raise ScanError(
            f"The scan is too large: over {MAX_DECOMPRESSED >> 20} MB when decompressed. Upload a smaller scan."
        )
    if n_decompressed > max(FREE_BYTES, MAX_RATIO * n_compressed):
        raise ScanError(f"The archive expands too much (over {MAX_RATIO} times). Upload the scan uncompressed.")
