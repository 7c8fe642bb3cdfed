"""What the shipped model says of every hostile file: what its list says it should."""

import pytest

from sslmri.errors import ScanError
from sslmri.project import DEFAULT_MODEL
from sslmri.screening.screener import Screener
from tests.conftest import needs_shared
from tests.harness.parsing import parse_scan
from tests.soak.hostile import Hostile, listed


@pytest.fixture(scope="module")
def screener() -> Screener:
    return Screener.load(DEFAULT_MODEL)


def outcome_of(screener: Screener, file: Hostile) -> tuple[str, bool]:
    """Returns "refused", "silent" or "answered", and whether it was not told apart from a brain."""
    try:
        screening = screener.screen(parse_scan(file.path.read_bytes(), file.path.name))
    except ScanError:
        return "refused", True
    is_answered = bool(screening.summary.assessed)
    return "answered" if is_answered else "silent", screening.summary.is_brain_mri is not False


@needs_shared("hostile")
@pytest.mark.parametrize("file", listed(), ids=lambda file: file.name)
def test_a_hostile_file_ends_as_its_list_says(file: Hostile, screener: Screener) -> None:
    how, is_brain = outcome_of(screener, file)
    assert how in file.allowed
    assert is_brain or not file.is_brain
