"""Why is this VM not connected? A chain of checks for each of its cards, in the order a frame needs them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from contrail_vsphere.model.inventory import VirtualMachine
from contrail_vsphere.vcenter_plugin.desired import EAM_KEY
from contrail_vsphere.vcenter_plugin.plan.contrail import lacking_address
from contrail_vsphere.vcenter_plugin.plan.sights import MachineSight, PortSight


@dataclass(frozen=True, slots=True)
class Check:
    """One link of the chain; ``ok`` None: it was not reached."""

    name: str
    ok: bool | None
    found: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One card. ``broken`` is the first check that failed; empty when the card is connected."""

    nic: int
    mac: str
    checks: tuple[Check, ...]

    @property
    def broken(self) -> str:
        """Name of the first check that failed."""
        return next((check.name for check in self.checks if check.ok is False), "")


def explain(vm: VirtualMachine, sight: MachineSight | None) -> tuple[Explanation, ...]:
    """Every card of the VM."""
    ports = {port.id.nic: port for port in sight.ports} if sight is not None else {}
    return tuple(Explanation(nic.key, nic.mac, _chain(vm, ports.get(nic.key), sight)) for nic in vm.nics)


def _chain(vm: VirtualMachine, port: PortSight | None, sight: MachineSight | None) -> tuple[Check, ...]:
    """What comes after the first failure is named, but was not reached."""
    checks, broken = [], False
    for check in _checks(vm, port, sight):
        checks.append(Check(check.name, None, "") if broken else check)
        broken = broken or check.ok is False
    return tuple(checks)


def _checks(vm: VirtualMachine, port: PortSight | None, sight: MachineSight | None) -> Iterator[Check]:
    ours = not vm.template and vm.managed_by != EAM_KEY
    kind = "a template" if vm.template else "a ContrailVM" if not ours else "a tenant"
    yield Check("the VM takes part", ours, f"it is {kind}")
    managed = port is not None and (port.wanted is not None or bool(port.missing))
    place = "in a port group of a Contrail network" if managed else "in no port group of ours, or on another switch"
    yield Check("the card's port group is ours", managed, f"the card is {place}")
    if port is None or sight is None:
        return
    wanted = port.wanted
    yield Check("the virtual network is known", wanted is not None, port.missing or str(wanted and wanted.network))
    if wanted is None:
        return
    host = sight.hosts.get(wanted.host) if wanted.host is not None else None
    yield Check("the guest runs and the card is connected", wanted.on, f"power is {vm.power}")
    directory = host is not None and bool(host.address)
    yield Check("the host has a VRouterAgent", directory, host.address or host.name if host else "the VM has no host")
    forwards = host is not None and host.forwards
    yield Check("the VRouterAgent forwards", forwards, host.reason or "it has a controller" if host else "")
    dv = port.dv
    connected = dv is not None and (dv.vm, dv.nic) == (wanted.vm, port.id.nic)
    yield Check(
        "the card is connected to its DVPort", connected, f"port {wanted.key}, at {dv.host if dv else 'no host'}"
    )
    plug = port.record.plug(wanted.host) if port.record is not None else None
    yield Check("a VLAN is claimed on the host", plug is not None, f"VLAN {plug.vlan}" if plug else "none")
    is_open = dv is not None and plug is not None and (dv.vlan, dv.blocked) == (plug.vlan, False)
    state = f"VLAN {dv.vlan}, {'open' if dv.blocked is False else 'blocked'}" if dv is not None else "not read"
    yield Check("the DVPort has it and is open", is_open, state)
    vmi = port.vmi
    fits = vmi is not None and vmi.network == wanted.network and wanted.mac in vmi.macs
    yield Check("Contrail has the interface", fits, str(vmi.uuid) if vmi is not None else "none")
    lacking = lacking_address(port, wanted)
    addresses = ", ".join(str(iip.address) for iip in port.iips if iip.address is not None)
    yield Check("Contrail has its address", not lacking, lacking or addresses or "none is needed")
    plugged = plug is not None and bool(plug.digest) and plug.up
    yield Check("it is plugged at the VRouterAgent", plugged, "confirmed" if plugged else "not confirmed")
