"""One VM as vCenter has it at this moment, asked by its instance UUID.

The inventory is followed and may lag; before something is deleted because a VM is not in it, vCenter is asked.
"""

from __future__ import annotations

from uuid import UUID

from contrail_vsphere.model.errors import NotFound
from contrail_vsphere.model.ids import NetworkId, VmId
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.soap.types import vim

Cards = frozenset[tuple[int, NetworkId]]
"""Device key and port group of every card on a distributed switch."""


class MachineSearch:
    """Asks one vCenter; raises errors of ``model.errors``."""

    def __init__(self, vcenter: VCenter) -> None:
        self._vcenter = vcenter

    async def cards_of(self, instance: UUID) -> tuple[VmId, Cards] | None:
        """The VM and its cards, none for a template; None when vCenter has no VM of that instance UUID."""
        index = self._vcenter.content.searchIndex
        found = await self._vcenter.call(index, "FindByUuid", uuid=str(instance), vmSearch=True, instanceUuid=True)
        if found is None:
            return None
        try:
            values = await self._vcenter.read(found, "config.hardware.device", "config.template")
        except NotFound:
            return None
        devices = () if values.get("config.template") else values.get("config.hardware.device") or ()
        return VmId(found._moId), frozenset(card for device in devices if (card := _card(device)) is not None)

    async def follow(self, instance: UUID) -> None:
        """Have the inventory tell of it, although it may be out of its reach."""
        await self._vcenter.inventory.find(instance)


def _card(device: object) -> tuple[int, NetworkId] | None:
    if not isinstance(device, vim.vm.device.VirtualEthernetCard):
        return None
    port = getattr(device.backing, "port", None)
    group = getattr(port, "portgroupKey", None)
    return (int(device.key), NetworkId(group)) if group else None
