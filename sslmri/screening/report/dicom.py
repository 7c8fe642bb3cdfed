"""The results of a screening as DICOM objects in the study of its scan; they name the patient, as the scan does."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sslmri.errors import ScanError
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.scans.scan import DicomHeaders
from sslmri.screening.outcome import Entry, Refusal, ScreeningArrays, ScreeningSummary
from sslmri.screening.report.export import report_pdf

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from pydicom.dataset import Dataset

    from sslmri.screening.report.dicom_map import Acquired


def require_highdicom() -> None:
    """Checks that the library that makes these objects is installed.

    Raises:
        ScanError: it is not.
    """
    if find_spec("highdicom") is None:
        raise ScanError('DICOM results need highdicom: run pip install "sslmri[dicom]".')


def dicom_results(
    card: ModelCard, entry: Entry, arrays: ScreeningArrays, headers: DicomHeaders, metrics: Metrics | None
) -> "dict[str, Dataset]":
    """Returns the objects by the names of their files, without suffix.

    ``findings``: structured report; ``report``: the PDF; ``map-tumours`` ...: a capture of the map of each finding that
    has one; ``segments``: what these maps cover of the head, where they can be placed on the slices of the scan. Each
    kind is a series of its own in the study of the scan.

    Raises:
        ScanError: the scan was refused, the headers are of other files, or highdicom is not installed.
    """
    require_highdicom()
    from highdicom import UID
    from pydicom.dataset import Dataset

    from sslmri.screening.report.dicom_images import capture_maps, encapsulated_pdf
    from sslmri.screening.report.dicom_map import mapped
    from sslmri.screening.report.dicom_sr import structured_report

    summary = entry.outcome
    if isinstance(summary, Refusal):
        raise ScanError("The scan was refused: there are no results to write.")
    if headers.sha256 != summary.sha256:
        raise ScanError("The files changed after the scan was screened: screen them again.")
    acquired = _acquired(headers)
    keys, tracking = mapped(summary), {key: str(UID()) for key in summary.findings}
    segments, note = _segments(card, summary, arrays, acquired, keys, tracking)
    captures = capture_maps(card, summary, arrays, keys, acquired.images[0])
    results: dict[str, Dataset] = {
        "findings": structured_report(card, entry, summary, metrics, acquired, tracking, note),
        "report": encapsulated_pdf(card, report_pdf(card, [entry], metrics), acquired.images[0]),
        **{f"map-{key}": capture for key, capture in captures.items()},
        **({"segments": segments} if segments else {}),
    }
    for made in results.values():  # last, as highdicom prints names that it finds unlikely
        made.PatientName = Dataset.from_json(headers.series).get("PatientName")
    return results


def _segments(
    card: ModelCard,
    summary: ScreeningSummary,
    arrays: ScreeningArrays,
    acquired: "Acquired",
    keys: Sequence[str],
    tracking: Mapping[str, str],
) -> "tuple[Segmentation | None, str | None]":
    """Returns what the maps of findings cover, None where that is nothing, or why there are no segments."""
    from sslmri.screening.report.dicom_images import segment_maps
    from sslmri.screening.report.dicom_map import covered_slices

    if not keys or acquired.fault:
        return None, acquired.fault if keys else None
    found = {key: covered_slices(acquired, summary, arrays, key, card.encoder.preparation) for key in keys}
    masks = {key: mask for key, mask in found.items() if mask.any()}
    slices = [acquired.images[file] for file, _ in acquired.origins]
    return segment_maps(card, summary, masks, slices, tracking) if masks else None, None


def _acquired(headers: DicomHeaders) -> "Acquired":
    """Returns the slices of a scan with all that objects inherit from them but the patient's name."""
    from pydicom.dataset import Dataset

    from sslmri.screening.report.dicom_images import INHERITED
    from sslmri.screening.report.dicom_map import Acquired

    images = [Dataset.from_json({**headers.series, **own}) for own in headers.files]
    for image in images:
        image.Modality, image.SpecificCharacterSet, image.PatientName = "MR", "ISO_IR 192", None
        for keyword in INHERITED:
            setattr(image, keyword, image.get(keyword) or "")
    return Acquired(images, headers.origins, headers.axes)


def zipped(results: "Mapping[str, Dataset]") -> bytes:
    """Returns the objects as DICOM files in a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, made in results.items():
            archive.writestr(f"{name}.dcm", as_bytes(made))
    return file.getvalue()


def as_bytes(made: "Dataset") -> bytes:
    """Returns an object as a DICOM file."""
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()
