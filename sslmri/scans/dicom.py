"""DICOM to a volume: one file, its frames, or the files of one series."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sslmri.errors import ScanError
from sslmri.scans.dicom_file import read_file, series_key_of
from sslmri.scans.dicom_frames import checked_size
from sslmri.scans.dicom_rules import has_image, refusal, stated_decade, stated_sequence
from sslmri.scans.dicom_slices import slice_images
from sslmri.scans.limits import MAX_VOXELS
from sslmri.scans.scan import left_out
from sslmri.scans.series import SliceImage, are_parallel, assemble
from sslmri.scans.volume import Volume

_MAX_LISTED = 10  # counts that a message lists
_BURNED_IN = "Text is burned into the image: it may identify the patient and mislead the classifiers."
_OWN_SERIES = "Each file names a series of its own: {} were read as one scan, as they are of one study and one stack."


@dataclass
class _Series:
    """What the files of one series hold, as far as they were read."""

    images: list[SliceImage] = field(default_factory=list)
    n_slices: int = 0
    files: list[int] = field(default_factory=list)
    stacks: set[str | None] = field(default_factory=set)
    orientations: set[str] = field(default_factory=set)
    modality: str | None = None
    sequences: set[str | None] = field(default_factory=set)
    decade: int | None = None
    is_burned_in: bool = False
    refused: str | None = None


@dataclass
class _Upload:
    """What the files of an upload hold, as far as they were read."""

    n_files: int = 0
    series: dict[str | None, _Series] = field(default_factory=dict)
    n_pixels: int = 0
    without_image: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    error: Exception | None = None


def read_dicom(files: Iterable[bytes | None]) -> Volume:
    """Returns the volume that the files of one series hold, or a single file with one frame or many.

    A localiser and whatever else cannot be screened is left out where one series remains. Slices that each name a
    series of their own are one series where they form a stack.

    Values are rescaled by slope and intercept, MONOCHROME1 is inverted. Window and level tags are ignored: preparation
    scales by percentiles of the head, and a viewer sets its own window. Of the tags nothing is kept but spacing,
    orientation, modality and the decade of age.

    Args:
        files: content of each, in the order by which warnings number them; None where the content is lost.

    Raises:
        ScanError: one sentence; of the text of tags it holds only words of known lists.
        Exception: whatever the decoder raises on the damage of a single file.
    """
    upload = _collected(files)
    n_files = upload.n_files
    series, notes = _chosen(upload)
    volume = assemble(series.images)
    in_series = {number for one in upload.series.values() for number in one.files}
    others = sorted(in_series.difference(series.files, upload.unreadable))
    warnings = (
        *left_out(upload.unreadable, n_files, "cannot be read"),
        *left_out(upload.without_image, n_files, "hold no image"),
        *left_out(others, n_files, "are of a localiser or another series that cannot be screened"),
        *notes,
        *((_BURNED_IN,) if series.is_burned_in else ()),
    )
    sequence = series.sequences.pop() if len(series.sequences) == 1 else None
    return replace(
        volume,
        modality=series.modality,
        sequence=sequence,
        decade=series.decade,
        warnings=(*warnings, *volume.warnings),
    )


def list_series(files: Iterable[bytes | None]) -> list[list[int]]:
    """Returns which files are of each series that may be screened by itself, by their indices; nothing is decoded.

    Localisers, single images among them and whatever else cannot be screened are left out, as ``read_dicom`` does.
    Slices that each name a series of their own are none by themselves.
    """
    series = _collected(files, are_decoded=False).series.values()
    return [
        [number - 1 for number in one.files]
        for one in series
        if not one.refused and one.n_slices > 1 and len(one.orientations) == 1
    ]


def _collected(files: Iterable[bytes | None], are_decoded: bool = True) -> _Upload:
    upload = _Upload()
    for number, data in enumerate(files, start=1):
        upload.n_files = number
        try:
            _add(upload, number, data, are_decoded)
        except MemoryError:
            raise
        except Exception as error:  # decoders of untrusted bytes raise any class; the other slices may be sound
            upload.unreadable.append(number)
            upload.error = error.with_traceback(None)  # which would hold the upload, and so itself
    return upload


def _add(upload: _Upload, number: int, data: bytes | None, is_decoded: bool) -> None:
    """Adds what one file holds. Nothing is decoded beyond the largest scan, however many series there are."""
    if data is None:
        raise ScanError("The zip file is damaged. Upload it again.")
    dataset = read_file(data)
    refused = refusal(dataset)
    if refused and not has_image(dataset):
        upload.without_image.append(number)
        upload.error = ScanError(refused)
        return
    key = series_key_of(dataset)
    series = upload.series.setdefault(key.series, _Series())
    series.files.append(number)
    series.n_slices += int(dataset.get("NumberOfFrames") or 1)
    series.stacks.add(key.stack)
    series.orientations.add(str([round(float(cosine), 1) for cosine in dataset.get("ImageOrientationPatient") or ()]))
    series.refused = series.refused or refused
    if series.refused or not is_decoded:
        return
    size = checked_size(dataset)
    upload.n_pixels += math.prod(size)
    if upload.n_pixels <= MAX_VOXELS:
        series.images += slice_images(dataset, size, number)
    series.modality = "MR" if dataset.get("Modality") else series.modality  # anything else was refused
    series.sequences.add(stated_sequence(dataset))
    series.decade = stated_decade(dataset)
    series.is_burned_in |= str(dataset.get("BurnedInAnnotation")).upper() == "YES"


def _chosen(upload: _Upload) -> tuple[_Series, tuple[str, ...]]:
    """Returns the one series that can be screened, and a warning where it was put together from several.

    Raises:
        ScanError: there is none, or there are several.
        Exception: the error of the last file, where it says more than that all are damaged.
    """
    series = list(upload.series.values())
    usable = [one for one in series if not one.refused]
    if series and not usable:
        raise ScanError(next(one.refused for one in series if one.refused))
    if upload.n_pixels > MAX_VOXELS:
        if len(usable) > 1:
            raise _several(usable)
        raise ScanError(
            f"The series is too large: {upload.n_pixels / 1e6:.0f} million voxels, over {MAX_VOXELS // 1_000_000} "
            "million. Export it at a lower resolution."
        )
    usable = [one for one in usable if one.images]
    if not usable:
        if isinstance(upload.error, ScanError) or (upload.error and (upload.n_files == 1 or upload.without_image)):
            raise upload.error
        raise ScanError(f"All {upload.n_files} DICOM files are damaged. Upload them again.")
    joined = _joined(usable)
    if joined:
        return joined, (_OWN_SERIES.format(f"{len(usable)} files"),)
    planar = [one for one in usable if are_parallel(one.images)] if len(usable) > 1 else usable
    if len(planar) != 1:
        raise _several(usable)
    return planar[0], ()


def _joined(series: list[_Series]) -> _Series | None:
    """Returns the series that single slices form together, each of which names one of its own, or None."""
    stacks = set[str | None]().union(*(one.stacks for one in series))
    images = [image for one in series for image in one.images]
    if not len(series) == len(images) > 1 or len(stacks) > 1 or None in stacks:
        return None
    return _Series(
        images=images,
        files=[number for one in series for number in one.files],
        modality=series[0].modality,
        sequences=set[str | None]().union(*(one.sequences for one in series)),
        decade=series[0].decade,
        is_burned_in=any(one.is_burned_in for one in series),
    )


def _several(series: list[_Series]) -> ScanError:
    if len(series) == sum(one.n_slices for one in series):
        return ScanError(
            f"Each of the {len(series)} slices names a series of its own, and they are not of one stack. Upload the "
            "slices of one series."
        )
    counts = sorted((one.n_slices for one in series), reverse=True)[:_MAX_LISTED]
    listed = ", ".join(map(str, counts[:-1]))
    return ScanError(f"These are {len(series)} series, of {listed} and {counts[-1]} slices. Upload one of them.")
