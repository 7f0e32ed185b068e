"""The port records in memory, and their way to the journal: many changes, one commit.

A change counts at once for planning; whoever is about to act on it awaits ``durable`` first. All changes made in one
turn of the loop become durable in one transaction, so that a burst of 2,000 ports costs a few writes to disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.model.errors import JournalError
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.vcenter_plugin.identity import PortId
from contrail_vsphere.vcenter_plugin.records import PortRecord, decode, encode

KIND = "port"


class Ledger:
    """Records by port, by VM and by host."""

    def __init__(self, journal: RecordStore, *, prefix: str = "") -> None:
        self._journal = journal
        self._kind = f"{prefix}{KIND}"
        self._records: dict[PortId, PortRecord] = {}
        self._of_vm: dict[object, dict[PortId, PortRecord]] = {}
        self._dirty: set[PortId] = set()
        self._saving: asyncio.Task[None] | None = None
        self._written = self._durable = 0
        """Transactions given to the journal, and the last one of them that would survive the process."""
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
        """Return once all changes made so far would survive the process; raises what the journal raises."""
        if not self._dirty and self._durable == self._written:
            return
        if self._saving is None:
            self._saving = asyncio.create_task(self._save(), name="ledger")
            self._saving.add_done_callback(_seen)
        await asyncio.shield(self._saving)

    async def _save(self) -> None:
        """Whoever comes from here on is served by the next one."""
        self._saving = None
        self._write()
        self._written += 1
        number = self._written
        await self._journal.durable()
        self._durable = max(self._durable, number)

    def _write(self) -> None:
        with self._journal.transaction():
            for port in self._dirty:
                record = self._records.get(port)
                if record is None:
                    self._journal.delete(self._kind, str(port))
                else:
                    self._journal.put(self._kind, str(port), encode(record))
        self._dirty.clear()

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


def _seen(task: asyncio.Task[None]) -> None:
    """Its error belongs to those who wait; that nobody waits any more is none."""
    if not task.cancelled():
        task.exception()
