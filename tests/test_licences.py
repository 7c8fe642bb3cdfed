"""The list of licences is of what the lock file installs, and none of it forces its terms on who passes this on."""

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sslmri.project import PROJECT

ROW = re.compile(r"^\| +([\w.-]+) +\| +([\w.+!-]+) +\| +(.*?) +\|", re.M)


def listed() -> dict[str, tuple[str, str]]:
    rows = ROW.findall((PROJECT / "LICENCES.md").read_text(encoding="utf-8"))
    return {canonicalize_name(name): (version, licence) for name, version, licence in rows if name != "Name"}


def test_every_package_of_the_lock_file_is_listed_with_its_version():
    pins = [Requirement(line) for line in (PROJECT / "requirements.txt").read_text().splitlines()]
    needed = {pin.name: str(pin.specifier) for pin in pins if not pin.marker or pin.marker.evaluate()}
    assert len(needed) > 60
    assert {canonicalize_name(name): version for name, version in needed.items()} == {
        name: f"=={version}" for name, (version, _) in listed().items()
    }


def test_no_package_is_under_the_gpl():
    gpl = re.compile(r"(?<!L)GPL|(?<!Lesser )General Public License", re.IGNORECASE)
    assert gpl.search("GPL V3.0")
    assert gpl.search("AGPL-3.0")
    assert not gpl.search("GNU Lesser General Public License v3 (LGPLv3)")
    assert [name for name, (_, licence) in listed().items() if gpl.search(licence)] == []


def test_weak_copyleft_is_named_above_the_table():
    weak = {name for name, (_, licence) in listed().items() if re.search("LGPL|MPL", licence)}
    text = (PROJECT / "LICENCES.md").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("Weak copyleft"))
    assert {name for name in listed() if re.search(rf"\b{re.escape(name)}\b", line)} == weak


def test_the_command_prints_the_list(call):
    done = call("sslmri", "licences")
    assert (done.returncode, done.stdout) == (0, (PROJECT / "LICENCES.md").read_text(encoding="utf-8"))
