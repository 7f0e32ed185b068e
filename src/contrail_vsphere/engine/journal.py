"""What must survive the process, and no more: desired state, and intents written before they are acted on.

One SQLite file of JSON records, by kind and key. Each write is on disk when the call returns (WAL, synchronous=FULL),
so after kill -9 or a power cut the journal holds all that was acknowledged, and of a transaction all or nothing.
Calls are synchronous and take about a millisecond: records are few and small.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from contrail_vsphere.model.errors import Busy, Conflict, JournalError

APPLICATION_ID = 0x43565331
"""Marks the file as ours ("CVS1"), so that another program's database is not taken for a journal."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE records (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        value TEXT NOT NULL,
        written TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID
    """,
)
"""Statement n brings a file of schema n to n + 1; a released one is never edited."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as last written; ``version`` counts its writes from 1."""

    kind: str
    key: str
    version: int
    value: dict[str, Any]
    written: datetime


class RecordStore(Protocol):
    """What a controller needs of a journal: in one file (``Journal``), or in ZooKeeper where a standby reads it too.

    Writes count at once for readers of this process; they survive it when ``durable`` has returned.
    """

    def get(self, kind: str, key: str) -> Record | None:
        """One record, or None."""
        ...

    def items(self, kind: str) -> tuple[Record, ...]:
        """All records of a kind, by key."""
        ...

    def each(self, kind: str) -> Iterator[Record]:
        """The same one by one, for kinds with thousands; nothing may be written before it has ended."""
        ...

    def put(self, kind: str, key: str, value: Mapping[str, Any], *, expect: int | None = None) -> int:
        """Write a record and return its new version."""
        ...

    def put_many(self, kind: str, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Write several records of a kind, all or none."""
        ...

    def delete(self, kind: str, key: str, *, expect: int | None = None) -> bool:
        """Remove a record; return whether it was there."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All writes inside, or none."""
        ...

    async def durable(self) -> None:
        """Return once everything written so far would survive the process."""
        ...


class Journal:
    """The journal in one file, made (mode 0600) if it does not exist.

    ``exclusive`` holds the file for this process alone: a second opener gets ``Busy``. Raises ``JournalError`` for a
    file that is corrupt, not a journal, or written by a newer version.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime], exclusive: bool = False) -> None:
        self.path = path
        self._now = now
        self._depth = 0
        try:
            _make_private(path)
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}", hint="check manager.data_dir") from error
        # Autocommit mode: transactions are ours to begin and end.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        try:
            self._open(exclusive=exclusive)
        except BaseException:
            self._db.close()
            raise

    def get(self, kind: str, key: str) -> Record | None:
        """One record, or None."""
        row = self._execute(f"{_SELECT} WHERE kind = ? AND key = ?", kind, key).fetchone()
        return None if row is None else self._record(row)

    def items(self, kind: str) -> tuple[Record, ...]:
        """All records of a kind, by key."""
        return tuple(self.each(kind))

    def each(self, kind: str) -> Iterator[Record]:
        """The same one by one, for kinds with thousands; nothing may be written before it has ended."""
        rows = self._execute(f"{_SELECT} WHERE kind = ? ORDER BY key", kind)
        while True:
            with self._door():
                row = rows.fetchone()
            if row is None:
                return
            yield self._record(row)

    def everything(self) -> tuple[Record, ...]:
        """All records, by kind and key."""
        return tuple(self._record(row) for row in self._execute(f"{_SELECT} ORDER BY kind, key").fetchall())

    def put(self, kind: str, key: str, value: Mapping[str, Any], *, expect: int | None = None) -> int:
        """Write a record and return its new version.

        ``expect`` is the version it must have now (0: it must not exist); ``Conflict`` if it has another.
        """
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        with self.transaction():
            version = self._version(kind, key)
            _check(kind, key, version, expect)
            self._execute(_UPSERT, kind, key, version + 1, text, self._now().isoformat())
        return version + 1

    def put_many(self, kind: str, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Write several records of a kind, all or none."""
        with self.transaction():
            for key, value in values.items():
                self.put(kind, key, value)

    def delete(self, kind: str, key: str, *, expect: int | None = None) -> bool:
        """Remove a record; return whether it was there. ``expect`` as in ``put``."""
        with self.transaction():
            _check(kind, key, self._version(kind, key), expect)
            return self._execute("DELETE FROM records WHERE kind = ? AND key = ?", kind, key).rowcount > 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside become durable together when the outermost block ends, or none if it raises.

        Never await inside: another coroutine's writes would join.
        """
        if self._depth:
            yield
            return
        self._execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._execute("ROLLBACK")
            raise
        finally:
            self._depth -= 1

    async def durable(self) -> None:
        """At once: every write is on disk when its call returns."""

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, *, exclusive: bool) -> None:
        if exclusive:
            self._execute("PRAGMA locking_mode = EXCLUSIVE")
        self._execute("PRAGMA journal_mode = WAL")
        self._execute("PRAGMA synchronous = FULL")
        finding = str(self._execute("PRAGMA quick_check(1)").fetchone()[0])
        if finding != "ok":
            raise JournalError(f"{self.path} is damaged: {finding}", hint=_RESTORE)
        with self.transaction():
            self._migrate()

    def _migrate(self) -> None:
        schema = int(self._execute("PRAGMA user_version").fetchone()[0])
        mark = int(self._execute("PRAGMA application_id").fetchone()[0])
        tables = int(self._execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
        if mark != APPLICATION_ID and (schema or tables):
            raise JournalError(f"{self.path} is a database, but not a journal of ours", hint="check manager.data_dir")
        if schema > len(MIGRATIONS):
            raise JournalError(
                f"{self.path} has schema {schema}, this version knows {len(MIGRATIONS)}",
                hint="it was written by a newer version: run that one, or restore a backup",
            )
        for statement in MIGRATIONS[schema:]:
            self._execute(statement)
        if schema < len(MIGRATIONS):
            self._execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _version(self, kind: str, key: str) -> int:
        row = self._execute("SELECT version FROM records WHERE kind = ? AND key = ?", kind, key).fetchone()
        return 0 if row is None else int(row[0])

    def _record(self, row: tuple[str, str, int, str, str]) -> Record:
        kind, key, version, text, written = row
        try:
            return Record(kind, key, version, json.loads(text), datetime.fromisoformat(written))
        except ValueError as error:
            raise JournalError(f"{self.path}: {kind} {key} cannot be read: {error}", hint=_RESTORE) from error

    def _execute(self, statement: str, *parameters: str | int) -> sqlite3.Cursor:
        with self._door():
            return self._db.execute(statement, parameters)

    @contextmanager
    def _door(self) -> Iterator[None]:
        """The one door to SQLite, where its errors become ours."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise JournalError(f"{self.path}: {error}") from error
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Busy(f"{self.path} is in use by another process", hint="is a manager already running?") from error
            raise JournalError(f"{self.path}: {error}", hint="check its directory: access and free space") from error
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{self.path} is damaged: {error}", hint=_RESTORE) from error


_SELECT = "SELECT kind, key, version, value, written FROM records"
_UPSERT = (
    "INSERT INTO records (kind, key, version, value, written) VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, key)"
    " DO UPDATE SET version = excluded.version, value = excluded.value, written = excluded.written"
)
_RESTORE = "move the file away and restore a backup"


def _check(kind: str, key: str, version: int, expect: int | None) -> None:
    if expect is not None and version != expect:
        raise Conflict(f"{kind} {key} has version {version}, not {expect}", hint="read it again")


def _make_private(path: Path) -> None:
    """Create or tighten to 0600; SQLite gives its -wal and -shm files the mode of the main file."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
