"""The table of licences: whole, as the command prints it, and with what it cannot say said."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from sslmri.errors import SslmriError
from sslmri.licences import REQUIREMENTS, UNSAID, Licence, read_licences, table

PAGE = REQUIREMENTS.parent / "LICENCES.md"


def rows_in(page: str) -> dict[str, str]:
    """Returns the rows of a table by the name of what they are on."""
    return {canonicalize_name(row[1]): row[0] for row in re.finditer(r"^\| ([\w.-]+) \| \d.*", page, re.M)}


@pytest.fixture(scope="module")
def licences() -> list[Licence]:
    return read_licences()


def test_every_requirement_is_in_the_table_with_its_version(licences):
    found = {canonicalize_name(licence.name): licence.version for licence in licences}
    for line in REQUIREMENTS.read_text().splitlines():
        name, _, wanted = line.partition("==")
        assert found[canonicalize_name(name)] == wanted == version(name)


def test_what_requirements_need_themselves_is_in_it_and_what_other_machines_need_is_not(licences):
    found = {canonicalize_name(licence.name) for licence in licences}
    assert {"starlette", "uvicorn", "h11", "sympy", "certifi"} <= found
    assert not {"pytest", "mypy", "ruff", "playwright", "colorama", "snowflake-connector-python"} & found


def test_no_licence_is_empty_and_those_not_said_are_named_above_the_table(licences):
    assert all(licence.licence for licence in licences)
    unsaid = [licence.name for licence in licences if licence.licence == UNSAID]
    line = next(line for line in table(licences).splitlines() if line.startswith(f"Licence {UNSAID}"))
    assert all(name in line for name in unsaid)
    assert not any("Copyright" in licence.licence or "==" in licence.licence for licence in licences)


def test_copyleft_is_named_above_the_table(licences):
    line = next(line for line in table(licences).splitlines() if line.startswith("Copyleft"))
    assert "pylibjpeg-libjpeg (GPL V3.0)" in line
    assert "fpdf2 (LGPL-3.0-only)" in line
    assert "numpy" not in line


def test_the_page_says_of_every_requirement_what_the_command_says(licences):
    """What requirements need themselves is not pinned: the page says what was installed when it was made."""
    page, found = rows_in(PAGE.read_text(encoding="utf-8")), rows_in(table(licences))
    for line in REQUIREMENTS.read_text().splitlines():
        name = canonicalize_name(line.partition("==")[0])
        assert page[name] == found[name]
    assert len(found) == len(licences)
    assert len(page) > 2 * len(REQUIREMENTS.read_text().splitlines())


def test_the_command_prints_the_table(call, licences):
    done = call("sslmri", "licences")
    assert (done.returncode, done.stdout) == (0, table(licences))


def test_extras_are_followed_and_markers_kept(tmp_path: Path):
    (tmp_path / "wanted.txt").write_text('# words\nuvicorn\ncolorama; sys_platform == "win32"\n')
    plain = {licence.name for licence in read_licences(tmp_path / "wanted.txt")}
    (tmp_path / "wanted.txt").write_text("streamlit[auth]\n")
    with_extra = {canonicalize_name(licence.name) for licence in read_licences(tmp_path / "wanted.txt")}
    assert plain == {"uvicorn", "click", "h11"}
    assert {"authlib", "httpx", "joserfc"} <= with_extra


def test_a_requirement_that_is_not_installed_is_one_sentence(tmp_path: Path):
    (tmp_path / "wanted.txt").write_text("no-such-distribution-anywhere==1\n")
    with pytest.raises(SslmriError, match="Expected no-such-distribution-anywhere to be installed, got none: run"):
        read_licences(tmp_path / "wanted.txt")
