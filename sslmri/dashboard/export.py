"""Tables as files that a spreadsheet opens without running anything."""

import pandas as pd

from sslmri.files import neutralised


def to_csv(frame: pd.DataFrame) -> bytes:
    """Returns a table as CSV; text that a spreadsheet would take for a formula is preceded by an apostrophe.

    A heading in two rows becomes one: ``train`` over ``groups`` is ``train groups``.
    """
    names = [" ".join(filter(None, name)) if isinstance(name, tuple) else name for name in frame.columns]
    safe = frame.map(neutralised).set_axis([neutralised(name) for name in names], axis=1)
    return safe.to_csv(index=False, lineterminator="\n").encode("utf-8")
