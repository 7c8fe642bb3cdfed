"""DICOM series of a made head as scanners write them: each file with its identifiers, in any plane."""

from pathlib import Path

import numpy as np

from tests.harness.dicom_files import dicom

SPACING = (2.5, 2.0, 1.9)  # slice, row and column of the axial volume, in mm
CORNER = (-76.0, -95.0, -40.0)  # of its first voxel, to the patient's left, posterior and superior
STUDY = "1.2.826.1.7"
PATIENT = {
    "PatientName": "Müller^Jane", "PatientID": "CANARY-7", "PatientBirthDate": "19510203", "PatientSex": "F",
    "AccessionNumber": "CANARY-8", "StudyDate": "20260102", "StudyTime": "030405", "StudyID": "CANARY-9",
    "StudyInstanceUID": STUDY, "SeriesInstanceUID": f"{STUDY}.1", "FrameOfReferenceUID": f"{STUDY}.2",
    "SpecificCharacterSet": "ISO_IR 192", "ReferringPhysicianName": "CANARY^Doctor", "PatientComments": "CANARY-10",
}  # fmt: skip
# by plane: the axis of the volume across the slices, how it is turned to become them, and the directions of their
# rows and columns
PLANES = {
    "axial": (0, lambda plane: plane, (1, 0, 0, 0, 1, 0)),
    "axial, turned": (0, lambda plane: plane[::-1, ::-1], (-1, 0, 0, 0, -1, 0)),
    "coronal": (1, lambda plane: plane[::-1], (1, 0, 0, 0, 0, -1)),
    "sagittal": (2, lambda plane: plane[::-1], (0, 1, 0, 0, 0, -1)),
}


def series(voxels: np.ndarray, plane: str = "axial", **tags: object) -> list[tuple[str, bytes]]:
    """Returns the files of an axial volume (D, H, W), upwards, to posterior, to the left, acquired in a plane."""
    axis, turn, directions = PLANES[plane]
    files = []
    for index in range(voxels.shape[axis]):
        indices = turn(np.take(np.arange(voxels.size).reshape(voxels.shape), index, axis))
        k, row, column = np.unravel_index(indices[0, 0], voxels.shape)
        sizes = [SPACING[i] for i in range(3) if i != axis]
        own = {
            "SOPInstanceUID": f"{STUDY}.1.{index + 1}",
            "InstanceNumber": index + 1,
            "ImagePositionPatient": position(k, row, column),
            "ImageOrientationPatient": list(directions),
            "PixelSpacing": sizes,
            "SliceThickness": SPACING[axis],
        }
        pixels = np.ascontiguousarray(turn(np.take(voxels, index, axis)))
        files.append((f"{index:03d}.dcm", dicom(pixels, **PATIENT | own | tags)))
    return files


def position(k: float, row: float, column: float) -> list[float]:
    """Returns where a voxel of the axial volume lies: to the patient's left, posterior and superior, in mm."""
    return [float(CORNER[i] + n * SPACING[2 - i]) for i, n in enumerate((column, row, k))]


def write(files: list[tuple[str, bytes]], folder: Path) -> Path:
    """Writes files into a folder, made if missing."""
    folder.mkdir(exist_ok=True)
    for name, data in files:
        (folder / name).write_bytes(data)
    return folder
