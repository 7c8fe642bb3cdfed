"""What the program is built on: every distribution it needs, with its version, licence and home page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sslmri.errors import SslmriError

UNSAID = "not said in its metadata"
REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"
_COPYLEFT = re.compile(r"GPL|General Public License|Mozilla|MPL|CDDL|EUPL|Eclipse", re.IGNORECASE)
_LONGEST = 60  # characters of a licence's name; some metadata hold its whole text
_HOME = ("homepage", "home", "source", "source code", "repository", "github", "documentation", "download")
_NO_NAME = re.compile(r"copyright|license agreement|\W", re.IGNORECASE)  # how the text of a licence may begin


@dataclass(frozen=True)
class Licence:
    """A distribution and its terms.

    Attributes:
        name, version: of the distribution.
        licence: as its metadata say, or that they do not.
        home: address of its page, or empty.
    """

    name: str
    version: str
    licence: str
    home: str

    @property
    def is_copyleft(self) -> bool:
        """Whether who hands on a changed program owes its source, in part or in whole."""
        return bool(_COPYLEFT.search(self.licence))


def read_licences(requirements: Path = REQUIREMENTS) -> list[Licence]:
    """Returns the distributions that a requirements file needs on this machine, and all that these need, by name.

    Raises:
        SslmriError: one of them is not installed.
    """
    wanted = [Requirement(line) for line in requirements.read_text(encoding="utf-8").splitlines() if _is_needed(line)]
    return sorted((_licence(found) for found in _closure(wanted).values()), key=lambda licence: licence.name.lower())


def table(licences: list[Licence]) -> str:
    """Returns a page of Markdown: what is copyleft, then one row for each distribution."""
    copyleft = ", ".join(f"{licence.name} ({licence.licence})" for licence in licences if licence.is_copyleft)
    unsaid = ", ".join(licence.name for licence in licences if licence.licence == UNSAID)
    lines = [
        "# Licences of what the program needs",
        "",
        "Made by `python -m sslmri licences` from what is installed for `requirements.txt`, on Linux with the "
        "versions named there. Wheels called `nvidia-*`, and those that only they need, come with torch on Linux and "
        "are not used without a graphics card.",
        "",
        f"Copyleft: {copyleft or 'none'}. None of it is part of this program; who hands on both together has to keep "
        "to its terms.",
        "",
        f"Licence {UNSAID}: {unsaid or 'none'}.",
        "",
        "| name | version | licence | home page |",
        "|---|---|---|---|",
    ]
    rows = [(own.name, own.version, own.licence, own.home) for own in licences]
    return "\n".join([*lines, *(f"| {' | '.join(_cell(value) for value in row)} |" for row in rows)]) + "\n"


def _is_needed(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("#", "-"))


def _closure(wanted: list[Requirement]) -> dict[str, Distribution]:
    """Returns the distributions by name; each is looked at once for every set of extras that is asked of it."""
    found: dict[str, Distribution] = {}
    open_, seen = [(requirement, frozenset[str]()) for requirement in wanted], set()
    while open_:
        requirement, extras = open_.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            continue
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        found[key[0]] = _installed(requirement.name)
        open_ += [(Requirement(line), key[1]) for line in found[key[0]].requires or ()]
    return found


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise SslmriError(f"Expected {name} to be installed, got none: run `make app` first.") from error


def _licence(found: Distribution) -> Licence:
    about = found.metadata
    said = next((text for text in _statements(found) if text), UNSAID)
    addresses = dict(entry.split(", ", 1) for entry in about.get_all("Project-URL") or () if ", " in entry)
    by_name = {name.lower(): address for name, address in addresses.items()}
    home = _field(found, "Home-page") or next((by_name[name] for name in _HOME if name in by_name), "")
    return Licence(about["Name"], found.version, said, home if home.startswith("http") else "")


def _statements(found: Distribution) -> Iterator[str]:
    """Yields what the metadata say of the licence, the most precise first; empty where they say nothing."""
    yield _field(found, "License-Expression")
    first = _field(found, "License").strip().partition("\n")[0].strip()
    yield "" if len(first) > _LONGEST or _NO_NAME.match(first) else first
    classes = [
        entry.split(" :: ")[-1]
        for entry in found.metadata.get_all("Classifier") or ()
        if entry.startswith("License ::")
    ]
    yield " or ".join(classes)


def _field(found: Distribution, name: str) -> str:
    return next(iter(found.metadata.get_all(name) or ()), "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")
