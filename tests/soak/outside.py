"""What the server tries to reach: run in a network of its own, without a way out, whose kernel counts every try.

``connections`` starts this module inside that network; it prints how many tries the kernel counted during a visit of
every page with an upload, and how many for two tries made on purpose afterwards, to show that it counts. The server
listens on all addresses, as in its container: Streamlit then asks the internet for an address of its own to print,
unless ``browser.serverAddress`` is set.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from sslmri.project import DEFAULT_MODEL
from tests.harness.client import visit
from tests.harness.server import ROOT
from tests.soak.result import Row, row
from tests.soak.samples import KINDS, sample
from tests.soak.sessions import dashboard

PAGES = {
    "": "Screening", "cohort": "Cohort", "data": "Data", "performance": "Performance", "encoder": "Encoder",
    "about": "About this model",
}  # fmt: skip
_MOST_S = 600  # for all visits
_ELSEWHERE = ("203.0.113.9", 9)  # an address of documentation (RFC 5737): it is nobody's
_INSIDE = 'ip link set lo up && mount --bind "$1" /etc/resolv.conf && exec "$2" -m tests.soak.outside "$3"'


def connections(n_uploads: int = len(KINDS), model: Path = DEFAULT_MODEL) -> Row:
    """Returns how often the server tried to reach anything but this machine while it was visited."""
    hazard = "connections that the server tries to make to elsewhere, while every page is seen and scans are screened"
    if not can_unshare():
        return row(hazard, 0, [], "this machine lets nobody make a network of their own")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
        resolver.write(f"nameserver {_ELSEWHERE[0]}\n")  # a question for a name is a try too
        resolver.flush()
        command = ("unshare", "-rnm", "sh", "-c", _INSIDE, "sh", resolver.name, sys.executable, f"{model}:{n_uploads}")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_MOST_S, check=False)
    if done.returncode:
        return row(hazard, 1, [f"the visit broke: {done.stderr.strip()[-200:]}"])
    found = json.loads(done.stdout)
    faults = [f"{found['tries']} tries"] * (found["tries"] > 0) + ["nothing is counted"] * (found["on_purpose"] < 2)
    counted = f"kernel counted {found['tries']}, and {found['on_purpose']} of 2 made on purpose"
    return row(hazard, len(PAGES) + n_uploads, faults, counted)


def can_unshare() -> bool:
    """Returns whether this machine lets its users make networks of their own."""
    return (
        shutil.which("unshare") is not None
        and subprocess.run(("unshare", "-rnm", "true"), capture_output=True, timeout=60, check=False).returncode == 0
    )


def _tries() -> int:
    """Returns how often something in this network asked for a way to an address that has none."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text(encoding="ascii").splitlines()]
    names, values = (line for line in lines if line[0] == "Ip:")
    lines = [line.split() for line in Path("/proc/net/snmp6").read_text(encoding="ascii").splitlines()]
    return int(values[names.index("OutNoRoutes")]) + sum(int(v) for name, v in lines if name == "Ip6OutNoRoutes")


def _visit_all(model: Path, n_uploads: int) -> None:
    with dashboard(model, STREAMLIT_SERVER_ADDRESS="0.0.0.0") as server:
        for page, title in PAGES.items():
            with visit(server.address, page) as visitor:
                if title not in visitor.words():
                    raise LookupError(f"Expected {title} on the page, got {visitor.words()[:200]}")
        with visit(server.address) as visitor:
            for number in range(n_uploads):
                visitor.upload(sample(KINDS[number % len(KINDS)], number, "outside"))
                visitor.download("Report, PDF")


def main(argument: str) -> None:
    """Prints one object of JSON: the tries of the server, and those made on purpose."""
    model, n_uploads = argument.rsplit(":", 1)
    _visit_all(Path(model), int(n_uploads))
    tries = _tries()
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with suppress(OSError), socket.socket(socket.AF_INET, kind) as made:
            made.connect(_ELSEWHERE)
    print(json.dumps({"tries": tries, "on_purpose": _tries() - tries}))


if __name__ == "__main__":
    main(sys.argv[1])
