"""Does a VRouterAgent have what we believe it has?

Its port files may be gone (another ContrailVM took the host over), somebody may have unplugged a port by hand, and it
may have ports of ours that we forgot (a lost journal). Nothing tells of any of this, so agents are asked: before the
first decision, whenever one comes back, and now and then. What differs is only noted in the ledger; the plan mends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from contrail_vsphere.model.contrail import Vmi
from contrail_vsphere.model.ids import DvsId, HostId, VmiId
from contrail_vsphere.vcenter_plugin.books.ledger import Ledger
from contrail_vsphere.vcenter_plugin.books.records import LINK_DOWN, Plug, PortRecord
from contrail_vsphere.vcenter_plugin.identity import PortId
from contrail_vsphere.vcenter_plugin.observed import Observed
from contrail_vsphere.vcenter_plugin.vlans import VlanTable

Told = Mapping[UUID, tuple[UUID, int | None]]
"""What an agent says of its ports: interface -> (VM, VLAN)."""


@dataclass(frozen=True, slots=True)
class Believed:
    """The ledger's places on a host at the moment the agent was asked."""

    plugs: Mapping[VmiId, tuple[PortId, Plug]]


class AgentAudit:
    """Compares; ``mark`` is told the instance UUIDs of the VMs that there is something to do for."""

    def __init__(self, *, ledger: Ledger, observed: Observed, vlans: VlanTable, mark: Callable[[UUID], None]) -> None:
        self._ledger = ledger
        self._observed = observed
        self._vlans = vlans
        self._mark = mark

    def begin(self, host: HostId) -> Believed:
        """To be called before the agent is asked: what changes meanwhile is not judged by its answer."""
        found = {}
        for record in self._ledger.at_host(host):
            plug = record.plug(host)
            if plug is not None:
                found[record.vmi] = (record.id, plug)
        return Believed(found)

    def end(self, host: HostId, believed: Believed, told: Told) -> None:
        """Note what differs."""
        for known, (port, plug) in believed.plugs.items():
            vm, vlan = told.get(known, (None, None))
            if plug.digest not in ("", LINK_DOWN) and (vm, vlan) != (port.vm, plug.vlan):
                self._doubt(port, host, plug)
        for vmi in told.keys() - believed.plugs.keys():
            interface = self._observed.contrail.vmis.get(VmiId(vmi))
            if interface is not None:
                self._remember(host, interface, told[vmi][1])

    def _doubt(self, port: PortId, host: HostId, plug: Plug) -> None:
        record = self._ledger.get(port)
        if record is not None and record.plug(host) == plug:
            self._ledger.put(record.with_plug(replace(plug, digest="", up=False, attempted=True)))
            self._mark(port.vm)

    def _remember(self, host: HostId, interface: Vmi, vlan: int | None) -> None:
        """An interface that is ours is plugged where we did not know; a VLAN that it cannot have there counts as 0."""
        port = self._port_of(interface)
        if port is None:
            return
        record = self._ledger.get(port) or self._record(port, interface.uuid)
        if record is None or record.vmi != interface.uuid or record.plug(host) is not None:
            return
        held = vlan if vlan is not None and self._vlans.observe(port, host, vlan) else 0
        self._ledger.put(record.with_plug(Plug(host, held, attempted=True)))
        self._mark(port.vm)

    def _port_of(self, interface: Vmi) -> PortId | None:
        nic = interface.annotations.get("nic", "")
        if interface.vm is None or not self._observed.is_mine(interface) or not nic.isascii() or not nic.isdigit():
            return None
        return PortId(UUID(str(interface.vm)), int(nic))

    def _record(self, port: PortId, vmi: VmiId) -> PortRecord | None:
        """A new one; None for a port that another plugin serves."""
        sight = self._observed.machine(port.vm)
        seen = next((each for each in sight.ports if each.id == port), None) if sight is not None else None
        if seen is None or seen.elsewhere is not None:
            return None
        if seen.wanted is not None:
            return PortRecord(port, vmi, seen.wanted.dvs, seen.wanted.key)
        return PortRecord(port, vmi, DvsId(""), "")
