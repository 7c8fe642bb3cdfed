"""Keeps what decoders print about odd files away from terminal and log: it quotes tags, and tags identify patients."""

import logging
import re
import warnings

_MODULES = r"(PIL|pydicom|pylibjpeg|openjpeg|sslmri\.scans)\b"
_FILTER = ("ignore", None, Warning, re.compile(_MODULES), 0)

for _name in ("PIL", "pydicom", "pylibjpeg", "openjpeg"):
    _logger = logging.getLogger(_name)
    _logger.handlers = [logging.NullHandler()]
    _logger.propagate = False


def suppress_warnings() -> None:
    """Drops the warnings of decoders.

    Called before every read: ``warnings.catch_warnings`` elsewhere removes filters set meanwhile when it ends.
    """
    if _FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module=_MODULES)
