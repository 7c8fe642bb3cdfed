"""Where the dashboard, the training commands and the shipped model are, and how the command line starts them.

In a clone they are at the top of the repository; in an installed package they are inside it, in ``_bundled``.
"""

import argparse
import importlib
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sslmri.diseases import VARIABLE
from sslmri.errors import SslmriError
from sslmri.text import format_os_error, printable_line

_PACKAGE = Path(__file__).resolve().parent
_BUNDLED = _PACKAGE / "_bundled"

PROJECT = _BUNDLED if _BUNDLED.exists() else _PACKAGE.parent
DEFAULT_MODEL = PROJECT / "models" / "default"


def run_app(arguments: Sequence[str]) -> int:
    """Runs the dashboard until it is stopped, and returns the exit code.

    ``--diseases`` names a TOML file of diseases of one's own; the other arguments go to ``streamlit run``.
    """
    parser = argparse.ArgumentParser(prog="sslmri app", add_help=False, allow_abbrev=False)
    parser.add_argument("--diseases")
    own, others = parser.parse_known_args(arguments)
    if own.diseases:
        os.environ[VARIABLE] = own.diseases
    sys.argv = ["streamlit", "run", str(PROJECT / "app.py"), *others]
    try:
        runpy.run_module("streamlit", run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def run_train(arguments: Sequence[str]) -> int:
    """Runs a command of ``train.py`` and returns its exit code."""
    sys.path.insert(0, str(PROJECT))
    sys.argv = ["sslmri train", *arguments]
    code: int = importlib.import_module("train").main()
    return code


def exit_code(start: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit code: 1 after an error, which is one line on standard error."""
    try:
        code = start() or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `head`, or whatever reads the output, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python empties its buffer at the end
        return 1
    except (SslmriError, OSError) as error:
        message = format_os_error(error) if isinstance(error, OSError) else str(error)
        print(f"error: {printable_line(message)}", file=sys.stderr)
        return 1
