"""A DICOM archive by DICOMweb (DICOM PS3.18): MR series out of it, each whole or not at all, and results into it."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sslmri.errors import ScanError
from sslmri.scans.file_type import file_type
from sslmri.scans.limits import MAX_SERIES_BYTES, MAX_SLICES

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

TOKEN = "SSLMRI_DICOMWEB_TOKEN"  # names the bearer token; a password lies in netrc, where requests looks for it
CONNECT_S, SILENT_S = 10.0, 30.0  # until the archive answers, and between two packets
ANSWER_S = 600.0  # for a whole answer: 512 MB at 7 Mbit/s
_CHUNK_BYTES = 2**16
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # as stored: smaller, and nothing is lost
_MODALITY, _SERIES, _NUMBER, _N_INSTANCES = "00080060", "0020000E", "00200011", "00201209"
_UID = re.compile(r"\d+(\.\d+)*", re.ASCII)
_SLOW = "The archive does not answer in time. Try again later."


@dataclass(frozen=True)
class ArchiveSeries:
    """An MR series as the archive lists it.

    Attributes:
        study, uid: its UIDs.
        name: its number, as a radiologist's list shows it.
        n_files: how many instances it has.
    """

    study: str
    uid: str
    name: str
    n_files: int


class Archive:
    """A DICOMweb service, with the credentials of the environment."""

    def __init__(self, url: str) -> None:
        """Makes no connection yet.

        Raises:
            ScanError: the address is none, or has a password in it; a package is missing.
        """
        try:
            from dicomweb_client import DICOMwebClient
            from requests import Session
        except ImportError as error:
            raise ScanError('Archives need further packages: pip install "sslmri[dicom]".') from error
        self._url, self._session, self._timeout = url.rstrip("/"), Session(), (CONNECT_S, SILENT_S)
        token = os.environ.get(TOKEN)
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            if "@" in urlsplit(url).netloc:
                raise ValueError
            self._client = DICOMwebClient(self._url, self._session, headers=headers, timeout=self._timeout)
        except ValueError:  # from None: it quotes the address
            raise ScanError(
                "Expected the address of a DICOMweb service, such as http://127.0.0.1:8042/dicom-web: without a "
                "password, which docs/orthanc.md says where to keep."
            ) from None
        self._client.set_http_retry_params(retry=False)  # five times, over half a minute
        self._session.hooks["response"] = [_limit]

    def list_series(self, study: str) -> list[ArchiveSeries]:
        """Returns the MR series of a study.

        Raises:
            ScanError: there are none, or the archive cannot be asked.
        """
        if not _UID.fullmatch(study):
            raise ScanError("A study UID consists of numbers separated by dots. Copy it from the archive.")
        with _failures():
            listed = self._client.search_for_series(study, fields=[_N_INSTANCES])
            series = [_series(study, one) for one in listed if _value(one, _MODALITY) == "MR"]
        if not listed:
            raise ScanError("The archive has no study of this UID. Check the UID.")
        if not series:
            raise ScanError("The study has no MR series. Only brain MRI is supported.")
        return series

    def fetch(self, series: ArchiveSeries) -> list[bytes]:
        """Returns the files of a series, as many as the archive lists.

        Raises:
            ScanError: it is too large, or did not come whole.
        """
        if series.n_files > MAX_SLICES:
            raise ScanError(f"The series has too many files: {series.n_files:,}, over {MAX_SLICES:,}.")
        with _failures():
            address = f"{self._url}/studies/{series.study}/series/{series.uid}"
            response = self._session.get(address, headers={"Accept": _DICOM}, timeout=self._timeout)
            response.raise_for_status()
            files = _files(response.headers["Content-Type"], response.content)
        if len(files) != series.n_files:
            raise ScanError(
                f"The archive lists {series.n_files} files of this series and sent {len(files)} that are whole. None "
                "was screened: check the series in the archive and try again."
            )
        return files

    def store(self, instances: "Sequence[Dataset]") -> None:
        """Adds DICOM objects to the studies that they name.

        Raises:
            ScanError: not all of them were stored.
        """
        with _failures():
            n_failed = len(self._client.store_instances(instances).get("FailedSOPSequence") or ())
        if n_failed:
            raise ScanError(f"The archive did not store {n_failed} of the {len(instances)} objects.")


def _value(row: dict[str, Any], tag: str) -> Any:
    """Returns the first value of an attribute in DICOM JSON, None where it is empty."""
    return (row.get(tag, {}).get("Value") or [None])[0]


def _series(study: str, row: dict[str, Any]) -> ArchiveSeries:
    number = _value(row, _NUMBER)
    name = "Series without a number" if number is None else f"Series {number}"
    return ArchiveSeries(study, str(_value(row, _SERIES)), name, int(_value(row, _N_INSTANCES)))


def _files(content_type: str, body: bytes) -> list[bytes]:
    """Returns the DICOM files in a multipart body; what follows the last boundary is the end, or not whole."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if boundary is None:
        raise ValueError("no multipart answer")
    parts = body.split(b"--" + boundary.encode())[1:-1]
    files = (part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts)
    return [data for data in files if file_type(data) == "DICOM"]


def _limit(response: Any, *_: object, **__: object) -> None:
    """Limits the size and the time of an answer, before its body is read; a hook of requests."""
    deadline = time.monotonic() + ANSWER_S

    def chunks(*_: object, **__: object) -> Iterator[bytes]:
        n_bytes = 0
        # read1 gives what is there, so that a trickle ends too
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            n_bytes += len(chunk)
            if n_bytes > MAX_SERIES_BYTES:
                raise ScanError(f"The series is too large: over {MAX_SERIES_BYTES >> 20} MB.")
            if time.monotonic() > deadline:
                raise ScanError(_SLOW)
            yield chunk

    response.iter_content = chunks


@contextmanager
def _failures() -> Iterator[None]:
    """Raises what goes wrong with an archive as one sentence."""
    import requests
    from urllib3.exceptions import HTTPError, TimeoutError

    try:
        yield
    except (requests.Timeout, TimeoutError) as error:
        raise ScanError(_SLOW) from error
    except requests.HTTPError as error:
        raise ScanError(_status(getattr(error.response, "status_code", 0))) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # also a body that is no JSON
        raise ScanError(
            "The archive's answer is not DICOMweb. Check that its address is that of its DICOMweb service."
        ) from error
    except (requests.RequestException, HTTPError) as error:
        raise ScanError(
            "The archive cannot be reached, or the connection broke off. Check its address and certificate, and that "
            "it runs."
        ) from error


def _status(code: int) -> str:
    if code in (401, 403):
        return f"The archive refuses access (HTTP {code}). Check the credentials, which docs/orthanc.md describes."
    if code == 404:
        return "The archive has nothing there (HTTP 404). Check its address and the study UID."
    return f"The archive failed (HTTP {code}). Try again later."
