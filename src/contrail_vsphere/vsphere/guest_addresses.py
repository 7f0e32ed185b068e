"""The IP addresses that guests have given themselves, of the VMs that somebody asked to follow.

``guest.net`` is long and changes often, so it is not part of the inventory: one list view holds the few VMs whose
addresses matter, and one long poll of its own follows it. VMware Tools forget everything when they restart, so that
what a guest reports as nothing is not taken for a change.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Any

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.ids import VmId
from contrail_vsphere.vsphere import property_collector as pc
from contrail_vsphere.vsphere.errors import translate
from contrail_vsphere.vsphere.pace import Pace
from contrail_vsphere.vsphere.session import Session
from contrail_vsphere.vsphere.task import LOST
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import reference

log = logging.getLogger(__name__)

WAIT = 60
PATH = "guest.net"
Addresses = Mapping[int, tuple[IPv4Address | IPv6Address, ...]]
"""By device key of the card, in the guest's order."""
_NONE: Addresses = MappingProxyType({})


class GuestAddresses:
    """``on_change`` hears of every VM whose addresses differ. Asks nothing as long as no VM is followed."""

    def __init__(self, session: Session, *, random: random.Random) -> None:
        self._session = session
        self._pace = Pace(random=random)
        self._wanted: set[VmId] = set()
        self._listed: set[VmId] = set()
        self._known: dict[VmId, Addresses] = {}
        self._view: Any = None
        self._collector: Any = None
        self._epoch = -1
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.on_change: Callable[[VmId], None] = lambda _vm: None

    def of(self, vm: VmId) -> Addresses:
        """The last ones that its guest told."""
        return self._known.get(vm, _NONE)

    def follow(self, vm: VmId, *, wanted: bool) -> None:
        """From now on, or no more."""
        if (vm in self._wanted) == wanted:
            return
        if wanted:
            self._wanted.add(vm)
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="guest-addresses")
        else:
            self._wanted.discard(vm)
            self._known.pop(vm, None)
        self._changed.set()

    async def stop(self) -> None:
        """Follow nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        """Keep the list true to what is wanted while a long poll waits for news of it."""
        version, poll = "", None
        try:
            while True:
                try:
                    if self._collector is None or self._epoch != self._session.epoch:
                        await self._open()
                        version = ""
                    self._changed.clear()
                    await self._list()
                    poll = poll or asyncio.create_task(self._poll(version))
                    wake = asyncio.create_task(self._changed.wait())
                    await asyncio.wait((poll, wake), return_when=asyncio.FIRST_COMPLETED)
                    wake.cancel()
                    if poll.done():
                        done, poll = poll, None
                        version = done.result() or version
                except (SoapFault, ContrailVsphereError) as error:
                    if not isinstance(error, SoapFault) or error.kind not in LOST:
                        told = translate(error, what=pc.WAIT.name) if isinstance(error, SoapFault) else error
                        log.info("guest addresses: %s", told)
                    self._collector = None
                    await self._pace.failed()
        finally:
            if poll is not None:
                poll.cancel()
                await asyncio.gather(poll, return_exceptions=True)

    async def _open(self) -> None:
        await self._session.ensure()
        content = self._session.content
        collector = await self._session.call(content.propertyCollector, "CreatePropertyCollector")
        self._view = await self._session.call(content.viewManager, "CreateListView", obj=[])
        spec = pc.of_view(self._view, {"VirtualMachine": [PATH]})
        await self._session.call(collector, "CreateFilter", spec=spec, partialUpdates=False)
        self._collector, self._epoch, self._listed = collector, self._session.epoch, set()

    async def _list(self) -> None:
        """VMs that vCenter does not know (any more) are left out of the list by it."""
        wanted = set(self._wanted)
        add = [reference(vim.VirtualMachine, vm) for vm in sorted(wanted - self._listed)]
        remove = [reference(vim.VirtualMachine, vm) for vm in sorted(self._listed - wanted)]
        if add or remove:
            await self._session.call(self._view, "ModifyListView", add=add, remove=remove)
            self._listed = wanted

    async def _poll(self, version: str) -> str:
        asked = asyncio.get_running_loop().time()
        options = {"version": version, "options": pc.wait_options(seconds=WAIT)}
        update = await self._session.invoke(self._collector, pc.WAIT, options, deadline=WAIT + 30.0)
        self._pace.succeeded()
        if update is None:
            await self._pace.nothing_new(asked)
            return version
        for filtered in update.filterSet:
            for change in filtered.objectSet:
                for each in change.changeSet if change.kind != "leave" else ():
                    if each.name == PATH:
                        self._take(VmId(change.obj._moId), each.val or ())
        return str(update.version)

    def _take(self, vm: VmId, cards: Any) -> None:
        before = self._known.get(vm, _NONE)
        after = dict(before)
        for card in cards:
            found = tuple(address for text in card.ipAddress or () if (address := _address(text)) is not None)
            if found and card.deviceConfigId is not None and card.deviceConfigId > 0:
                after[card.deviceConfigId] = found
        if vm in self._wanted and after != before:
            self._known[vm] = MappingProxyType(after)
            self.on_change(vm)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """None for what is no address, or none that anybody beyond the link can reach."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    odd = address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified
    return None if odd else address
