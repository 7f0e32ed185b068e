"""One vCenter, as the rest of the house sees it."""

from __future__ import annotations

import asyncio
import random as random_module
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from contrail_vsphere.engine.breaker import CircuitBreaker, Health
from contrail_vsphere.vsphere.eam.client import EamClient
from contrail_vsphere.vsphere.endpoint import Credentials, Endpoint, ExtensionLogin, PasswordLogin
from contrail_vsphere.vsphere.events import EventTail
from contrail_vsphere.vsphere.guest_addresses import GuestAddresses
from contrail_vsphere.vsphere.inventory import Inventory
from contrail_vsphere.vsphere.reach import HostReach
from contrail_vsphere.vsphere.reader import PropertyReader, read_properties
from contrail_vsphere.vsphere.session import DEADLINE, Session
from contrail_vsphere.vsphere.task import TaskWaiter
from contrail_vsphere.vsphere.told import NewTable
from contrail_vsphere.vsphere.transport import SoapTransport

__all__ = ["Endpoint", "ExtensionLogin", "PasswordLogin", "VCenter"]

TASK_DEADLINE = 300.0
T = TypeVar("T")


class VCenter:
    """A session with vCenter and EAM and all that lives on it; entering it logs in, leaving it logs out.

    ``inventory``, ``events`` and ``eam.cache`` do nothing until they are started; leaving stops them.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        *,
        now: Callable[[], datetime] | None = None,
        random: random_module.Random | None = None,
        concurrency: int = 32,
        hosts: Collection[str] = (),
        vms: NewTable = dict,
    ) -> None:
        """``hosts``: names or ids of those that the inventory is about, with their VMs and switches; none: all.

        ``vms``: what the inventory keeps VMs in.
        """
        self.endpoint = endpoint
        chance = random or random_module.Random()
        self.session = Session(SoapTransport(endpoint, breaker=CircuitBreaker(now=now)), credentials)
        self.reader = PropertyReader(self.session)
        self.tasks = TaskWaiter(self.session, random=chance)
        self.reach = HostReach(hosts) if hosts else None
        self.inventory = Inventory(self.session, random=chance, reach=self.reach, table=vms)
        self.events = EventTail(self.session, random=chance)
        self.guests = GuestAddresses(self.session, random=chance)
        self.eam = EamClient(self, solution_id=credentials.key if isinstance(credentials, ExtensionLogin) else "")
        self._slots = asyncio.Semaphore(concurrency)

    async def __aenter__(self) -> Self:
        try:
            await self.session.ensure()
        except BaseException:
            await self.session.transport.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop everything, log out, close the connections."""
        try:
            await self.inventory.stop()
            await self.events.stop()
            await self.guests.stop()
            await self.eam.cache.stop()
            await self.tasks.close()
            await self.session.close()
        finally:
            await self.session.transport.close()

    @property
    def about(self) -> Any:
        """``AboutInfo``: product, version, API version."""
        return self.session.content.about

    @property
    def content(self) -> Any:
        """``ServiceContent``: references to vCenter's managers."""
        return self.session.content

    @property
    def versions(self) -> Mapping[str, str]:
        """XML namespace -> version of the API spoken with this vCenter (pyVmomi's names)."""
        return self.session.versions

    @property
    def calls(self) -> Counter[str]:
        """Calls made so far, by method."""
        return self.session.calls

    @property
    def health(self) -> Health:
        """Whether vCenter answers."""
        return self.session.transport.health

    async def call(self, ref: Any, method: str, *, deadline: float = DEADLINE, **args: Any) -> Any:
        """Call a method by its name on the wire; arguments by the API's names, None for unset.

        ``deadline`` is seconds. Raises errors of ``model.errors``. A ``*_Task`` method returns its Task; see
        ``wait_task``.
        """
        async with self._slots:
            return await self.session.call(ref, method, deadline=deadline, **args)

    async def call_each(
        self, ref: Any, method: str, each: Callable[[Any], T], *, deadline: float = DEADLINE, **args: Any
    ) -> list[T]:
        """Call a method that answers with a long array; of every element what ``each`` makes of it is kept."""
        async with self._slots:
            return await self.session.call_each(ref, method, each, deadline=deadline, **args)

    async def read(self, ref: Any, *paths: str) -> dict[str, Any]:
        """Properties of one object as pyVmomi values; unset ones are left out. NotFound when it is gone."""
        async with self._slots:
            return (await read_properties(self.session, [ref], *paths)).get(ref._moId, {})

    async def wait_task(self, task: Any, *, deadline: float = TASK_DEADLINE) -> Any:
        """The result of a task, its error as one of ``model.errors``; Busy when the deadline passes first."""
        return await self.tasks.wait(task, deadline=deadline)

    async def run_task(self, ref: Any, method: str, *, deadline: float = TASK_DEADLINE, **args: Any) -> Any:
        """Start a ``*_Task`` method and wait for its result."""
        return await self.wait_task(await self.call(ref, method, **args), deadline=deadline)
