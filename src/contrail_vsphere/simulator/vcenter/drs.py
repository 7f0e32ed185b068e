"""Where a VM may run: the checks of every placement, DRS's choices, evacuation, and HA.

A host that has fewer available EsxAgents than EAM requires takes no other VM: that is how vCenter keeps tenants off a
host whose ContrailVM does not forward yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from contrail_vsphere.simulator.vcenter import dvs_members
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.datastore import Datastore
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


def check_host(vm: VirtualMachine, host: HostSystem, *, datastores: Iterable[Datastore] | None = None) -> None:
    """Raise what forbids that the VM runs on this host, with its files on its own ``datastores`` or on these."""
    check_provisioning(vm, host)
    if not vm.esx_agent and host.available_agents < host.required_agents:
        raise fault(
            vim.fault.InsufficientAgentVmsDeployed,
            f"Host '{host.name}' requires {host.required_agents} agent virtual machines, "
            f"{host.available_agents} are available.",
            hostName=host.name,
            requiredNumAgentVms=host.required_agents,
            currentNumAgentVms=host.available_agents,
        )
    check_datastores(host, vm.datastores if datastores is None else datastores)
    check_networks(vm, host)
    dvs_members.check_room(vm, host)
    _check_resources(vm, host)


def check_provisioning(vm: VirtualMachine, host: HostSystem) -> None:
    """Raise what forbids that a VM, running or not, comes to this host: its connection, maintenance mode, standby."""
    if host.connection_state != "connected":
        raise fault(vim.fault.InvalidHostConnectionState, f"Host '{host.name}' is not connected.", host=host)
    if host.in_maintenance or host.power_state != "poweredOn":
        raise fault(vim.fault.InvalidHostState, f"Host '{host.name}' is in maintenance mode or standby.", host=host)
    if host.entering_maintenance and host is not vm.host:
        raise fault(vim.fault.InvalidHostState, f"Host '{host.name}' is entering maintenance mode.", host=host)


def check_datastores(host: HostSystem, datastores: Iterable[Datastore]) -> None:
    """Raise InaccessibleDatastore for the first one that the host does not mount."""
    mounted = {datastore.moid for datastore in host.datastores}
    for datastore in datastores:
        if datastore.moid not in mounted:
            message = f"Datastore '{datastore.name}' is not accessible on host '{host.name}'."
            raise fault(vim.fault.InaccessibleDatastore, message, datastore=datastore, name=datastore.name)


def check_networks(vm: VirtualMachine, host: HostSystem) -> None:
    """Raise CannotAccessNetwork for the first card whose network the host does not have."""
    reachable = {network.moid for network in host.networks}
    for nic in vm.nics:
        if nic.network is not None and nic.network.moid not in reachable:
            raise fault(
                vim.fault.CannotAccessNetwork,
                f"Network '{nic.network.name}' is not accessible on host '{host.name}'.",
                device=nic.label,
                backing=nic.network.name,
                connected=nic.start_connected,
                network=nic.network,
            )


def _check_resources(vm: VirtualMachine, host: HostSystem) -> None:
    """Reservations of what runs on the host must leave room for the VM's."""
    running = [other for other in host.vms if other is not vm and other.power_state == "poweredOn"]
    memory = host.memory_mb - sum(other.memory_reservation for other in running)
    if vm.memory_reservation > memory:
        raise fault(
            vim.fault.InsufficientMemoryResourcesFault,
            "The host does not have sufficient memory resources to satisfy the reservation.",
            unreserved=memory * 1024 * 1024,
            requested=vm.memory_reservation * 1024 * 1024,
        )
    cpu = host.cpu_mhz * host.cpu_cores - sum(other.cpu_reservation for other in running)
    if vm.cpu_reservation > cpu:
        raise fault(
            vim.fault.InsufficientCpuResourcesFault,
            "The host does not have sufficient CPU resources to satisfy the reservation.",
            unreserved=cpu,
            requested=vm.cpu_reservation,
        )


def refusal(vm: VirtualMachine, host: HostSystem) -> SoapFault | None:
    """Why the VM may not run on this host; None when it may."""
    try:
        check_host(vm, host)
    except SoapFault as error:
        return error
    return None


def choose_host(vm: VirtualMachine, hosts: Iterable[HostSystem]) -> HostSystem | None:
    """The host with the fewest running VMs of those that take this one; ties go to the first."""
    fitting = [host for host in hosts if refusal(vm, host) is None]
    return min(fitting, key=load, default=None)


def load(host: HostSystem) -> int:
    """Running VMs."""
    return sum(1 for vm in host.vms if vm.power_state == "poweredOn")


def host_for_power_on(vm: VirtualMachine, wanted: HostSystem | None) -> HostSystem:
    """The asked-for host, else the VM's own, else with DRS another one of the cluster. Raises the first refusal."""
    own = wanted or vm.host
    if own is None:
        raise fault(vim.fault.NoCompatibleHost, "No host is compatible with the virtual machine.")
    error = refusal(vm, own)
    if error is None:
        return own
    cluster = own.compute_resource
    if wanted is None and cluster.drs and not vm.esx_agent:
        other = choose_host(vm, (host for host in cluster.hosts if host is not own))
        if other is not None:
            return other
    raise error


def evacuation_target(vm: VirtualMachine) -> HostSystem | None:
    """Where DRS moves a VM whose host goes into maintenance mode; None when nothing fits, or DRS is off."""
    if vm.host is None or vm.esx_agent or not vm.host.compute_resource.drs:
        return None
    return choose_host(vm, (host for host in vm.host.compute_resource.hosts if host is not vm.host))


def restart_target(vm: VirtualMachine) -> HostSystem | None:
    """Where HA restarts a VM of a dead host; None for EsxAgents, which stay on theirs."""
    if vm.host is None or vm.esx_agent or not vm.host.compute_resource.ha:
        return None
    return choose_host(vm, (host for host in vm.host.compute_resource.hosts if host is not vm.host))
