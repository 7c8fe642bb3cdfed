"""One brain slice in every kind of file that a reader may be given it in."""

import io
from typing import Any, Literal

import nibabel
import numpy as np
from PIL import Image

from tests.harness.dicom_files import dicom

TOLERANCES = {"JPEG": 0.03}  # of a probability; 0.01 for what loses nothing
WINDOW = {"WindowCenter": 2000, "WindowWidth": 3000}


def encodings(pixels: np.ndarray) -> dict[str, bytes]:
    """Returns a slice (H, W) uint8, anterior up and the patient's right on the left, as files; the first is the PNG."""
    deep = pixels.astype(np.uint16) * 16
    signed = deep.astype(np.int16)
    square: dict[str, Any] = {"PixelSpacing": [1.0, 1.0], "BitsStored": 12, "HighBit": 11}
    return {
        "PNG": _picture(pixels, "PNG"),
        "TIFF 16-bit": _picture(deep, "TIFF"),
        "JPEG": _picture(pixels, "JPEG", quality=95),
        "DICOM MONOCHROME2": dicom(deep, **square),
        "DICOM rescaled, windowed": dicom(deep, **square, RescaleSlope=0.5, RescaleIntercept=-100, **WINDOW),
        "DICOM MONOCHROME1": dicom(4095 - deep, **square, PhotometricInterpretation="MONOCHROME1"),
        "DICOM MONOCHROME1, rescaled": dicom(
            4095 - deep, **square, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, RescaleIntercept=-1024
        ),
        "NIfTI int16": _nifti(signed),
        "NIfTI float32": _nifti(signed.astype(np.float32)),
        "NIfTI big-endian": _nifti(signed, order=">"),
        "NIfTI flipped affine": _nifti(signed[::-1, ::-1], signs=(1, 1)),
        "NIfTI, axes swapped": _nifti(signed, is_swapped=True),
    }


def _picture(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind, **options)
    return file.getvalue()


def _nifti(
    pixels: np.ndarray, signs: tuple[int, int] = (-1, -1), is_swapped: bool = False, order: Literal["<", ">"] = "<"
) -> bytes:
    """Returns a slice (H, W) as NIfTI; ``signs``: whether columns grow to the right and rows to anterior."""
    voxels, affine = pixels.T[:, :, None], np.diag([float(signs[0]), float(signs[1]), 1.0, 1.0])
    if is_swapped:
        voxels, affine = voxels.transpose(1, 0, 2), affine[:, [1, 0, 2, 3]]
    header = nibabel.Nifti1Header(endianness=order)
    image = nibabel.Nifti1Image(voxels.astype(voxels.dtype.newbyteorder(order)), affine, header)
    image.set_data_dtype(voxels.dtype.newbyteorder(order))
    return bytes(image.to_bytes())
