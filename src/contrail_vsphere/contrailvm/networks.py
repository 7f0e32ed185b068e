"""What a ContrailVM stands on: which NIC belongs to which network, what our trunk must look like, the resource pool.

The overlay NIC carries the tagged frames of every tenant port of the host, under the tenants' own MAC addresses; its
port group must therefore trunk all VLANs, be promiscuous and allow forged transmits. We make that port group, write our
mark into its description, and put it right when somebody changes it.
"""

from __future__ import annotations

from dataclasses import replace

from contrail_vsphere.contrailvm.desired import Desired, OverlayTrunk, PoolSpec, Role, marked_name, stable_mac
from contrail_vsphere.contrailvm.observed import Observed
from contrail_vsphere.contrailvm.plan.actions import (
    Action,
    Alarm,
    EnsureResourcePool,
    EnsureTrunkPortGroup,
    NicChange,
    RemoveResourcePool,
    RemoveTrunkPortGroup,
    Wait,
)
from contrail_vsphere.model.ids import HostId, NetworkId
from contrail_vsphere.model.inventory import Network, VirtualMachine

TRUNK_VLANS = "1-4094"


def trunk_mark(solution_id: str) -> str:
    """The description of a trunk of ours; the extension key in it keeps two managers apart."""
    return f"Overlay trunk of the ContrailVMs, kept by {solution_id}; changes to it are undone."


def is_ours(network: Network, solution_id: str) -> bool:
    """True when the port group bears our mark."""
    return f"kept by {solution_id};" in network.description


def find_trunk(trunk: OverlayTrunk, observed: Observed) -> Network | None:
    """The port group of that name on that switch, ours or not."""
    found = (each for each in observed.networks.values() if each.dvs == trunk.switch and each.name == trunk.name)
    return min(found, key=lambda each: each.id, default=None)


def trunk_faults(network: Network) -> tuple[str, ...]:
    """What is wrong with a trunk, in words; settings vCenter has not told us yet are not wrong."""
    faults = []
    if network.vlan and network.vlan != TRUNK_VLANS:
        faults.append(f"VLAN is {network.vlan} instead of trunk {TRUNK_VLANS}")
    if network.promiscuous is False:
        faults.append("promiscuous mode is off")
    if network.forged_transmits is False:
        faults.append("forged transmits are refused")
    if network.mac_changes is True:
        faults.append("MAC changes are allowed")
    return tuple(faults)


def plan_trunk(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """Make the overlay trunk, keep ours right, and touch nobody else's."""
    trunk = desired.trunk
    if trunk is None:
        return ()
    if trunk.switch not in observed.dvss:
        return (Alarm(cause="network.gone", reason=f"distributed switch {trunk.switch} no longer exists; apply again"),)
    network = find_trunk(trunk, observed)
    if network is None:
        return (EnsureTrunkPortGroup(trunk=trunk, reason=f"port group {trunk.name} does not exist"),)
    if not is_ours(network, observed.solution_id):
        reason = f"port group {trunk.name} exists and is not ours; give another name, or name it as the overlay network"
        return (Alarm(cause="network.foreign", reason=reason),)
    wrong = trunk_faults(network)
    if not wrong:
        return ()
    return (
        EnsureTrunkPortGroup(
            trunk=trunk,
            existing=network.id,
            config_version=network.config_version,
            wrong=wrong,
            reason=f"port group {trunk.name}: {'; '.join(wrong)}",
        ),
    )


def wanted_pool(desired: Desired, observed: Observed) -> PoolSpec | None:
    """Our resource pool; None where none is wanted or EAM cannot be told of it and uses a pool of its own."""
    return desired.pool if observed.features.places else None


def plan_pool(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """Have our resource pool before the agency names it."""
    if desired.pool is not None and not observed.features.places:
        if not desired.pool.cpu_mhz and not desired.pool.memory_mb:
            return ()
        reason = "this EAM puts ContrailVMs into a pool of its own (6.9 is the first to take ours); reserve there"
        return (Alarm(cause="pool.not-taken", reason=reason),)
    if desired.pool is None or observed.pool is not None or observed.cluster is None:
        return ()
    root = observed.cluster.root_pool
    if root is None:
        return (Wait(reason="the cluster's root resource pool is not known yet"),)
    return (
        EnsureResourcePool(
            cluster=observed.cluster.id,
            root=root,
            pool=replace(desired.pool, name=marked_name(observed.solution_id, desired.key, desired.pool.name)),
            reason=f"resource pool {desired.pool.name} was not looked up yet",
        ),
    )


def plan_clearing(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """After a removal: take away the port group and the pool that bear our mark and that nobody else stands on."""
    actions: list[Action] = []
    trunk = find_trunk(desired.trunk, observed) if desired.trunk is not None else None
    if trunk is not None and is_ours(trunk, observed.solution_id) and not observed.trunk_shared:
        reason = f"port group {trunk.name} bears our mark and no deployment needs it any more"
        actions.append(RemoveTrunkPortGroup(port_group=trunk.id, reason=reason))
    root = observed.cluster.root_pool if observed.cluster is not None else None
    if desired.pool is not None and root is not None:
        name = marked_name(observed.solution_id, desired.key, desired.pool.name)
        reason = f"resource pool {name} is ours and the deployment was removed"
        actions.append(RemoveResourcePool(root=root, name=name, reason=reason))
    return tuple(actions)


def wanted_networks(desired: Desired, observed: Observed) -> tuple[tuple[Role, NetworkId | None], ...]:
    """Role and network per NIC, in NIC order; None for the overlay trunk while it does not exist or is not ours."""
    wanted: list[tuple[Role, NetworkId | None]] = []
    for nic in desired.nics:
        if nic.network is not None or desired.trunk is None:
            wanted.append((nic.role, nic.network))
            continue
        trunk = find_trunk(desired.trunk, observed)
        usable = trunk is not None and is_ours(trunk, observed.solution_id)
        wanted.append((nic.role, trunk.id if trunk is not None and usable else None))
    return tuple(wanted)


def missing_networks(desired: Desired, observed: Observed) -> tuple[str, ...]:
    """Roles whose network vCenter does not have (any more), with its id."""
    return tuple(
        f"{nic.role} ({nic.network})"
        for nic in desired.nics
        if nic.network is not None and nic.network not in observed.networks
    )


def nic_changes(
    desired: Desired, observed: Observed, vm: VirtualMachine, *, host: HostId | None = None
) -> tuple[NicChange, ...]:
    """What it takes to have every NIC on the network of its role, and with ``host`` to have the host's addresses too.

    NICs count in the order of their device keys, which is that of the OVF's ethernet items; more NICs are left alone.
    Addresses can be changed only while the VM is off.
    """
    nics = sorted(vm.nics, key=lambda nic: nic.key)
    fixed = host if desired.stable_macs else None
    changes = []
    for position, (role, network) in enumerate(wanted_networks(desired, observed)):
        sriov = desired.nics[position].sriov
        if network is None or (sriov and host is None):
            continue
        mac = stable_mac(observed.solution_id, desired.key, fixed, role) if fixed is not None else ""
        if position >= len(nics):
            changes.append(NicChange(role, network, mac=mac, sriov=sriov))
        elif nics[position].network != network or (mac and nics[position].mac.lower() != mac):
            changes.append(NicChange(role, network, nics[position].key, mac))
    return tuple(changes)
