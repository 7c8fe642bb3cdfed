"""Hostile models: every one is refused in a sentence, nothing of it is run, and little time and memory goes."""

import io
import logging
import os
import re
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from sslmri.errors import ModelError
from sslmri.project import DEFAULT_MODEL
from tests.harness.memory import forget_peak, peak_mb
from tests.harness.server import ROOT
from tests.soak.hostile_models import ALL, HostileModel, copy_spoilt, mark_of
from tests.soak.result import Row, is_plain_sentence, row

MAX_S, MAX_MB = 5.0, 400
_SHOWN = 1000
_BARE = "streamlit.runtime.scriptrunner_utils.script_run_context"  # tells every thread that it serves nobody

_unpickled: list[str] = []


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class" and not str(arguments[0]).startswith("streamlit."):  # its caches hold pickles
        _unpickled.append(".".join(map(str, arguments)))


sys.addaudithook(_listen)


def load_hostile_models(source: Path = DEFAULT_MODEL, hostile: Sequence[HostileModel] = ALL) -> Row:
    """Returns how many hostile models the library does not refuse as it should."""
    from sslmri.screening.screener import Screener

    def load(folder: Path) -> str:
        try:
            Screener.load(folder)
        except ModelError as error:
            return str(error)
        return "it was loaded"

    return _try("hostile models refused by the library", source, hostile, load)


def screen_with_hostile_models(source: Path = DEFAULT_MODEL, hostile: Sequence[HostileModel] = ALL) -> Row:
    """Returns how many hostile models the command line does not refuse with one line and exit code 1."""
    from sslmri import __main__

    def screen(folder: Path) -> str:
        words = ["sslmri", "screen", __file__, "--model", str(folder)]
        out, err = io.StringIO(), io.StringIO()
        with patch.object(sys, "argv", words), redirect_stdout(out), redirect_stderr(err):
            code = __main__.main()
        if code != 1 or out.getvalue():
            return f"exit code {code}"
        return sentence_of(err.getvalue())

    return _try("hostile models refused by the command line", source, hostile, screen)


def show_hostile_models(source: Path = DEFAULT_MODEL, hostile: Sequence[HostileModel] = ALL) -> Row:
    """Returns how many hostile models the dashboard shows otherwise than as one sentence, once a scan is given."""
    from streamlit.runtime.scriptrunner import script_runner
    from streamlit.testing.v1 import AppTest

    def run_router(path: str) -> None:
        runpy.run_path(path, run_name="__main__")  # as on a server: a test would run the page's file alone

    scan = (__file__, Path(__file__).read_bytes(), "image/png")

    def show(folder: Path) -> str:
        with patch.dict(os.environ, SSLMRI_MODEL=str(folder)), patch.object(script_runner, "_mpa_v1", run_router):
            page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
            if page.file_uploader:
                page = page.file_uploader[0].set_value([scan]).run()
        said = [str(element.value) for element in (*page.info, *page.error)]
        if page.exception or len(said) != 1:
            return f"the page says {said or page.exception}"
        return said[0].replace("\\", "").replace("\u2060", "")

    with patch.object(logging.getLogger(_BARE), "disabled", True):
        return _try("hostile models refused by the dashboard", source, hostile, show)


def sentence_of(said: str) -> str:
    """Returns the sentence in what the command line wrote on standard error; all of it, quoted, if it is more."""
    found = re.fullmatch(r"error: (.+)\n", said)
    return found[1] if found else repr(said)


def blame(model: HostileModel, sentence: str) -> str | None:
    """Returns what is wrong with the sentence by which a model was refused."""
    if not is_plain_sentence(sentence):
        return f"expected one sentence, got: {sentence[:_SHOWN]}"
    if model.blamed not in sentence:
        return f"expected a sentence on {model.blamed}, got: {sentence}"
    return None


def _try(hazard: str, source: Path, hostile: Sequence[HostileModel], refuse: Callable[[Path], str]) -> Row:
    from sslmri.screening.screener import Screener

    Screener.load(source)  # what is imported and set up once is no model's doing
    faults, longest, most = [], 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="sslmri-hostile-") as name:
        for number, model in enumerate(hostile):
            folder = Path(name) / f"model-{number}"
            copy_spoilt(source, folder, model)
            with _measured() as spent:
                sentence = _said(refuse, folder)
            longest, most = max(longest, spent[0]), max(most, spent[1])
            fault = _fault(model, sentence, folder, spent)
            if fault:
                faults.append(f"{model.name}: {fault}")
    measured = f"longest {longest:.1f} s (limit {MAX_S:.0f}), most memory {most:.0f} MB (limit {MAX_MB})"
    return row(hazard, len(hostile), faults, measured)


def _said(refuse: Callable[[Path], str], folder: Path) -> str:
    try:
        return refuse(folder)
    except Exception as error:  # what a model gets through to is its own fault; the next ones are tried
        return f"raised {error!r}"


def _fault(model: HostileModel, sentence: str, folder: Path, spent: Sequence[float]) -> str | None:
    if mark_of(folder).exists() or _unpickled:
        return f"something of it was run: {_unpickled}"
    if fault := blame(model, sentence):
        return fault
    if spent[0] > MAX_S or spent[1] > MAX_MB:
        return f"took {spent[0]:.1f} s and {spent[1]:.0f} MB"
    return None


@contextmanager
def _measured() -> Iterator[list[float]]:
    """Yields a list that holds, afterwards, the seconds and the MB that this process grew by at its highest."""
    forget_peak()
    spent, before, start = [0.0, 0.0], peak_mb(), time.monotonic()
    _unpickled.clear()
    yield spent
    spent[:] = time.monotonic() - start, peak_mb() - before
