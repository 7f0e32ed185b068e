"""How far an inventory sees: all of a vCenter, or what one host needs of it.

The plugin in a ContrailVM follows its own host, the VMs there, and the switches that the host is on with their port
groups. What happens to VMs of other hosts never reaches it, so that its cost follows its host and not the site. A VM
that is seen no more has moved or is deleted, and the stream does not say which: vCenter is asked, and a VM that
somebody still has business with is followed, wherever it is, until it is released.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from contrail_vsphere.model.errors import NotFound
from contrail_vsphere.model.ids import VmId
from contrail_vsphere.model.inventory import VirtualMachine
from contrail_vsphere.vsphere import property_collector as pc
from contrail_vsphere.vsphere.inventory_values import PATHS
from contrail_vsphere.vsphere.reader import PropertyReader
from contrail_vsphere.vsphere.session import Session
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build, reference

_MOID = re.compile(r"host-\d+")
_LISTS_OF_THE_SITE = ("network", "datastore")
"""Of a host: told anew, whole, whenever a port group is made anywhere on its switches."""
HOST_PATHS: dict[str, Mapping[str, str]] = {
    "HostSystem": {path: kind for path, kind in PATHS["HostSystem"].items() if path not in _LISTS_OF_THE_SITE},
    **{kind: PATHS[kind] for kind in ("VirtualMachine", "DistributedVirtualPortgroup", "DistributedVirtualSwitch")},
}


class Reach(Protocol):
    """What an inventory follows. Every method raises errors of ``model.errors``."""

    def cares(self, vm: VirtualMachine) -> bool:
        """Whether a VM that is seen no more may only have moved away, and it matters."""
        ...

    async def open(self, session: Session) -> Any:
        """The FilterSpec for a collector of this session."""
        ...

    async def find(self, session: Session, instance_uuid: str, *, last: VmId | None = None) -> VmId | None:
        """The VM as vCenter has it now, which is followed from now on; None when there is none.

        ``last``: as it was known last; one that was registered anew has another id.
        """
        ...

    def follows(self, vm: VmId) -> bool:
        """Whether ``find`` has put it on the list."""
        ...

    async def release(self, session: Session, vm: VmId) -> None:
        """Follow it no more, unless it is within reach anyway."""
        ...


class EverythingReach:
    """All of a vCenter: what is not seen does not exist."""

    def cares(self, vm: VirtualMachine) -> bool:
        """It is gone."""
        return False

    async def open(self, session: Session) -> Any:
        """One view of everything."""
        content = session.content
        args = pc.container_view_args(content.rootFolder, PATHS)
        return pc.of_view(await session.call(content.viewManager, "CreateContainerView", **args), PATHS)

    async def find(self, session: Session, instance_uuid: str, *, last: VmId | None = None) -> VmId | None:
        """It would be in the inventory already."""
        return None

    def follows(self, vm: VmId) -> bool:
        """Nothing is followed by itself."""
        return False

    async def release(self, session: Session, vm: VmId) -> None:
        """Nothing is followed by itself."""


class HostReach:
    """Hosts (names or managed object ids), what is on them, and VMs that went elsewhere with business unfinished."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = frozenset(hosts)
        self._followed: set[VmId] = set()
        self._view: Any = None
        self.unfinished: Callable[[VirtualMachine], bool] = lambda _vm: False
        """Whether somebody has business with a VM that is seen no more."""

    def cares(self, vm: VirtualMachine) -> bool:
        """As whoever follows says."""
        return self.unfinished(vm)

    async def open(self, session: Session) -> Any:
        """From the hosts to their VMs, networks and switches, and from a list of VMs to theirs. NotFound: no host."""
        hosts = await self._find_hosts(session)
        followed = [reference(vim.VirtualMachine, vm) for vm in sorted(self._followed)]
        self._view = await session.call(session.content.viewManager, "CreateListView", obj=followed)
        switch = pc.step(vim.dvs.DistributedVirtualPortgroup, "config.distributedVirtualSwitch")
        networks = pc.step(vim.HostSystem, "network", switch)
        machines = pc.step(vim.HostSystem, "vm")
        listed = pc.step(type(self._view), "view", pc.step(vim.VirtualMachine, "network", switch))
        return build(
            pc.PC.FilterSpec,
            propSet=pc.properties(HOST_PATHS),
            objectSet=[
                *(build(pc.PC.ObjectSpec, obj=host, skip=False, selectSet=[machines, networks]) for host in hosts),
                build(pc.PC.ObjectSpec, obj=self._view, skip=True, selectSet=[listed]),
            ],
        )

    async def find(self, session: Session, instance_uuid: str, *, last: VmId | None = None) -> VmId | None:
        """Put on the list under the id it had; what vCenter does not find, its index may have under another."""
        if last is not None and await self._list(session, reference(vim.VirtualMachine, last)):
            return last
        found = await session.call(
            session.content.searchIndex, "FindByUuid", uuid=instance_uuid, vmSearch=True, instanceUuid=True
        )
        return VmId(found._moId) if found is not None and await self._list(session, found) else None

    async def _list(self, session: Session, vm: Any) -> bool:
        missing = await session.call(self._view, "ModifyListView", add=[vm])
        if missing:
            self._followed.discard(vm._moId)
            return False
        self._followed.add(vm._moId)
        return True

    def follows(self, vm: VmId) -> bool:
        """As listed."""
        return vm in self._followed

    async def release(self, session: Session, vm: VmId) -> None:
        """Taken off the list."""
        self._followed.discard(vm)
        await session.call(self._view, "ModifyListView", remove=[reference(vim.VirtualMachine, vm)])

    async def _find_hosts(self, session: Session) -> list[Any]:
        """Ids are taken at their word; for names, those of all hosts are read once."""
        found = {each: each for each in self._hosts if _MOID.fullmatch(each)}
        names = self._hosts - found.keys()
        if names:
            async for rows in PropertyReader(session).of_type("HostSystem", {"name": "text"}):
                found |= {row.values["name"]: row.id for row in rows if row.values.get("name") in names}
        missing = self._hosts - found.keys()
        if missing:
            raise NotFound(f"vCenter has no host {', '.join(sorted(missing))}", hint="see hosts in [plugin]")
        return [reference(vim.HostSystem, moid) for moid in sorted(found.values())]
