"""The register: readings of many sessions at once, on SQLite and on a real PostgreSQL server, none lost or doubled."""

import itertools
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sslmri.diseases import DISEASES
from sslmri.errors import RegisterError
from sslmri.screening import register
from sslmri.screening.register import VARIABLE, Reading

ROOT = Path(__file__).resolve().parents[1]
POSTGRES = Path("/usr/lib/postgresql/15/bin")
READERS, SCANS = 20, 3
READING = Reading("scan", "model", "ms", "AB", "flagged", "normal", "2026-11-30T12:00:00+00:00")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Returns the address of a database on a PostgreSQL server of its own."""
    if os.geteuid() != 0 or not (POSTGRES / "initdb").exists():
        pytest.skip(f"only root can start a PostgreSQL server as user postgres, from {POSTGRES}")
    folder = Path(tempfile.mkdtemp(prefix="register-"))  # pytest's own folders are closed to other users
    shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", str(POSTGRES / program)]
        subprocess.run([*command, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60)

    run("initdb", "--no-sync", "--auth=trust", "-D", str(data))
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    run("pg_ctl", "start", "--wait", "-D", str(data), "-l", str(folder / "log"), "-o", options)
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "-m", "immediate", "-D", str(data))
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns the address of an empty register, which this process now uses."""
    sqlite = f"sqlite:///{tmp_path}/readings.db"
    named = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres")
    monkeypatch.setenv(VARIABLE, named)
    with register._transaction() as connection:
        connection.exec_driver_sql("DELETE FROM readings")
    return named


def rows() -> list[tuple[str, str, str, int]]:
    """Returns scan, reader, disease and version of every reading in the register."""
    with register._transaction() as connection:
        found = connection.exec_driver_sql("SELECT scan_sha256, initials, disease, version FROM readings")
        return sorted((row[0], row[1], row[2], row[3]) for row in found)


def test_a_server_killed_amid_readings_of_twenty_sessions_loses_none_and_doubles_none(address: str) -> None:
    command = [sys.executable, "-m", "tests.register_writer", str(READERS), str(SCANS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        recorded = [server.stdout.readline() for _ in range(READERS * SCANS // 4)]
        server.kill()
        recorded += server.stdout.readlines()
    kept = {f"{scan} {reader}\n" for scan, reader, *_ in rows()}
    assert set(recorded) <= kept
    assert len(kept) < READERS * SCANS
    assert len(rows()) == len(kept) * len(DISEASES)  # of each scan all or none
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    every = itertools.product(range(SCANS), range(READERS), DISEASES)
    assert rows() == sorted((f"scan{scan}", f"R{reader}", disease, 1) for scan, reader, disease in every)


def test_a_reading_given_again_adds_nothing_and_a_corrected_one_is_the_next_version(address: str) -> None:
    corrected = replace(READING, reading="multiple_sclerosis", read_at="2026-11-30T12:01:00+00:00")
    for reading in (READING, READING, replace(READING, read_at="2026-11-30T12:00:30+00:00"), corrected, READING):
        register.keep([reading])
    register.keep([replace(READING, initials="CD"), replace(READING, disease="tumours")])
    assert [row[1:] for row in rows()] == [
        *(("AB", "ms", 1), ("AB", "ms", 2), ("AB", "tumours", 1), ("CD", "ms", 1)),
    ]
    last = register.last_readings("model")
    assert set(last) == {corrected, replace(READING, initials="CD"), replace(READING, disease="tumours")}
    assert register.last_readings("another model") == []


def test_readings_recorded_together_are_kept_together_or_not_at_all(address: str) -> None:
    with pytest.raises(RegisterError, match="cannot be read or written"):
        register.keep([READING, replace(READING, disease="tumours", verdict=None)])  # type: ignore[arg-type]
    assert rows() == []


def test_a_register_that_is_locked_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path}/readings.db")
    register.keep([READING])
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sqlite3, sys, time\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
         "c.execute('BEGIN IMMEDIATE'); print(flush=True); time.sleep(1)", str(tmp_path / "readings.db")],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout
    with holder:
        holder.stdout.readline()
        started = time.monotonic()
        register.keep([replace(READING, initials="CD")])
    assert time.monotonic() - started > 0.5
    assert len(rows()) == 2


UNUSABLE = {
    "hello": "must be the address of a database",
    "mysql://host/readings": "must be the address of a database",
    "postgresql://host:port/readings": "must be the address of a database",
    "sqlite://": "must name a file on a disk",
    "sqlite:///{folder}/none/readings.db": "cannot be read or written: the server's log says why",
    "sqlite:///{folder}": "cannot be read or written",
    "sqlite:///{folder}/text.db": "cannot be read or written",
    "sqlite:///{folder}/other.db": "The table readings of the register has another layout: name another database",
    "postgresql://reader:secret@127.0.0.1:1/readings": "cannot be read or written",
}


@pytest.mark.parametrize("named", UNUSABLE)
def test_a_register_that_cannot_be_used_is_refused_in_one_sentence(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.db").write_text("no database, but longer than the header of one " * 40)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE readings (book TEXT)")
    monkeypatch.setenv(VARIABLE, named.format(folder=tmp_path))
    with pytest.raises(RegisterError, match=UNUSABLE[named]) as error:
        register.keep([READING])
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "sqlite:///readings.db")
    monkeypatch.setitem(sys.modules, "sqlalchemy.exc", None)
    with pytest.raises(RegisterError, match=r'run pip install "sslmri\[register\]"'):
        register.keep([READING])
