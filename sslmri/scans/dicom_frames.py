"""The pixels of one DICOM file: its sizes are compared with its bytes before anything is decoded."""

import math

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels

from sslmri.errors import ScanError
from sslmri.scans import jpeg, jpeg2000
from sslmri.scans.limits import check_size

_BITS = (8, 16, 32)
_JPEG = {*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes}
_JPEG_2000 = {*uid.JPEG2000TransferSyntaxes, uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL}
_END_OF_IMAGE = b"\xff\xd9"
_PLUGINS = {uid.RLELossless: "pydicom", **dict.fromkeys(_JPEG, "gdcm"), **dict.fromkeys(_JPEG_2000, "pylibjpeg")}
DAMAGED = "The DICOM file is damaged: its header and its pixels disagree. Export the scan again."

Size = tuple[int, int, int]


def checked_size(dataset: Dataset) -> Size:
    """Returns (frames, rows, columns) as the header says, once the bytes bear it out: nothing is allocated before.

    Raises:
        ScanError: the pixels are not as many as the header says, or too many.
        Exception: whatever pydicom raises on damaged data.
    """
    size = int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns)
    if size[0] < 1:
        raise ScanError(DAMAGED)
    check_size(size)
    bits = int(dataset.BitsAllocated)
    if bits not in _BITS:
        raise ScanError(f"Pixels of {bits} bits are not supported. Export the scan with 8, 16 or 32 bits.")
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.pop("ExtendedOffsetTable", None)  # so that what is checked here is what is decoded afterwards
        for frame in generate_frames(dataset.PixelData, number_of_frames=size[0]):
            _check_frame(frame, dataset.file_meta.TransferSyntaxUID, size[1:])
        return size
    expected, row = math.prod(size) * bits // 8, size[2] * bits // 8
    excess = dataset.PixelData[expected:]
    if len(dataset.PixelData) < expected or len(excess.rstrip(b"\x00")) >= row:  # PS3.5, 8.1.1: padding is ignored
        raise ScanError(DAMAGED)
    if excess:
        dataset.PixelData = dataset.PixelData[:expected]
    return size


def decoded_frames(dataset: Dataset, size: Size) -> list[np.ndarray]:
    """Returns the frames of a file, each (rows, columns) of the stored integers, before slope and intercept.

    Bits that are not of the pixel are cleared: an overlay may lie in them (PS3.5, 8.1.1).

    Raises:
        ScanError: there are not as many frames as ``checked_size`` returned, or they have another size.
        Exception: whatever the decoder raises on damaged data.
    """
    frames: list[np.ndarray] = []
    plugin = _PLUGINS.get(dataset.file_meta.TransferSyntaxUID, "")  # pydicom would try all that are installed
    if dataset.file_meta.TransferSyntaxUID == uid.JPEGExtended12Bit:
        dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit  # pydicom thinks that gdcm reads 8 bits only
    for frame in iter_pixels(dataset, raw=True, decoding_plugin=plugin, correct_unused_bits=False):
        if frame.shape != size[1:] or len(frames) == size[0]:
            raise ScanError(DAMAGED)
        frames.append(stored_bits(dataset, frame))
    if len(frames) < size[0]:
        raise ScanError(DAMAGED)
    return frames


def stored_bits(dataset: Dataset, frame: np.ndarray) -> np.ndarray:
    """Returns the value in the stored bits of each pixel, or of what is stored like pixels.

    Decoders of JPEG return them as the lowest bits.
    """
    n_bits, n_stored = 8 * frame.itemsize, int(dataset.BitsStored)
    is_coded = dataset.file_meta.TransferSyntaxUID in _JPEG | _JPEG_2000
    n_low = n_stored if is_coded else int(dataset.get("HighBit", n_stored - 1)) + 1
    if not 0 < n_stored <= n_low <= n_bits or n_stored == n_bits:
        return frame
    return (frame << (n_bits - n_low)) >> (n_bits - n_stored)  # the latter extends the sign of signed pixels


def _check_frame(frame: bytes, syntax: uid.UID, size: tuple[int, int]) -> None:
    """Checks one compressed frame: the size in its header, and its end."""
    if syntax == uid.RLELossless:
        return
    if syntax not in _JPEG | _JPEG_2000:
        raise ScanError("This is a video or uses an unsupported compression. Export single images, uncompressed.")
    if (jpeg if syntax in _JPEG else jpeg2000).coded_size(frame) != size:
        raise ScanError(DAMAGED)
    if not frame.rstrip(b"\x00\xff").endswith(_END_OF_IMAGE):
        raise ScanError("The DICOM file is incomplete. Upload it again.")
