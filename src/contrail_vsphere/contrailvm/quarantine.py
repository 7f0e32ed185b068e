"""Strangers on the overlay trunk: a clone or a restored copy of a ContrailVM, or somebody who listens.

The trunk carries every tenant's frames to whoever has a NIC on it, and a copy of a ContrailVM would forward beside the
original. Only VMs that EAM or vLCM keeps for us belong there. Another one is not ours to stop or to change; but the
port group is ours, so the port that the stranger stands on is blocked, and opened again when it has gone. Pure.
"""

from __future__ import annotations

from contrail_vsphere.contrailvm.desired import Desired
from contrail_vsphere.contrailvm.networks import find_trunk, is_ours
from contrail_vsphere.contrailvm.observed import Observed
from contrail_vsphere.contrailvm.plan.actions import Action, Alarm, BlockPort
from contrail_vsphere.contrailvm.records import Quarantined
from contrail_vsphere.model.ids import DvsId, NetworkId
from contrail_vsphere.model.inventory import VirtualMachine


def plan_strangers(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """Block the ports of strangers on our trunk, tell of them, and open the ports that they have left."""
    network = find_trunk(desired.trunk, observed) if desired.trunk is not None else None
    if network is None or network.dvs is None or not is_ours(network, observed.solution_id):
        return ()
    switch = network.dvs
    actions: list[Action] = []
    standing: set[Quarantined] = set()
    for vm in observed.strangers:
        ports = _ports(vm, network.id, switch)
        standing |= set(ports)
        actions += [_block(each, vm) for each in ports if each not in observed.record.quarantined]
        if ports:
            reason = (
                f"{vm.name} ({vm.id}) stands on the overlay trunk {network.name} and is no ContrailVM of ours: "
                "a copy of one, or somebody who listens; its port is blocked. Take its NIC off the trunk, or delete it"
            )
            actions.append(Alarm(cause=f"stranger.{vm.id}", reason=reason))
    reason = "the stranger has left the overlay trunk"
    actions += [
        BlockPort(place=each, blocked=False, reason=reason)
        for each in observed.record.quarantined
        if each not in standing
    ]
    return tuple(actions)


def _ports(vm: VirtualMachine, network: NetworkId, switch: DvsId) -> tuple[Quarantined, ...]:
    return tuple(
        Quarantined(vm=vm.id, switch=switch, port=nic.port_key)
        for nic in vm.nics
        if nic.network == network and nic.port_key
    )


def _block(place: Quarantined, vm: VirtualMachine) -> BlockPort:
    return BlockPort(place=place, blocked=True, reason=f"{vm.name} is no ContrailVM that is kept here")
