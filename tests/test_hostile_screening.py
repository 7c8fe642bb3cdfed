"""What the shipped model says of every hostile file: what its list says it should."""

import csv

import pytest

from sslmri.__main__ import DEFAULT_MODEL
from sslmri.errors import ScanError
from sslmri.scans.reading import read_scan
from sslmri.screening.screener import Screener
from tests.conftest import SHARED, needs_shared

FOLDER = SHARED / "hostile"
MISTAKEN = {"notbrain/txrv__torchxrayvision-logo.png"}  # a round bright drawing on black


def listed() -> list[tuple[str, str]]:
    path = FOLDER / "MANIFEST.csv"
    if not path.is_file():
        return []
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return [(row["file"], row["expected_outcome"].split()[0]) for row in rows]


@pytest.fixture(scope="module")
def screener() -> Screener:
    return Screener.load(DEFAULT_MODEL)


def outcome_of(screener: Screener, name: str) -> str:
    """Returns "unreadable", "no brain", "silent" or "answered"."""
    path = FOLDER / name
    try:
        screening = screener.screen(read_scan(path.read_bytes(), path.name))
    except ScanError:
        return "unreadable"
    if not screening.is_brain:
        return "no brain"
    return "answered" if any(finding.applicable for finding in screening.findings) else "silent"


ALLOWED = {
    "reject_unreadable": {"unreadable"},
    "reject_clear_or_decode": {"unreadable", "no brain", "silent", "answered"},
    "reject_not_brain_mri": {"unreadable", "no brain", "silent"},
    "reject_or_abstain": {"unreadable", "no brain", "silent"},
    "accept": {"silent", "answered"},
    "accept_escape_name": {"silent", "answered"},
    "accept_no_phi": {"silent", "answered"},
    "accept_with_warning": {"silent", "answered"},
    "accept_or_abstain": {"no brain", "silent", "answered"},
    "accept_or_reject_no_phi": {"unreadable", "silent", "answered"},
    "reject_or_accept_safe": {"unreadable", "silent", "answered"},
}


@needs_shared("hostile")
@pytest.mark.parametrize(("name", "expected"), listed())
def test_a_hostile_file_ends_as_its_list_says(
    name: str, expected: str, screener: Screener, request: pytest.FixtureRequest
) -> None:
    if name in MISTAKEN:
        request.applymarker(pytest.mark.xfail(reason="taken for a brain by one head", strict=True))
    assert outcome_of(screener, name) in ALLOWED[expected]
