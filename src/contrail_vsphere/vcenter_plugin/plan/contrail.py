"""What to do about the objects of one port in Contrail. Pure.

VM, interface and addresses are made in that order and deleted in the reverse one. The network of an interface cannot be
changed in place (its routing instance would stay), nor the address of an instance IP: those are deleted and made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from contrail_vsphere.model.contrail import Address, ContrailVm, Family, InstanceIp, VirtualNetwork, Vmi
from contrail_vsphere.model.ids import VirtualMachineId
from contrail_vsphere.vcenter_plugin.desired import WantedPort
from contrail_vsphere.vcenter_plugin.identity import PREDECESSORS, Identity, is_ours, may_touch
from contrail_vsphere.vcenter_plugin.plan.actions import (
    Action,
    AdoptVmi,
    CreateIip,
    CreateVmi,
    DeleteIip,
    DeleteVm,
    DeleteVmi,
    EnsureVm,
    SetMac,
    Wait,
)
from contrail_vsphere.vcenter_plugin.plan.sights import MachineSight, PortPolicy, PortSight, vmi_id

SIGHT_AGAIN = 5.0
"""Seconds until it is asked again whether absence proves anything."""
_NUMBER: dict[Family, int] = {"v4": 0, "v6": 1}


def keep(port: PortSight, wanted: WantedPort, sight: MachineSight, policy: PortPolicy) -> Iterator[Action]:
    """Interface and addresses of a card that is there."""
    vmi, network = port.vmi, port.network
    if network is None or not policy.writes_contrail:
        return
    if vmi is not None and not may_touch(vmi.creator, adopted=policy.adopt):
        if vmi.vm != VirtualMachineId(port.id.vm) or vmi.network != wanted.network:
            yield Wait(state="ERROR", port=port.id, reason=f"interface {vmi.uuid} belongs to {vmi.creator or 'nobody'}")
        return
    if vmi is not None and vmi.network != wanted.network:
        yield from drain(port, vmi, reason="an interface cannot change its network")
        return
    name = f"{network.display_name or network.fq_name[-1]}-{sight.name}"
    uuid = vmi_id(port, wanted, policy)
    if vmi is None:
        yield CreateVmi(
            vmi=uuid,
            vm=VirtualMachineId(port.id.vm),
            network=wanted.network,
            project=wanted.project,
            mac=wanted.mac,
            name=f"vmi-{name}",
            annotations=origin(policy.identity, port.id.vm, nic=port.id.nic),
            reason="the card has no interface",
        )
    elif vmi.creator in PREDECESSORS and not is_ours(vmi, policy.identity):
        yield AdoptVmi(
            vmi=vmi.uuid,
            annotations=origin(policy.identity, port.id.vm, nic=port.id.nic),
            reason=f"the interface was made by {vmi.creator}",
        )
    elif vmi.macs != (wanted.mac,):
        yield SetMac(vmi=vmi.uuid, mac=wanted.mac, reason=f"the card's address is {wanted.mac} now")
    own = [iip for iip in port.iips if not iip.service]
    for family, address in _lacking(network, wanted, own):
        number = _NUMBER[family] if address is None else int(address)
        yield CreateIip(
            iip=policy.identity.iip(
                uuid, number, network=network.fq_name[-1], vm=sight.name, shared=_shares_names(port, wanted, sight)
            ),
            vmi=uuid,
            network=wanted.network,
            family=family,
            address=address,
            name=f"ip-{name}",
            reason="the interface has no address" if address is None else f"the guest has {address}",
        )
    told = {address.version for address in wanted.addresses} if network.external_ipam else set()
    for iip in own:
        # A family of which the guest says nothing at all is one that VMware Tools have forgotten for the moment.
        stale = iip.address is not None and iip.address not in wanted.addresses and iip.address.version in told
        if stale and may_touch(iip.creator, adopted=True):
            yield DeleteIip(iip=iip.uuid, reason=f"the guest has {iip.address} no more")


def _shares_names(port: PortSight, wanted: WantedPort, sight: MachineSight) -> bool:
    """Another card of the VM is in the same network, or a VM that was renamed has left its id of an address taken."""
    before = (each for each in sight.ports if each.id < port.id and each.wanted is not None)
    return port.iip_taken or any(each.wanted is not None and each.wanted.network == wanted.network for each in before)


def drain(port: PortSight, vmi: Vmi, *, reason: str = "the card is gone") -> Iterator[Action]:
    """Addresses, then the interface; what somebody else has put there holds it, and is named."""
    foreign = [iip for iip in port.iips if not may_touch(iip.creator, adopted=True)]
    for iip in port.iips:
        if iip not in foreign:
            yield DeleteIip(iip=iip.uuid, reason=reason)
    if foreign:
        held = f"instance IP {foreign[0].uuid} of {foreign[0].creator or 'somebody'} holds interface {vmi.uuid}"
        yield Wait(state="DRAINING", port=port.id, reason=f"{reason}, but {held}")
    else:
        yield DeleteVmi(vmi=vmi.uuid, reason=reason)


def lacking_address(port: PortSight, wanted: WantedPort) -> str:
    """Why the port cannot be plugged for want of an address; empty if it can."""
    network = port.network
    if network is None:
        return "the virtual network is not known"
    if network.external_ipam:
        return ""
    for family in ("v4", "v6"):
        if network.serves(family) and not any(
            iip.address is not None and iip.family == family and not iip.service for iip in port.iips
        ):
            return f"Contrail has not given the {family} address yet"
    return ""


def origin(identity: Identity, vm: UUID, *, nic: int | None = None) -> tuple[tuple[str, str], ...]:
    """Where an object of ours comes from."""
    found = (("vcenter", str(identity.vcenter)), ("vm", str(vm)))
    return found if nic is None else (*found, ("nic", str(nic)))


def _lacking(
    network: VirtualNetwork, wanted: WantedPort, own: list[InstanceIp]
) -> Iterator[tuple[Family, Address | None]]:
    if network.external_ipam:
        have = {iip.address for iip in own}
        for address in wanted.addresses:
            if address not in have and network.subnet_of(address) is not None:
                yield "v4" if address.version == 4 else "v6", address
        return
    families: tuple[Family, ...] = ("v4", "v6")
    for family in families:
        if network.serves(family) and not any(iip.family == family for iip in own):
            yield family, None


# -- the VM in Contrail ---------------------------------------------------------------------------------------------


def ensure_vm(sight: MachineSight, port: PortSight, policy: PortPolicy) -> Iterator[Action]:
    """The VM, with its present name."""
    vm, wanted = sight.contrail_vm, port.wanted
    assert wanted is not None  # noqa: S101 - the caller has chosen it so
    if vm is not None and not may_touch(vm.creator, adopted=policy.adopt):
        return
    if vm is not None and vm.display_name == sight.name and is_ours(vm, policy.identity):
        return
    yield EnsureVm(
        vm=policy.identity.vm(sight.id),
        name=sight.name,
        project=wanted.project,
        annotations=origin(policy.identity, sight.id),
        exists=vm is not None,
        reason=_why_ensured(vm, sight.name),
    )


def _why_ensured(vm: ContrailVm | None, name: str) -> str:
    if vm is None:
        return "Contrail does not know the VM"
    return "the VM has another name" if vm.display_name != name else f"the VM was made by {vm.creator}"


def farewell(sight: MachineSight, policy: PortPolicy) -> Iterator[Action]:
    """The VM, once it has no card in a network of Contrail any more."""
    vm = sight.contrail_vm
    if vm is None or not is_ours(vm, policy.identity):
        return
    if sight.blind:
        yield Wait(state="DRAINING", seconds=SIGHT_AGAIN, reason=f"the VM is not seen, but {sight.blind}")
    elif vm.annotations.get("vcenter") == str(policy.identity.vcenter):
        if sight.gone_for < policy.linger:
            yield Wait(state="DRAINING", seconds=policy.linger - sight.gone_for, reason="the VM may come back")
        else:
            yield DeleteVm(vm=VirtualMachineId(sight.id), reason="the VM has no card in a network of Contrail")
