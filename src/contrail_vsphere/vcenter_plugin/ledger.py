"""The port records in memory, and their way to the journal: many changes, one commit.

A change counts at once for planning; whoever is about to act on it awaits ``durable`` first. All changes made in one
turn of the loop become durable in one transaction, so that a burst of 2,000 ports costs a few writes to disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.model.errors import JournalError
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.vcenter_plugin.identity import PortId
from contrail_vsphere.vcenter_plugin.records import PortRecord, decode, encode

KIND = "port"


class Ledger:
    """Records by port, by VM and by host."""

    def __init__(self, journal: Journal, *, prefix: str = "") -> None:
        self._journal = journal
        self._kind = f"{prefix}{KIND}"
        self._records: dict[PortId, PortRecord] = {}
        self._of_vm: dict[object, dict[PortId, PortRecord]] = {}
        self._dirty: set[PortId] = set()
        self._waiting: asyncio.Future[None] | None = None
        self.on_change: Callable[[PortId], None] = lambda _port: None
        for record in journal.items(self._kind):
            try:
                self._take(decode(record.key, record.value))
            except (KeyError, ValueError, TypeError) as error:
                raise JournalError(f"port record {record.key} cannot be read: {error!r}") from error

    def get(self, port: PortId) -> PortRecord | None:
        """One record."""
        return self._records.get(port)

    def of_vm(self, vm: object) -> tuple[PortRecord, ...]:
        """All records of a VM, by its instance UUID."""
        return tuple(self._of_vm.get(vm, {}).values())

    def all(self) -> Iterator[PortRecord]:
        """Every record."""
        return iter(tuple(self._records.values()))

    def at_host(self, host: HostId) -> Iterator[PortRecord]:
        """Records with a place on a host."""
        return (record for record in self.all() if record.plug(host) is not None)

    def put(self, record: PortRecord) -> None:
        """Remember; durable after ``durable``."""
        if self._records.get(record.id) != record:
            self._take(record)
            self._touch(record.id)

    def drop(self, port: PortId) -> None:
        """Forget."""
        if self._records.pop(port, None) is not None:
            of_vm = self._of_vm[port.vm]
            del of_vm[port]
            if not of_vm:
                del self._of_vm[port.vm]
            self._touch(port)

    async def durable(self) -> None:
        """Return once all changes made so far are on disk; JournalError if they cannot be."""
        if not self._dirty:
            return
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            loop.call_soon(self._write)
        await asyncio.shield(self._waiting)

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, None
        try:
            with self._journal.transaction():
                for port in self._dirty:
                    record = self._records.get(port)
                    if record is None:
                        self._journal.delete(self._kind, str(port))
                    else:
                        self._journal.put(self._kind, str(port), encode(record))
            self._dirty.clear()
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # seen, even if nobody waits any more
        else:
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def close(self) -> None:
        """Write what is left."""
        if self._dirty:
            self._write()

    def _take(self, record: PortRecord) -> None:
        self._records[record.id] = record
        self._of_vm.setdefault(record.id.vm, {})[record.id] = record

    def _touch(self, port: PortId) -> None:
        self._dirty.add(port)
        self.on_change(port)
