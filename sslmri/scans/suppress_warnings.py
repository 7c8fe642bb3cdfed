"""Keeps what DICOM decoders say of odd files away from terminal and log: they quote tags, and tags name patients."""

import logging
import re
import warnings

import pydicom

_MUTTERERS = r"(pydicom|pylibjpeg|openjpeg|libjpeg|sslmri\.scans)\b"
_FILTER = ("ignore", None, Warning, re.compile(_MUTTERERS), 0)

for _name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg"):
    _logger = logging.getLogger(_name)
    _logger.handlers = [logging.NullHandler()]
    _logger.propagate = False
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def suppress_warnings() -> None:
    """Drops the warnings of DICOM decoders.

    Set at every reading and not once: whatever catches warnings elsewhere drops a filter set meanwhile when it ends.
    """
    if _FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module=_MUTTERERS)
