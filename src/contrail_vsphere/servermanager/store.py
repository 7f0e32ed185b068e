"""The database: opened, migrated, and entered one unit of work at a time.

SQLite in WAL mode for one machine, PostgreSQL by URL for more. Everything here blocks: callers are on a thread. A unit
of work that writes takes SQLite's write lock at its start, so that it cannot fail half-way for another writer; on
both databases two people's changes to one object meet at its version, and the second gets ``Conflict``.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from contrail_vsphere.model.errors import (
    AlreadyExists,
    Busy,
    Conflict,
    ContrailVsphereError,
    InvalidState,
    JournalError,
    SettingsError,
    Unreachable,
)

BUSY_TIMEOUT = 10.0
"""Seconds that a unit of work waits for SQLite's write lock."""

_MIGRATIONS = Path(__file__).parent / "migrations"


class Store:
    """One database. ``url`` is SQLAlchemy's; ``password`` is kept apart from it, so that the URL may be logged."""

    def __init__(self, url: str, *, now: Callable[[], datetime], password: str = "") -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise SettingsError(
                "the database URL is not one", hint="sqlite:////var/lib/x.db or postgresql://u@h/db"
            ) from error
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise SettingsError(
                f"databases of kind {parsed.get_backend_name()} are not known", hint="SQLite, PostgreSQL"
            )
        if password:
            parsed = parsed.set(password=password)
        self.now = now
        self._count = itertools.count(1)
        self.written = 0
        """Grows with every unit of work that this process wrote."""
        self.listeners: set[Callable[[], None]] = set()
        """Called on a thread of any kind after each."""
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if not parsed.database or parsed.database == ":memory:":
                raise SettingsError("the SQLite database needs a file")
            options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT}}
        else:
            options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
        self.engine = create_engine(parsed, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    def migrate(self) -> None:
        """Bring the schema up to this version's; ``JournalError`` if a newer one wrote it."""
        with _translated(), self.engine.execution_options(writes=True).begin() as connection:
            here = MigrationContext.configure(connection).get_current_revision()
            script = ScriptDirectory(str(_MIGRATIONS))
            known = {each.revision for each in script.walk_revisions()}
            if here is not None and here not in known:
                raise JournalError(
                    f"the database has schema {here}, which this version does not know", hint="upgrade this program"
                )
            command.upgrade(_alembic(connection), "head")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent view; changes are not kept."""
        with _translated(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A unit of work: all of it is kept, or with any exception nothing."""
        engine = self.engine.execution_options(writes=True)
        with _translated(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session
        self.written = next(self._count)
        for listener in tuple(self.listeners):
            listener()

    def close(self) -> None:
        """End all connections."""
        self.engine.dispose()


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours, see below
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ContrailVsphereError:
        raise
    except StaleDataError as error:
        raise Conflict("somebody else changed the object meanwhile", hint="read it again, then retry") from error
    except IntegrityError as error:
        raise _integrity(error) from error
    except OperationalError as error:
        text = str(error.orig).splitlines()[0]
        if "locked" in text:
            raise Busy("the database is busy", hint="try again") from error
        raise Unreachable(f"the database does not answer: {text}", hint="check its address and that it runs") from error
    except DBAPIError as error:
        raise JournalError(f"the database refused: {str(error.orig).splitlines()[0]}") from error


def _integrity(error: IntegrityError) -> ContrailVsphereError:
    text = str(error.orig)
    if "foreign key" in text.lower():
        return InvalidState("something else refers to it, or it refers to what is not there")
    return AlreadyExists(f"already there: {text.splitlines()[0]}")
