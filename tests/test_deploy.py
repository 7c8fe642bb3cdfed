"""Deployment: the Dockerfile and the service file, checked and run without Docker."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit import config
from streamlit.config import get_config_options
from streamlit.web import bootstrap

from tests.pages import png

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
SERVICE = DEPLOY / "sslmri.service"
NOBODY = "65534"
MAX_EXPOSURE = 2.0  # of 10, as systemd rates a unit
IGNORED = shutil.ignore_patterns("__pycache__", "pretrain", "finetune", "label-efficiency", "secrets.toml")

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def instructions() -> list[tuple[str, str]]:
    """Returns the instructions of the Dockerfile with their arguments."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in lines)]


def last(name: str) -> str:
    return next(rest for word, rest in reversed(instructions()) if word == name)


def copied() -> list[tuple[str, str]]:
    """Returns each source of the project with its place in the working folder of the image's last stage."""
    found = []
    for name, rest in instructions():
        if name == "FROM":
            found.clear()
        if name == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            found += [(source, source if target.endswith("/") else target) for source in sources]
    return found


def variables() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(last("ENV")))


def is_tracked_or_new(path: Path) -> bool:
    ignored = ["git", "check-ignore", "--quiet", str(path)]
    return subprocess.run(ignored, cwd=ROOT, check=False).returncode == 1


def test_what_the_image_copies_is_in_the_repository():
    assert {"app.py", "pages", "sslmri", ".streamlit", "models/default"} <= {source for source, _ in copied()}
    for source, target in copied():
        assert (ROOT / source).exists(), source
        assert is_tracked_or_new(ROOT / source), source
        assert target == source


def test_the_image_takes_neither_secrets_nor_data_nor_checkpoints():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert kept == {
        "app.py", "LICENCES.md", "requirements.txt", ".streamlit/config.toml", "pages/*.py", "sslmri", "models/default",
    }  # fmt: skip
    assert {"models/*/pretrain", "models/*/finetune", "models/*/label-efficiency"} <= set(rules)


def test_the_image_starts_what_make_app_starts_as_a_user_without_rights():
    assert last("USER") == f"{NOBODY}:{NOBODY}"
    recipe = (ROOT / "Makefile").read_text().partition("\napp:")[2]
    assert " ".join(json.loads(last("CMD"))) in recipe
    assert (last("STOPSIGNAL"), last("EXPOSE")) == ("SIGTERM", "8501")
    assert variables()["SSLMRI_MODEL"] in {target for _, target in copied()}


def test_only_the_image_listens_beyond_its_machine_and_only_inside_its_container():
    assert variables()["STREAMLIT_SERVER_ADDRESS"] == "0.0.0.0"
    assert "0.0.0.0" not in SERVICE.read_text() + (ROOT / ".streamlit" / "config.toml").read_text()


def test_the_image_asks_for_the_health_that_the_app_tells():
    from sslmri.dashboard.server.lifespan import ROUTES

    (path,) = re.findall(r"http://127\.0\.0\.1:8501(/[\w/]+)", last("HEALTHCHECK"))
    assert path in {route.path for route in ROUTES}


@needs_systemd
def test_the_service_file_is_understood_by_systemd(tmp_path):
    text = SERVICE.read_text().replace("/opt/sslmri/.venv/bin/streamlit", "/bin/true")
    (tmp_path / SERVICE.name).write_text(text)
    command = ["systemd-analyze", "verify", str(tmp_path / SERVICE.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    said = [line for line in done.stderr.splitlines() if SERVICE.name in line]
    assert (done.returncode, said) == (0, [])


@needs_systemd
def test_the_service_is_hardly_exposed_by_the_measure_of_systemd():
    command = ["systemd-analyze", "security", "--offline=true", str(SERVICE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    (exposure,) = re.findall(r"Overall exposure level for sslmri\.service: ([\d.]+)", done.stdout)
    assert float(exposure) <= MAX_EXPOSURE


def test_the_page_on_deployment_names_settings_that_exist():
    text = (ROOT / "docs" / "deploy.md").read_text()
    for option in ("server.allowedHosts", "server.trustedUserHeaders", "secrets.files"):
        assert option in get_config_options()
    assert len(re.findall(r"STREAMLIT_SERVER_ALLOWED_HOSTS=.?localhost 127\.0\.0\.1 scans\.example\.org", text)) == 3
    assert tomllib.loads(text.partition("secrets.toml`:\n\n```\n")[2].partition("```")[0]).keys() == {"auth", "access"}


def test_the_service_starts_what_make_app_starts():
    assert re.search(r"^ExecStart=/opt/sslmri/\.venv/bin/streamlit run app\.py$", SERVICE.read_text(), re.M)


def test_a_server_that_listens_beyond_its_machine_asks_nobody_for_its_address(monkeypatch):
    """Streamlit's welcome does, unless it is told an address or says no welcome; logs are lines of JSON alone then."""
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert settings["browser"]["serverAddress"] == "localhost"
    assert variables()["STREAMLIT_LOGGER_HIDE_WELCOME_MESSAGE"] == "true"
    assert "STREAMLIT_LOGGER_HIDE_WELCOME_MESSAGE=true" in SERVICE.read_text()
    asked = []
    monkeypatch.setattr(bootstrap.net_util, "get_external_ip", lambda: asked.append("outside"))
    monkeypatch.setattr(bootstrap.net_util, "get_internal_ip", lambda: asked.append("inside"))
    known = {"server.address": "0.0.0.0", "server.headless": True, "logger.hideWelcomeMessage": False}
    real = config.get_option
    monkeypatch.setattr(config, "get_option", lambda key: known.get(key, real(key)))
    monkeypatch.setattr(config, "is_manually_set", lambda key: key in ("browser.serverAddress", "server.address"))
    bootstrap._print_url(is_running_hello=False)
    assert asked == []


# As the image: a root that cannot be written to, an empty home, and one folder for temporary files.
_CONTAIN = """set -e
mount --make-rprivate /
mkdir -p "$WORK/python"
mount --bind "$PYTHON" "$WORK/python"
case "$PYTHON" in /root/*) mount -t tmpfs -o mode=755 none /root; mkdir -p "$PYTHON";; esac
mount --bind "$WORK/python" "$PYTHON"
mount --bind "$WORK/image" /mnt
mount --bind "$VENV" /media
mount -t tmpfs -o mode=1777 none /tmp
case "$VENV" in /tmp/*) mkdir -p "$VENV"; mount --bind /media "$VENV";; esac
mount -o remount,bind,ro /
cd /mnt
exec setpriv --reuid "$NOBODY" --regid "$NOBODY" --clear-groups --no-new-privs --bounding-set=-all "$@"
"""


def contained(work: Path, *command: str, **env: str) -> "subprocess.Popen[bytes]":
    """Starts a command as the image would; its process is that of the command."""
    python = Path(sys.executable).resolve().parents[1]
    paths = {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin"}
    inside = {key: value for key, value in variables().items() if key != "PATH"} | env
    outside = paths | {"WORK": str(work), "PYTHON": str(python), "VENV": sys.prefix, "NOBODY": NOBODY}
    words = ["env", "-i", *(f"{key}={value}" for key, value in (paths | inside).items()), *command]
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _CONTAIN, "sh", *words], env=outside, stderr=(work / "log").open("wb")
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Returns a folder with a copy, in ``image``, of what the recipe copies."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("only root can start a process as another user, on a root of its own")
    work = tmp_path_factory.mktemp("deploy")
    for source, target in copied():
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        (work / "image" / target).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / source, work / "image" / target, **({"ignore": IGNORED} if copy is shutil.copytree else {}))
    (work / "image" / "scan.png").write_bytes(png())
    if contained(work, "true").wait(30):
        pytest.skip("no mounts of one's own on this machine")
    yield work
    shutil.rmtree(work)


def test_the_command_of_the_image_serves_and_stops_as_a_user_who_can_write_nothing(image):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = contained(
        image, *json.loads(last("CMD")), STREAMLIT_SERVER_ADDRESS="127.0.0.1", STREAMLIT_SERVER_PORT=str(port)
    )
    try:
        status = Path(f"/proc/{server.pid}/status")
        assert json.loads(wait_for(server, f"{address}/health"))["model"]["name"] == "default"
        assert re.search(rf"^Uid:\s+{NOBODY}\s+{NOBODY}", status.read_text(), re.M)
        assert b"<html" in urllib.request.urlopen(f"{address}/about", timeout=10).read()
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) in (0, -signal.SIGTERM)  # both a clean end to systemd and to an engine
    finally:
        server.kill()
    log = (image / "log").read_text()
    assert '"event": "stop"' in log.splitlines()[-1]
    assert "Error" not in log


def test_a_scan_is_read_by_a_user_who_can_write_nothing(image):
    read = "from sslmri.scans import read_scan; read_scan(open('scan.png', 'rb').read(), 'scan.png')"
    assert contained(image, "python", "-c", read).wait(60) == 0, (image / "log").read_text()
    assert contained(image, "python", "-c", "open('/mnt/x', 'w')").wait(60) == 1
    assert "/mnt/x" in (image / "log").read_text()


def wait_for(server: "subprocess.Popen[bytes]", address: str) -> bytes:
    """Returns what an address answers once it answers well."""
    deadline = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < deadline:
        try:
            return bytes(urllib.request.urlopen(address, timeout=5).read())
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"no answer from {address}")
