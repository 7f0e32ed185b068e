"""The journal where a standby must read it: records in ZooKeeper, all of them in memory too, as they are written there.

Reading and writing have the shape of ``engine.journal``: they are synchronous and count at once. What was written is
in ZooKeeper when ``durable`` returns; whoever acts on a record awaits that first. Records lie in a fixed number of
buckets, so that a start reads tens of nodes and not tens of thousands, and a burst writes a few.

A leader's writes are fenced: the transaction checks that the epoch node still has the version of its reign, so that a
process that was frozen and has been succeeded cannot write any more.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from contrail_vsphere.engine.journal import Record
from contrail_vsphere.engine.zookeeper import ZooKeeper
from contrail_vsphere.model.errors import AlreadyExists, Conflict, JournalError, NotFound

BUCKETS: Final = 64
MOST_BYTES: Final = 400_000
"""Of one transaction; ZooKeeper refuses what is longer than 1 MB."""
_Bucket = dict[str, dict[str, Any]]
_Name = tuple[str, str]
"""Kind and key of a record."""


class ZooKeeperJournal:
    """Records below ``path``; ``open`` it before use. ``now`` gives aware UTC times."""

    def __init__(self, zookeeper: ZooKeeper, *, path: str, now: Callable[[], datetime]) -> None:
        self._zookeeper = zookeeper
        self._path = path.rstrip("/")
        self._now = now
        self._fence: tuple[str, int] | None = None
        self._records: dict[_Name, bytes] = {}
        """JSON: as a value, a record of a port takes five times as much."""
        self._dirty: set[tuple[str, int]] = set()
        self._versions: dict[tuple[str, int], int] = {}
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Read everything, at the start and whenever a reign begins: what is not durable is forgotten.

        Raises Unreachable, and JournalError for what no journal of ours has written.
        """
        async with self._writing:
            records: dict[_Name, bytes] = {}
            versions: dict[tuple[str, int], int] = {}
            names = await self._zookeeper.children(self._path)
            found = await asyncio.gather(*(self._zookeeper.get(f"{self._path}/{name}") for name in names))
            for name, (raw, version) in zip(names, found, strict=True):
                kind, number = _bucket_of(name)
                versions[kind, number] = version
                for key, entry in _decode(raw, name).items():
                    records[kind, key] = _encode(_record(kind, key, entry))
            self._records, self._versions = records, versions
            self._dirty.clear()

    def fence(self, path: str, epoch: int) -> None:
        """From now on write only while the node at ``path`` holds ``epoch``."""
        self._fence = path, epoch

    def get(self, kind: str, key: str) -> Record | None:
        """One record, or None."""
        raw = self._records.get((kind, key))
        return _record(kind, key, json.loads(raw)) if raw is not None else None

    def items(self, kind: str) -> tuple[Record, ...]:
        """All records of a kind, by key."""
        return tuple(self.each(kind))

    def each(self, kind: str) -> Iterator[Record]:
        """The same one by one, for kinds with thousands."""
        keys = sorted(key for each, key in self._records if each == kind)
        return (_record(kind, key, json.loads(self._records[kind, key])) for key in keys)

    def put(self, kind: str, key: str, value: Mapping[str, Any], *, expect: int | None = None) -> int:
        """Write a record and return its new version; ``expect``: the version it must have (0: none), else Conflict."""
        version = self._checked(kind, key, expect)
        self._records[kind, key] = _encode(Record(kind, key, version + 1, dict(value), self._now()))
        self._dirty.add((kind, _number(key)))
        return version + 1

    def put_many(self, kind: str, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Write several records of a kind."""
        for key, value in values.items():
            self.put(kind, key, value)

    def delete(self, kind: str, key: str, *, expect: int | None = None) -> bool:
        """Remove a record; return whether it was there. ``expect`` as in ``put``."""
        self._checked(kind, key, expect)
        if self._records.pop((kind, key), None) is None:
            return False
        self._dirty.add((kind, _number(key)))
        return True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Writes inside count together, or not at all if it raises. Never await inside."""
        records, dirty = dict(self._records), set(self._dirty)
        try:
            yield
        except BaseException:
            self._records, self._dirty = records, dirty
            raise

    async def durable(self) -> None:
        """Return once everything written so far is in ZooKeeper; what fails stays to be written.

        Raises Unreachable, and Conflict when somebody else leads or has written: then ``open`` again.
        """
        async with self._writing:
            while self._dirty:
                taken = self._some()
                self._dirty -= taken.keys()
                try:
                    await self._write(taken)
                except BaseException:
                    self._dirty |= taken.keys()
                    raise

    def close(self) -> None:
        """Nothing to release; the session belongs to whoever made it."""

    def _some(self) -> dict[tuple[str, int], bytes]:
        """Dirty buckets, as many as fit into one transaction."""
        contents: dict[tuple[str, int], list[str]] = {bucket: [] for bucket in self._dirty}
        for kind, key in self._records:
            keys = contents.get((kind, _number(key)))
            if keys is not None:
                keys.append(key)
        taken: dict[tuple[str, int], bytes] = {}
        size = 0
        for name in sorted(contents):
            entries = (json.dumps(key).encode() + b":" + self._records[name[0], key] for key in sorted(contents[name]))
            raw = zlib.compress(b"{" + b",".join(entries) + b"}", level=1)
            size += len(raw)
            if taken and size > MOST_BYTES:
                break
            taken[name] = raw
        return taken

    async def _write(self, taken: Mapping[tuple[str, int], bytes]) -> None:
        operations: list[tuple[str, tuple[Any, ...]]] = []
        if self._fence is not None:
            path, epoch = self._fence
            value, version = await self._zookeeper.get(path)
            if value != str(epoch).encode():
                raise Conflict(f"epoch {epoch} is over", hint="another process leads")
            operations.append(("check", (path, version)))
        await self._make_root()
        for name, raw in taken.items():
            path = f"{self._path}/{name[0]}.{name[1]}"
            known = self._versions.get(name)
            operations.append(("create", (path, raw)) if known is None else ("set_data", (path, raw, known)))
        try:
            await self._zookeeper.commit(operations)
        except (AlreadyExists, NotFound) as error:
            raise Conflict(f"{self._path} was written by somebody else", hint="open the journal again") from error
        for name in taken:
            known = self._versions.get(name)
            self._versions[name] = 0 if known is None else known + 1

    async def _make_root(self) -> None:
        if not self._versions and not await self._zookeeper.exists(self._path):
            try:
                await self._zookeeper.create(self._path)
            except AlreadyExists:
                return

    def _checked(self, kind: str, key: str, expect: int | None) -> int:
        record = self.get(kind, key)
        version = 0 if record is None else record.version
        if expect is not None and version != expect:
            raise Conflict(f"{kind} {key} has version {version}, not {expect}", hint="read it again")
        return version


def _number(key: str) -> int:
    return zlib.crc32(key.encode()) % BUCKETS


def _bucket_of(name: str) -> tuple[str, int]:
    kind, dot, number = name.rpartition(".")
    if not dot or not number.isdigit():
        raise JournalError(f"{name!r} is no bucket of a journal", hint="is the path used by something else?")
    return kind, int(number)


def _decode(raw: bytes, name: str) -> _Bucket:
    try:
        bucket = json.loads(zlib.decompress(raw))
    except (zlib.error, ValueError) as error:
        raise JournalError(f"bucket {name} of the journal cannot be read: {error}") from None
    if not isinstance(bucket, dict):
        raise JournalError(f"bucket {name} of the journal holds no records")
    return bucket


def _encode(record: Record) -> bytes:
    entry = {"version": record.version, "value": record.value, "written": record.written.isoformat()}
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _record(kind: str, key: str, entry: Any) -> Record:
    try:
        return Record(kind, key, int(entry["version"]), entry["value"], datetime.fromisoformat(entry["written"]))
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(f"record {kind} {key} cannot be read: {error!r}") from None
