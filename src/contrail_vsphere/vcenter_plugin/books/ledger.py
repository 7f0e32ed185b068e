"""The port records and resting VLANs in memory, and their way to the journal: many changes, one commit.

A change counts at once for planning; whoever is about to act on it awaits ``durable`` first. All changes made in one
turn of the loop become durable in one transaction, so that a burst of 2,000 ports costs a few writes to disk. What
nobody waits for (an agent's confirmation) follows a moment later. Records are kept folded, those of a VM in one row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Set
from datetime import datetime
from uuid import UUID

from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.model.errors import JournalError
from contrail_vsphere.model.folded import Folding
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.vcenter_plugin.books.records import Plug, PortRecord, decode, encode
from contrail_vsphere.vcenter_plugin.identity import PortId

KIND = "port"
RESTS = "rest"
"""One record for each host that has VLANs which rest: VLAN -> until when."""
SOON = 1.0
"""Seconds after which a change is written that nobody waits for."""
FOLDING = Folding(PortRecord, shared=("dvs",), nested={"plugs": Folding(Plug, shared=("host",))})


class Ledger:
    """Records by port, by VM and by host."""

    def __init__(self, journal: RecordStore, *, prefix: str = "") -> None:
        self._journal = journal
        self._kind = f"{prefix}{KIND}"
        self._rest_kind = f"{prefix}{RESTS}"
        self._rests: dict[HostId, dict[int, datetime]] = {}
        self._dirty_rests: set[HostId] = set()
        self._records: dict[int, bytes] = {}
        """By the number of the VM's instance UUID."""
        self._at_host: dict[HostId, set[int]] = {}
        """VMs with a place on a host."""
        self._dirty: set[PortId] = set()
        self._saving: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._written = self._durable = 0
        """Transactions given to the journal, and the last one of them that would survive the process."""
        for record in journal.each(self._kind):
            try:
                self._take(decode(record.key, record.value))
            except (KeyError, ValueError, TypeError) as error:
                raise JournalError(f"port record {record.key} cannot be read: {error!r}") from error
        for record in journal.items(self._rest_kind):
            try:
                rests = {int(vlan): datetime.fromisoformat(until) for vlan, until in record.value.items()}
            except (ValueError, TypeError) as error:
                raise JournalError(f"resting VLANs of {record.key} cannot be read: {error!r}") from error
            self._rests[HostId(record.key)] = rests

    def get(self, port: PortId) -> PortRecord | None:
        """One record."""
        return next((record for record in self.of_vm(port.vm) if record.id == port), None)

    def of_vm(self, vm: UUID) -> tuple[PortRecord, ...]:
        """All records of a VM, by its instance UUID."""
        row = self._records.get(vm.int)
        return FOLDING.unfold_all(row) if row is not None else ()

    def knows(self, vm: UUID) -> bool:
        """Whether a VM has a record."""
        return vm.int in self._records

    def machines(self) -> Set[int]:
        """Numbers of the instance UUIDs of VMs that have records."""
        return self._records.keys()

    def all(self) -> Iterator[PortRecord]:
        """Every record."""
        return (record for row in tuple(self._records.values()) for record in FOLDING.unfold_all(row))

    def at_host(self, host: HostId) -> Iterator[PortRecord]:
        """Records with a place on a host."""
        rows = [self._records[number] for number in self._at_host.get(host, ())]
        return (record for row in rows for record in FOLDING.unfold_all(row) if record.plug(host) is not None)

    def put(self, record: PortRecord) -> None:
        """Remember; durable after ``durable``."""
        known = self.get(record.id)
        if known != record:
            self._take(record)
            if known is None or encode(known) != encode(record):
                self._touch(record.id)

    def drop(self, port: PortId) -> None:
        """Forget."""
        known = self.of_vm(port.vm)
        left = tuple(record for record in known if record.id != port)
        if len(left) < len(known):
            self._keep(port.vm.int, known, left)
            self._touch(port)

    def rest(self, host: HostId, vlan: int, *, until: datetime, now: datetime) -> None:
        """A VLAN of a host must not be given out before ``until``; what has rested enough by ``now`` is forgotten."""
        rests = self._rests.get(host, {})
        self._rests[host] = {**{each: due for each, due in rests.items() if due > now}, vlan: until}
        self._dirty_rests.add(host)
        self._save_soon()

    def rests(self) -> list[tuple[datetime, HostId, int]]:
        """Until when which VLAN of which host rests, the first one first."""
        return sorted((until, host, vlan) for host, rests in self._rests.items() for vlan, until in rests.items())

    async def durable(self) -> None:
        """Return once all changes made so far would survive the process; raises what the journal raises."""
        if not self._dirty and not self._dirty_rests and self._durable == self._written:
            return
        await asyncio.shield(self._begin_to_save())

    def _begin_to_save(self) -> asyncio.Task[None]:
        if self._saving is None:
            self._saving = asyncio.create_task(self._save(), name="ledger")
            self._saving.add_done_callback(_seen)
        return self._saving

    def _save_soon(self) -> None:
        """What fails stays to be written, by whoever writes next."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(SOON, self._save_now)

    def _save_now(self) -> None:
        self._later = None
        if self._dirty or self._dirty_rests:
            self._begin_to_save()

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
                record = self.get(port)
                if record is None:
                    self._journal.delete(self._kind, str(port))
                else:
                    self._journal.put(self._kind, str(port), encode(record))
            for host in self._dirty_rests:
                rests = {str(vlan): until.isoformat() for vlan, until in self._rests[host].items()}
                self._journal.put(self._rest_kind, host, rests)
        self._dirty.clear()
        self._dirty_rests.clear()

    def close(self) -> None:
        """Write what is left."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._dirty or self._dirty_rests:
            self._write()

    def _take(self, record: PortRecord) -> None:
        known = self.of_vm(record.id.vm)
        self._keep(record.id.vm.int, known, (*(each for each in known if each.id != record.id), record))

    def _keep(self, number: int, before: Collection[PortRecord], after: Collection[PortRecord]) -> None:
        """These are a VM's records now."""
        if after:
            self._records[number] = FOLDING.fold_all(after)
        else:
            del self._records[number]
        here = {plug.host for record in after for plug in record.plugs}
        for host in {plug.host for record in before for plug in record.plugs} - here:
            self._at_host[host].discard(number)
        for host in here:
            self._at_host.setdefault(host, set()).add(number)

    def _touch(self, port: PortId) -> None:
        self._dirty.add(port)
        self._save_soon()


def _seen(task: asyncio.Task[None]) -> None:
    """Its error belongs to those who wait; that nobody waits any more is none."""
    if not task.cancelled():
        task.exception()
