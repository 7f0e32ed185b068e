"""Which hosts have a VRouterAgent, where it answers, and whether it forwards.

Hosts come from the HostDirectory only. Introspect cannot notify, so agents are asked: often while a host has just come
up or does not forward, now and then afterwards, and at once when a call to one failed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.model.inventory import Host
from contrail_vsphere.model.protocols import HostEntry
from contrail_vsphere.vcenter_plugin.agent_audit import AgentAudit
from contrail_vsphere.vcenter_plugin.doors import IntrospectDoor
from contrail_vsphere.vcenter_plugin.plan.sights import HostSight

EAGER, EAGER_FOR = 1.0, 120.0
"""Seconds between two questions to an agent that does not forward, and for how long it is asked so often."""
PATIENT = 5.0
"""Seconds between two questions to one that has not forwarded for longer."""
STEADY = 30.0
"""Seconds between two questions to one that forwards."""
REREAD = 5.0
"""Seconds between two looks at the HostDirectory."""
AUDIT = 300.0
"""Seconds between two questions about all ports of one."""
TOGETHER = 256
"""Questions at once."""


@dataclass(slots=True)
class _Fact:
    address: str
    since: float
    forwards: bool = False
    reachable: bool = False
    reason: str = "not asked yet"
    due: float = 0.0
    audit_due: float = 0.0
    asking: asyncio.Task[None] | None = None


class HostBook:
    """Runs until stopped; ``on_change`` hears of every host whose answer or address changed."""

    def __init__(
        self,
        *,
        hosts: Callable[[], Mapping[HostId, Host]],
        directory: Callable[[], Iterable[HostEntry]],
        introspect: IntrospectDoor,
    ) -> None:
        self._hosts = hosts
        self._directory = directory
        self._introspect = introspect
        self._facts: dict[HostId, _Fact] = {}
        self._slots = asyncio.Semaphore(TOGETHER)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_change: Callable[[HostId], None] = lambda _host: None
        self.audit: AgentAudit | None = None
        """Judges what agents have, once there is something to judge by."""

    def sight(self, host: HostId) -> HostSight | None:
        """The host as it is seen; None when vCenter does not know it."""
        value, fact = self._hosts().get(host), self._facts.get(host)
        if value is None:
            return None
        if fact is None:
            return HostSight(host, value.name, reason="the HostDirectory does not have it")
        return HostSight(host, value.name, fact.address, fact.forwards, fact.reachable, fact.reason)

    def sights(self) -> tuple[HostSight, ...]:
        """Every host of vCenter."""
        return tuple(sight for host in self._hosts() if (sight := self.sight(host)) is not None)

    def doubt(self, host: HostId) -> None:
        """A call to its agent failed: ask now."""
        fact = self._facts.get(host)
        if fact is not None:
            fact.due = 0.0
            self._wake.set()

    def look(self) -> None:
        """The HostDirectory or vCenter's hosts may have changed."""
        self._wake.set()

    def start(self) -> None:
        """Begin asking."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="host-book")

    async def stop(self) -> None:
        """Stop asking."""
        tasks = [self._task, *(fact.asking for fact in self._facts.values())]
        self._task = None
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def first_answers(self) -> None:
        """Return once every host of the directory was asked, whatever it said."""
        self._read_directory()
        await asyncio.gather(*(self._ask(host, fact) for host, fact in tuple(self._facts.items())))

    async def first_audits(self, audit: AgentAudit) -> None:
        """From now on agents are asked what they have; return once every one that answers has been."""
        self.audit = audit
        await asyncio.gather(*(self._ask(host, fact) for host, fact in tuple(self._facts.items()) if fact.reachable))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._read_directory()
            now = loop.time()
            for host, fact in self._facts.items():
                if fact.asking is None and fact.due <= now + 0.01:
                    fact.asking = asyncio.create_task(self._ask(host, fact), name=f"host-book:{fact.address}")
            soonest = min((fact.due - now for fact in self._facts.values() if fact.asking is None), default=REREAD)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, min(soonest, REREAD))):
                    await self._wake.wait()

    def _read_directory(self) -> None:
        now = asyncio.get_running_loop().time()
        entries = {entry.host: entry.agent_address for entry in self._directory() if entry.agent_address}
        for host in self._facts.keys() - entries.keys():
            fact = self._facts.pop(host)
            if fact.asking is not None:
                fact.asking.cancel()
            self.on_change(host)
        for host, address in entries.items():
            known = self._facts.get(host)
            if known is None or known.address != address:
                if known is not None and known.asking is not None:
                    known.asking.cancel()
                self._facts[host] = _Fact(address=address, since=now)
                self.on_change(host)

    async def _ask(self, host: HostId, fact: _Fact) -> None:
        try:
            async with self._slots:
                forwards = await self._introspect.forwards(fact.address)
                await self._compare(host, fact)
            reachable, reason = True, "" if forwards else "no controller session is Established"
        except (ContrailVsphereError, OSError, TimeoutError) as error:
            forwards, reachable, reason = False, False, f"its agent does not answer: {error}"
        finally:
            fact.asking = None
        now = asyncio.get_running_loop().time()
        changed = (forwards, reachable) != (fact.forwards, fact.reachable)
        if changed:
            fact.since = now
        fact.forwards, fact.reachable, fact.reason = forwards, reachable, reason
        fact.due = now + (STEADY if forwards else EAGER if now < fact.since + EAGER_FOR else PATIENT)
        self._wake.set()
        if changed and self._facts.get(host) is fact:
            self.on_change(host)

    async def _compare(self, host: HostId, fact: _Fact) -> None:
        """Ask for all ports of an agent that was away, or was last asked long ago."""
        now = asyncio.get_running_loop().time()
        if self.audit is None or (fact.reachable and now < fact.audit_due):
            return
        believed = self.audit.begin(host)
        told = await self._introspect.plugged(fact.address)
        if self._facts.get(host) is fact:
            self.audit.end(host, believed, told)
            fact.audit_due = now + AUDIT
