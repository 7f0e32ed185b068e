"""Does everything agree? The invariants of the plugin, checked over all that was read. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from contrail_vsphere.model.ids import HostId
from contrail_vsphere.vcenter_plugin.identity import CREATOR
from contrail_vsphere.vcenter_plugin.observed import Observed


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be."""

    what: str
    """``vlan-twice``, ``open-without-vlan``, ``vlan-differs``, ``no-card`` or ``mac-twice``."""
    subject: str
    detail: str


def audit(observed: Observed) -> tuple[Finding, ...]:
    """All findings; none is good."""
    return (*_ports(observed), *_records(observed), *_interfaces(observed))


def _ports(observed: Observed) -> list[Finding]:
    found: list[Finding] = []
    used: dict[tuple[HostId, int], str] = {}
    network_of = observed.selection.network_of
    ours = {group.id for group in observed.vsphere.networks.values() if network_of(group) is not None}
    for port in observed.book.ports():
        if port.group not in ours or port.vm is None:
            continue
        vm = observed.vsphere.vms.get(port.vm)
        name = f"{vm.name if vm is not None else port.vm} port {port.key}"
        if port.blocked is False and not port.vlan:
            found.append(Finding("open-without-vlan", name, "it is open and has the port group's VLAN"))
        if port.vlan and port.host is not None and vm is not None and vm.power == "poweredOn":
            other = used.setdefault((port.host, port.vlan), name)
            if other != name:
                found.append(Finding("vlan-twice", name, f"{other} has VLAN {port.vlan} on {port.host} too"))
    return found


def _records(observed: Observed) -> list[Finding]:
    found = []
    for record in observed.ledger.all():
        port = observed.book.get(record.dvs, record.key)
        plug = record.plug(port.host) if port is not None else None
        if port is not None and plug is not None and plug.digest and port.vlan not in (None, plug.vlan):
            detail = f"the switch has VLAN {port.vlan}, the VRouterAgent {plug.vlan}"
            found.append(Finding("vlan-differs", str(record.id), detail))
    return found


def _interfaces(observed: Observed) -> list[Finding]:
    found = []
    for vmi in observed.contrail.vmis.values():
        mine = vmi.creator == CREATOR and vmi.annotations.get("vcenter") == str(observed.identity.vcenter)
        if mine and vmi.vm is not None and not observed.index.vms_of(vmi.vm):
            found.append(Finding("no-card", f"interface {vmi.uuid}", f"vCenter has no VM {vmi.vm}"))
    for mac, vmis in observed.index.macs_twice():
        values = [value for vmi in sorted(vmis) if (value := observed.contrail.vmis.get(vmi)) is not None]
        for network in dict.fromkeys(value.network for value in values):
            here = [value for value in values if value.network == network]
            if len(here) > 1 and any(value.creator == CREATOR for value in here):
                others = ", ".join(str(value.uuid) for value in here[1:])
                detail = f"{mac} in network {network}: {others} too"
                found.append(Finding("mac-twice", f"interface {here[0].uuid}", detail))
    return found
