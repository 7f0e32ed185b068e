"""VLANs that ports show, open, without holding them.

A port is handed on with what it was set to where reset at disconnect is off, or copies another's settings; vCenter may
lose what is written to it while its VM is off. Whoever had such a VLAN would meet that VM in it as soon as it runs, be
it in a moment in which nobody is there to write the port's own.
"""

from __future__ import annotations

from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.ids import DvsId, HostId
from contrail_vsphere.vcenter_plugin.books.port_book import PortBook
from contrail_vsphere.vcenter_plugin.desired import host_of
from contrail_vsphere.vcenter_plugin.doors import VSphereView
from contrail_vsphere.vcenter_plugin.identity import PortId
from contrail_vsphere.vcenter_plugin.vlans import VlanTable


class Shown:
    """Follows what the switches show, beside what the table holds."""

    def __init__(self, book: PortBook, vlans: VlanTable, vsphere: VSphereView) -> None:
        self._book = book
        self._vlans = vlans
        self._vsphere = vsphere
        self._places: dict[tuple[DvsId, str], tuple[PortId, int]] = {}

    def note(self, port: DvPort, owner: PortId | None) -> None:
        """A port was read, or written: a write is believed once the port was read again."""
        place = port.dvs, port.key
        vlan = port.vlan if port.blocked is not True else None
        if owner is not None and vlan and not self._holds(owner, vlan):
            self._places[place] = owner, vlan
        elif owner is None or port.version:
            self._places.pop(place, None)

    def beside(self, port: PortId) -> dict[int, set[HostId | None]]:
        """VLANs that other ports show, with the hosts they are at; None where that is not known."""
        found: dict[int, set[HostId | None]] = {}
        for place, (owner, vlan) in tuple(self._places.items()):
            seen = self._book.get(*place)
            settled = seen is not None and seen.version and (seen.vlan != vlan or seen.blocked is True)
            if seen is None or settled or self._holds(owner, vlan):
                del self._places[place]
            elif owner != port:
                found.setdefault(vlan, set()).add(host_of(seen, self._vsphere.vms))
        return found

    def _holds(self, owner: PortId, vlan: int) -> bool:
        return vlan in self._vlans.of(owner).values()
