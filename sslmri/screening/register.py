"""Readings kept in a database on request: what a reader sees on a scan, next to the model's verdict. No torch here."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sslmri.errors import RegisterError
from sslmri.logging_config import record

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

VARIABLE = "SSLMRI_REGISTER"  # names the database: sqlite:///readings.db, postgresql://user@host/database
_CONNECT_S = 10
_WAIT_S = 30  # for others who write
_DRIVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sqlite": ("sqlite+pysqlite", {"timeout": _WAIT_S, "isolation_level": None}),  # transactions begin below
    "postgresql": (
        "postgresql+psycopg",
        {"connect_timeout": _CONNECT_S, "options": f"-c statement_timeout={1000 * _WAIT_S}"},
    ),
}
# one writer at a time, so that what it finds is still true when it adds to it; the number is any that others do not use
_LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(1902453)"}


@dataclass(frozen=True)
class Reading:
    """What one reader sees on one scan for one disease; nothing in it names a patient.

    Attributes:
        scan_sha256, model_sha256: hashes of the file and of the model.
        disease: key of the disease.
        initials: of the reader.
        verdict: of the model at that time.
        reading: the class that the reader sees, ``OTHER`` or ``CANNOT_TELL``.
        read_at: when, UTC, ISO 8601.
    """

    scan_sha256: str
    model_sha256: str
    disease: str
    initials: str
    verdict: str
    reading: str
    read_at: str


_KEY = ("scan_sha256", "model_sha256", "disease", "initials")


def is_on() -> bool:
    """Returns whether this server keeps readings."""
    return bool(os.environ.get(VARIABLE))


def keep(readings: Sequence[Reading]) -> None:
    """Adds readings to the register, all or none of them.

    A reading that differs from the reader's last one of that scan, model and disease becomes the next version; one
    that is the same, or that is given again, adds nothing.

    Raises:
        RegisterError: none was added: the register cannot be used.
    """
    with _transaction() as connection:
        for reading in readings:
            earlier = _versions(connection, **{name: getattr(reading, name) for name in _KEY})
            is_repeated = earlier and replace(earlier[-1], read_at=reading.read_at) == reading
            if reading not in earlier and not is_repeated:
                connection.execute(_table().insert().values(version=len(earlier) + 1, **asdict(reading)))


def last_readings(model_sha256: str) -> list[Reading]:
    """Returns the last reading of each scan, disease and reader that was made with a model.

    Raises:
        RegisterError: the register cannot be used.
    """
    with _transaction() as connection:
        readings = _versions(connection, model_sha256=model_sha256)
    return list({(one.scan_sha256, one.disease, one.initials): one for one in readings}.values())


def _versions(connection: "Connection", **values: str) -> list[Reading]:
    """Returns the readings with these values, earlier versions first."""
    from sqlalchemy import select

    table = _table()
    columns = [table.c[name] for name in Reading.__dataclass_fields__]
    rows = connection.execute(select(*columns).filter_by(**values).order_by(table.c.version))
    return [Reading(**row._mapping) for row in rows]


@contextmanager
def _transaction() -> Iterator["Connection"]:
    """Yields a connection whose changes are made at the end, all or none, while nobody else writes."""
    try:
        from sqlalchemy.exc import SQLAlchemyError

        engine = _engine(os.environ[VARIABLE])
    except ImportError as error:
        raise RegisterError('The register needs SQLAlchemy and psycopg: run pip install "sslmri[register]".') from error
    try:
        with engine.begin() as connection:
            _prepare(connection)
            yield connection
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        record("register failed", reason=reason)
        raise RegisterError("The register cannot be read or written: the server's log says why.") from error


def _prepare(connection: "Connection") -> None:
    """Begins to write, makes the table where there is none, and refuses one of another layout."""
    from sqlalchemy import inspect

    backend, table = connection.dialect.name, _table()
    # WAL: a kill at any moment leaves the database whole
    if backend == "sqlite" and connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar() != "wal":
        raise RegisterError(f"{VARIABLE} must name a file on a disk of this host: sqlite:////folder/readings.db.")
    connection.exec_driver_sql(_LOCKS[backend])
    table.metadata.create_all(connection)
    if {column["name"] for column in inspect(connection).get_columns(table.name)} != set(table.c.keys()):
        raise RegisterError(
            f"The table {table.name} of the register has another layout: name another database in {VARIABLE}."
        )


@lru_cache(maxsize=1)
def _engine(address: str) -> "Engine":
    from sqlalchemy import NullPool, create_engine, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
        driver, options = _DRIVERS[url.get_backend_name()]
    except (ArgumentError, ValueError, KeyError) as error:
        raise RegisterError(
            f"{VARIABLE} must be the address of a database: sqlite:////folder/readings.db or "
            "postgresql://user:password@host/database."
        ) from error
    return create_engine(url.set(drivername=driver), poolclass=NullPool, connect_args=options)


@cache
def _table() -> "Table":
    from sqlalchemy import Column, Integer, MetaData, String, Table

    key = [Column(name, String, primary_key=True) for name in _KEY]
    values = [Column(name, String, nullable=False) for name in Reading.__dataclass_fields__ if name not in _KEY]
    return Table("readings", MetaData(), *key, Column("version", Integer, primary_key=True), *values)
