"""Hostile models in processes of their own: the command line refuses each, the server lives on and serves none."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from sslmri.dashboard.text import escape_markdown
from sslmri.project import DEFAULT_MODEL
from tests.harness.client import visit
from tests.harness.server import ROOT, Server, serve
from tests.soak.hostile_models import ALL, HostileModel, copy_spoilt, mark_of
from tests.soak.models import blame, sentence_of
from tests.soak.result import Row, row
from tests.soak.samples import sample

_NAMES = (
    "a pickle named as weights",
    "a byte of encoder.safetensors changed",
    "weights of another shape",
    "a head without weights",
    "header of 2**63 bytes",
)
SERVED = tuple(model for model in ALL if model.name in _NAMES)
_PATIENCE_S = 60  # until a process has loaded torch and looked at the model
_SCAN = "scan.png"
_HEALTHY = 200, "ok"
_REFUSED = 503, {"status": "no model"}


def serve_hostile_models(source: Path = DEFAULT_MODEL, hostile: Sequence[HostileModel] = SERVED) -> Row:
    """Returns how many hostile models a process of the command line, or the real server, does not refuse as it should.

    The server is asked for its health and for a page; a scan is given where the page takes one.
    """
    faults = []
    with tempfile.TemporaryDirectory(prefix="sslmri-served-") as name:
        scan = Path(name) / _SCAN
        scan.write_bytes(sample("PNG", 0, "plain")[1])
        for number, model in enumerate(hostile):
            folder = Path(name) / f"model-{number}"
            copy_spoilt(source, folder, model)
            found = [*_screen(model, folder), *_serve(model, folder)]
            found += ["something of it was run"] * mark_of(folder).exists()
            faults += [f"{model.name}: {'; '.join(found)}"] if found else []
    return row(
        "hostile models refused by a process of the command line, by the server and its page", len(hostile), faults
    )


def _compiled(folder: Path) -> dict[str, str]:
    """Returns the variables by which each process finds what the first of them compiled: torch is large."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder.with_name("compiled"))}


def _screen(model: HostileModel, folder: Path) -> Iterator[str]:
    """Yields what is wrong with a process that screens a scan with the model."""
    command = (sys.executable, "-m", "sslmri", "screen", folder.with_name(_SCAN), "--model", folder)
    env = os.environ | _compiled(folder)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    if done.returncode != 1 or done.stdout:
        yield f"the command line ended with {done.returncode} and printed {len(done.stdout)} letters"
    elif fault := blame(model, sentence_of(done.stderr)):
        yield f"the command line: {fault}"


def _serve(model: HostileModel, folder: Path) -> Iterator[str]:
    """Yields what is wrong with a server of the model."""
    log = folder.with_suffix(".log")
    with serve("run", "app.py", log=log, SSLMRI_MODEL=str(folder), **_compiled(folder)) as server:
        reason = _tried(server)
        if fault := blame(model, reason):
            yield f"the server's log: {fault}"
        if (health := _ask(f"{server.address}/health")) != _REFUSED:
            yield f"/health answers {health}"
        with visit(server.address) as visitor:
            if escape_markdown(reason) not in visitor.words():
                visitor.upload((_SCAN, folder.with_name(_SCAN).read_bytes()))
            if escape_markdown(reason) not in visitor.words():
                yield f"the page says {visitor.words()[-200:]!r}"
        if (alive := _ask(f"{server.address}/_stcore/health")) != _HEALTHY:
            yield f"the server answers {alive} afterwards"
    lines = log.read_text(encoding="utf-8").splitlines()
    yield from [f"in the log: {line[:200]}" for line in lines if not line.startswith("{") or '"where": ' in line]


def _tried(server: Server) -> str:
    """Returns why the server has no model, by its log, once it has tried to load it."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        for told in server.events():
            if told["event"] in ("no model", "model loaded"):
                return str(told.get("reason", "it was loaded"))
        time.sleep(0.1)
    return "nothing was said"


def _ask(address: str) -> tuple[int, object]:
    """Returns the code and the content with which the server answers, JSON read."""
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE_S) as answer:
            code, said = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        code, said = error.code, error.read()
    return code, json.loads(said) if said.startswith(b"{") else said.decode()
