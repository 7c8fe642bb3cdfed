"""The study that tests keep in an archive: two MR series and a CT, made from a synthetic head."""

import numpy as np
from pydicom.dataset import Dataset

from tests.harness.dicom_files import as_bytes, dataset

STUDY = "1.2.7"


def make_study(head: np.ndarray) -> dict[str, list[bytes]]:
    """Returns the files of each series, 20 slices of a head (D, H, W), by the UID of the series."""
    return {
        "1.2.7.1": _series("1.2.7.1", 1, head, "MR"),
        "1.2.7.2": _series("1.2.7.2", 2, head[:, ::-1], "MR"),
        "1.2.7.3": _series("1.2.7.3", 3, head, "CT"),
    }


def _series(uid: str, number: int, head: np.ndarray, modality: str) -> list[bytes]:
    slices = (head[10:30, ::2, ::2] * 4).astype(np.uint16)
    return [
        as_bytes(_instance(pixels, SOPInstanceUID=f"{uid}.{i}", StudyInstanceUID=STUDY, SeriesInstanceUID=uid,
                           SeriesNumber=number, Modality=modality, PatientID="canary", InstanceNumber=i,
                           FrameOfReferenceUID=f"{STUDY}.0", ImagePositionPatient=[0, 0, 4 * i], PixelSpacing=[4, 4]))
        for i, pixels in enumerate(slices, start=1)
    ]  # fmt: skip


def _instance(pixels: np.ndarray, **tags: object) -> Dataset:
    made = dataset(pixels, **tags)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made
