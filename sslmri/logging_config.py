"""What the server says of itself: one JSON object a line on standard error, without a word of whose scans it saw."""

import json
import logging
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType
from typing import Any, TextIO

_JOURNAL = logging.getLogger("sslmri.logging_config")
_FACTS = "facts"
_FRAMES = 6  # the innermost of a traceback that a line names


def record(event: str, **facts: Any) -> None:
    """Writes one line, once ``install`` was called; before that, and in a library's hands, nothing.

    Args:
        event: what happened, in a word or two.
        facts: what is known of it; nothing in it may come from a scan, its name or its reader.
    """
    _JOURNAL.info(event, extra={_FACTS: facts})


class JsonLines(logging.Formatter):
    """Formats a record as a line of JSON.

    Of an exception it says the class and where it was raised. Its words are left out: those of decoders quote tags,
    and tags name patients. So are the values in the messages of others, which quote what was asked of them: of
    ``"%s failed"`` stays that, and the first line alone.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": (str(record.msg).splitlines() or [""])[0],
            **getattr(record, _FACTS, {}),
        }
        if record.exc_info and record.exc_info[0]:
            line |= {"error": record.exc_info[0].__name__, "where": _places(record.exc_info[2])}
        return json.dumps(line)


def install() -> None:
    """Lets every logger of this process write such lines, Streamlit's and the server's too."""
    from streamlit import logger as streamlit_logger

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    warnings.showwarning = _log_warning
    _JOURNAL.setLevel(logging.INFO)

    def hand_over(logger: logging.Logger) -> None:
        logger.handlers = [handler]
        if logger.name.startswith("uvicorn"):  # addresses of readers; a proxy logs them where that is wanted
            logger.addFilter(lambda told: told.levelno >= logging.WARNING)

    streamlit_logger.setup_formatter = hand_over  # what it calls for each logger it makes, now and later
    streamlit_logger.update_formatter()
    threading.excepthook = _log_thread


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Writes the class of a warning and its place; decoders' warnings quote tags too."""
    facts = {"warning": category.__name__, "where": [_place(filename, lineno)]}
    logging.getLogger("warnings").warning("warning", extra={_FACTS: facts})


def _log_thread(died: threading.ExceptHookArgs) -> None:
    if died.exc_value is not None:
        _JOURNAL.error("thread died", exc_info=(died.exc_type, died.exc_value, died.exc_traceback))


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return [_place(frame.filename, frame.lineno) for frame in frames]


def _place(filename: str, line: int | None) -> str:
    return f"{'/'.join(PurePath(filename).parts[-2:])}:{line}"
