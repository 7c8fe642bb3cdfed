"""The server's own lines: JSON, with the class and place of a fault, and never its words."""

import json
import logging
import subprocess
import sys

from sslmri.logging_config import JsonLines, record

_OTHERS = """
import logging, sys, threading, warnings
from sslmri.dashboard.server.streamlit_internals import route_logs
from sslmri.logging_config import install, record
record("before")
route_logs(install())
record("screening", id="a1", outcome="screened")
from streamlit.logger import get_logger
log = get_logger("streamlit.error_util")
def decode():
    raise KeyError("DOE^JANE")
try:
    decode()
except KeyError as error:
    log.error("Uncaught app execution", exc_info=error)
    logging.getLogger("anything.else").error("later", exc_info=True)
thread = threading.Thread(target=decode)
thread.start()
thread.join()
warnings.warn("DOE^JANE is odd")
logging.getLogger("asyncio").error("Task exception was never retrieved\\nfuture: KeyError('DOE^JANE')")
get_logger("streamlit.auth").warning("The provider said %s", "jane DOE is not assigned")
get_logger("uvicorn.access").info("127.0.0.1 GET /?name=DOE")
"""


def test_every_logger_writes_lines_of_json_and_no_words_of_a_fault():
    done = subprocess.run([sys.executable, "-c", _OTHERS], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines[:4]] == ["screening", "Uncaught app execution", "later", "thread died"]
    assert (lines[4]["event"], lines[4]["warning"], lines[4]["where"]) == ("warning", "UserWarning", ["<string>:20"])
    assert [line["event"] for line in lines[5:]] == ["Task exception was never retrieved", "The provider said %s"]
    assert all(line["error"] == "KeyError" and line["where"] for line in lines[1:4])
    assert lines[1]["where"][-1] == "<string>:11"
    assert "DOE" not in done.stderr + done.stdout


def test_a_line_says_when_what_and_the_fields():
    written = logging.LogRecord("sslmri.logging_config", logging.INFO, "f", 1, "start", (), None)
    written.fields = {"model": "a"}
    line = json.loads(JsonLines().format(written))
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "info", "logger": "sslmri.logging_config", "event": "start", "model": "a"}


def test_a_library_that_was_not_told_to_writes_nothing(capfd):
    record("screening", id="a1")
    assert capfd.readouterr().err == ""
