"""The worker of one vCenter: takes the lease, follows the journal, compares everything now and then.

A pass is: which objects, what does Neutron want of them, what has vCenter, the difference, do it. The journal, changes
of VMs in vCenter and the clock only say which objects; a pass over all of them at the start makes up for whatever was
missed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random as random_module
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from contrail_vsphere import __version__
from contrail_vsphere.engine.backoff import QUICK, SLOW
from contrail_vsphere.ml2.options import WorkerSettings
from contrail_vsphere.ml2.tables import journal
from contrail_vsphere.ml2.worker.database import ask
from contrail_vsphere.ml2.worker.neutron_store import LeaseLost, NeutronStore
from contrail_vsphere.ml2.worker.passes import Pass, requested_by
from contrail_vsphere.ml2.worker.plan import read_mark
from contrail_vsphere.ml2.worker.report import PassReport
from contrail_vsphere.ml2.worker.sight import BLOB
from contrail_vsphere.model.errors import ContrailVsphereError, RefusedError
from contrail_vsphere.model.inventory import Change, Network, VirtualMachine
from contrail_vsphere.vsphere.vcenter import VCenter

log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between two looks into the journal."""
AGENT_SECONDS = 30.0
"""Between two reports; Neutron takes an agent for dead after 75."""
ROWS = 2000
"""Journal rows of one pass."""
HOPELESS = 8
"""Attempts after which what vCenter refuses is given up until somebody says ``repair``."""


@dataclass(slots=True)
class WorkerState:
    """What a worker says of itself, in its lease."""

    holder: str
    vcenter_reached: bool = False
    passes: int = 0
    created: int = 0
    repaired: int = 0
    destroyed: int = 0
    edited: int = 0
    closed: int = 0
    failed: int = 0
    problem: str = ""
    reconciled_at: str = ""
    working: bool = False
    """Whether it holds the lease."""
    orphans: tuple[str, ...] = ()
    """Port groups of ours whose networks Neutron does not know; as of the last look at everything."""
    warnings: tuple[str, ...] = ()
    pending: int = 0
    """Journal rows that were due at the last look."""
    version: str = __version__
    """Of the code that runs, which an upgrade of the package does not change."""

    def took(self, report: PassReport, *, everything: bool) -> None:
        """Count a pass."""
        outcome = report.outcome
        if everything:
            self.orphans, self.warnings = report.orphans, report.warnings
        self.passes += 1
        self.created += outcome.created
        self.repaired += outcome.repaired
        self.destroyed += outcome.destroyed
        self.edited += outcome.edited
        self.closed += outcome.closed
        self.failed += len(outcome.failed)

    def described(self) -> dict[str, Any]:
        """For the lease row, the heartbeat file and Neutron's list of agents."""
        return {name: getattr(self, name) for name in self.__slots__}

    def as_json(self) -> str:
        """The same as text."""
        return json.dumps(self.described())


@dataclass(slots=True)
class _Wake:
    """What vCenter told since the last pass."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    macs: set[str] = field(default_factory=set)
    """Of cards that came, went or moved."""
    networks: set[str] = field(default_factory=set)
    """Neutron networks whose port groups somebody touched."""

    @property
    def anything(self) -> bool:
        """Whether there is something to look at."""
        return bool(self.macs or self.networks)


class DvsWorker:
    """``run`` until cancelled."""

    def __init__(
        self,
        store: NeutronStore,
        settings: WorkerSettings,
        *,
        holder: str,
        connect: Callable[[], VCenter],
        now: Callable[[], datetime],
        random: random_module.Random | None = None,
        heartbeat: Path | None = None,
    ) -> None:
        self.state = WorkerState(holder)
        self._heartbeat = heartbeat
        self._store, self._settings, self._connect, self._now = store, settings, connect, now
        self._random = random or random_module.Random()
        self._lease_until = 0.0
        self._wake = _Wake()
        self._deleted: dict[str, None] = {}

    async def run(self) -> None:
        """Be the worker, or wait to become it; ends only by cancellation, and then gives the lease back."""
        failures, waits = 0, False
        try:
            while True:
                try:
                    if not await self._acquire():
                        if not waits:
                            log.info("another worker holds the lease of %s: standing by", self._store.vcenter)
                        waits = True
                        self._beat()
                        await asyncio.sleep(self._settings.lease_seconds / 3)
                        continue
                    log.info("working for %s, epoch %d", self._store.vcenter, self._store.epoch)
                    failures, waits = 0, False
                    self.state.working = True
                    self._beat()
                    await self._hold()
                except LeaseLost as error:
                    log.warning("%s", error)
                except ContrailVsphereError as error:
                    failures += 1
                    log.warning("%s", error)
                finally:
                    self.state.working = False
                await asyncio.sleep(QUICK.delay(max(1, failures), self._random))
        finally:
            await asyncio.shield(self._release())

    def _beat(self) -> None:
        """Show whoever watches that this worker reached Neutron's database; Pacemaker's monitor looks at its age."""
        if self._heartbeat is not None:
            part = self._heartbeat.with_suffix(".part")
            part.write_text(self.state.as_json() + "\n", encoding="utf-8")
            part.replace(self._heartbeat)

    # -- the lease ----------------------------------------------------------------------------------------------

    async def _acquire(self) -> bool:
        before = asyncio.get_running_loop().time()
        taken = await ask(self._store.acquire, self.state.holder, self._settings.lease_seconds)
        self._lease_until = before + self._settings.lease_seconds if taken else 0.0
        return taken

    async def _release(self) -> None:
        self._lease_until = 0.0
        try:
            await ask(self._store.release)
        except ContrailVsphereError as error:
            log.info("the lease runs out by itself: %s", error)

    def _allowed(self) -> None:
        """Asked before every write to vCenter. A fifth of the lease is kept for what is on its way."""
        margin = self._settings.lease_seconds / 5
        if asyncio.get_running_loop().time() > self._lease_until - margin:
            raise LeaseLost(f"the lease of {self._store.vcenter} was not renewed in time")

    async def _hold(self) -> None:
        """Serve while the lease is renewed; whichever ends first ends the other."""
        tasks = [
            asyncio.create_task(self._renew(), name="lease"),
            asyncio.create_task(self._serve(), name="serve"),
            asyncio.create_task(self._report(), name="agents"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew(self) -> None:
        loop, seconds = asyncio.get_running_loop(), self._settings.lease_seconds
        while True:
            await asyncio.sleep(seconds / 3)
            before = loop.time()
            try:
                renewed = await ask(self._store.renew, seconds, self.state.as_json())
            except ContrailVsphereError as error:
                log.warning("the lease was not renewed: %s", error)
                self._allowed()
                continue
            if not renewed:
                raise LeaseLost(f"the lease of {self._store.vcenter} has passed to another worker")
            self._lease_until = before + seconds
            self._beat()

    async def _report(self) -> None:
        """Keep the rows of ``network agent list`` alive."""
        started = True
        while True:
            try:
                await ask(self._store.report_agents, self.state.described(), started=started)
                started = False
            except LeaseLost:
                raise
            except ContrailVsphereError as error:
                log.warning("Neutron's agent rows were not written: %s", error)
            await asyncio.sleep(AGENT_SECONDS)

    # -- serving ------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Come back after whatever vCenter does; the journal grows meanwhile."""
        failures = 0
        while True:
            try:
                async with self._connect() as vcenter:
                    vcenter.inventory.start()
                    await vcenter.inventory.ready()
                    self.state.vcenter_reached, self.state.problem, failures = True, "", 0
                    await self._follow(vcenter)
            except LeaseLost:
                raise
            except ContrailVsphereError as error:
                failures += 1
                self.state.problem = str(error)
                log.warning("%s", error)
                policy = SLOW if isinstance(error, RefusedError) else QUICK
                await asyncio.sleep(policy.delay(failures, self._random))
            finally:
                self.state.vcenter_reached = False

    async def _follow(self, vcenter: VCenter) -> None:
        loop = asyncio.get_running_loop()
        work = Pass(
            self._store,
            vcenter,
            allowed=self._allowed,
            orphan_seconds=self._settings.orphan_seconds,
            free_ports=self._settings.free_ports,
            deleted=self._deleted,
        )
        stops = [vcenter.inventory.subscribe(each) for each in (self._changed, work.noticed)]
        try:
            everything_at, read = loop.time(), vcenter.inventory.resyncs
            while True:
                entries = await ask(self._store.due, ROWS)
                self.state.pending = len(entries)
                if read != vcenter.inventory.resyncs:
                    everything_at = loop.time()  # what came and went while vCenter was not heard is no difference
                if loop.time() >= everything_at or any(entry.kind == journal.EVERYTHING for entry in entries):
                    read = vcenter.inventory.resyncs
                    await self._pass(work, entries, everything=True)
                    everything_at = loop.time() + self._settings.reconcile_interval
                    self.state.reconciled_at = self._now().isoformat(timespec="seconds")
                elif entries or self._wake.anything:
                    await self._pass(work, entries, everything=False)
                else:
                    await work.confirm()
                await self._pause()
        finally:
            for stop in stops:
                stop()

    async def _pause(self) -> None:
        self._wake.event.clear()
        if self._wake.anything:
            return
        try:
            async with asyncio.timeout(POLL):
                await self._wake.event.wait()
        except TimeoutError:
            return

    def _changed(self, change: Change) -> None:
        """A VM's cards may have come, gone or moved to other ports; a port group of ours may have been changed.

        One that is new may have been changed before it was seen for the first time: it is looked at, too.
        """
        for each in (change.before, change.after):
            mark = read_mark(each.blob(BLOB)) if isinstance(each, Network) else None
            if mark is not None and mark.cloud == self._store.settings.cloud_id:
                self._wake.networks.add(mark.network)
                self._wake.event.set()
        before = change.before.nics if isinstance(change.before, VirtualMachine) else ()
        after = change.after.nics if isinstance(change.after, VirtualMachine) else ()
        if before != after:
            self._wake.macs.update(nic.mac.lower() for nic in (*before, *after))
            self._wake.event.set()

    async def _pass(self, work: Pass, entries: tuple[journal.Entry, ...], *, everything: bool) -> None:
        macs, self._wake.macs = self._wake.macs, set()
        networks, self._wake.networks = self._wake.networks, set()
        try:
            report = await work.run(entries, macs, touched=networks, everything=everything)
        except BaseException:
            self._wake.macs |= macs
            self._wake.networks |= networks
            raise
        self.state.took(report, everything=everything)
        if str(report.outcome):
            log.info("%s: %s", requested_by(entries) or "no request", report.outcome)
        await self._settle(entries, report)

    async def _settle(self, entries: Iterable[journal.Entry], report: PassReport) -> None:
        """Rows of what failed wait; rows that were about many ports end, and the ports that failed get their own."""
        failed, mine = report.outcome.failed, set()
        finished: list[int] = []
        retry: dict[int, tuple[int, str]] = {}
        dead: dict[int, str] = {}
        for entry in entries:
            key = (entry.kind, entry.object_id)
            error = failed.get(key)
            mine.add(key)
            if error is None:
                finished.append(entry.id)
                continue
            refused = isinstance(error, RefusedError)
            log.warning("%s %s (%s): %s", entry.kind, entry.object_id, entry.request_id or "no request", error)
            if refused and entry.attempts + 1 >= HOPELESS:
                dead[entry.id] = str(error)
            else:
                delay = (SLOW if refused else QUICK).delay(entry.attempts + 1, self._random)
                retry[entry.id] = (max(1, round(delay)), str(error))
        await ask(self._store.settle, finished, retry, dead)
        await ask(self._store.remember, [key for key in failed if key not in mine])
