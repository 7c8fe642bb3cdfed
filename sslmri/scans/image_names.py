"""Whether images are the slices of one scan, by their names."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from sslmri.errors import ScanError

_NUMBER = re.compile(r"[0-9]+")
_SEVERAL = (
    "The zip file holds images of several {}, perhaps of several patients. Upload the slices of one scan, numbered, in "
    "one folder."
)


def check_one_scan(names: Sequence[str]) -> None:
    """Checks that the names of image files in an archive may be those of the slices of one scan.

    They then lie in one folder, and differ in numbers only: in one of them, or in several that all differ from slice to
    slice, such as a number and a position.

    Raises:
        ScanError: they are of several folders, names, or numbered patients.
    """
    paths = [PurePosixPath(name.replace("\\", "/")) for name in names]
    if len({path.parent for path in paths}) > 1:
        raise ScanError(_SEVERAL.format("folders"))
    stems = [path.stem.lower() for path in paths]
    if len({_NUMBER.sub("", stem).strip(" _-.()") for stem in stems}) > 1:
        raise ScanError(_SEVERAL.format("names"))
    numbers = [_NUMBER.findall(stem) for stem in stems]
    columns = list(zip(*numbers, strict=True)) if len({len(row) for row in numbers}) == 1 else []
    if any(1 < len(set(column)) < len(names) for column in columns[:-1]):
        raise ScanError(_SEVERAL.format("series of numbers"))
