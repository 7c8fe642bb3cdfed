"""The server's log: one JSON object a line on standard error, without anything that identifies a patient."""

import json
import logging
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

_LOGGER = logging.getLogger("sslmri.logging_config")
_FIELDS = "fields"
_MAX_FRAMES = 6  # of a traceback, the innermost


def record(event: str, **fields: Any) -> None:
    """Logs one line once ``install`` was called; without it, as in a notebook, nothing.

    Nothing in the fields may come from a scan, its name or its reader.
    """
    _LOGGER.info(event, extra={_FIELDS: fields})


class JsonLines(logging.Formatter):
    """Formats a log record as a line of JSON.

    Of an exception only the class and the lines where it was raised are kept: messages of decoders quote tags, and tags
    name patients. For the same reason the arguments of other loggers' messages are left out (``"%s failed"`` stays
    as it is), and so are all lines of a message but the first.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": (str(record.msg).splitlines() or [""])[0],
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info and record.exc_info[0]:
            frames = traceback.extract_tb(record.exc_info[2])[-_MAX_FRAMES:]
            where = [_location(frame.filename, frame.lineno) for frame in frames]
            line |= {"error": record.exc_info[0].__name__, "where": where}
        return json.dumps(line)


def install() -> logging.Handler:
    """Makes the loggers of this process write such lines and returns the handler, for libraries with their own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _LOGGER.setLevel(logging.INFO)
    warnings.showwarning = _log_warning
    threading.excepthook = _log_thread
    return handler


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    """Logs the class and the location of a warning: messages of decoders quote tags."""
    fields = {"warning": category.__name__, "where": [_location(filename, lineno)]}
    logging.getLogger("warnings").warning("warning", extra={_FIELDS: fields})


def _log_thread(died: threading.ExceptHookArgs) -> None:
    if died.exc_value is not None:
        _LOGGER.error("thread died", exc_info=(died.exc_type, died.exc_value, died.exc_traceback))


def _location(filename: str, line: int | None) -> str:
    return f"{'/'.join(PurePath(filename).parts[-2:])}:{line}"
