"""What should be: which networks have port groups, and what the ports of a VM should look like.

Contrail leads for networks, vCenter leads for machines. Everything here is read from the two inventories as they are
handed in; no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from uuid import UUID

from contrail_vsphere.model.contrail import Address, VirtualNetwork
from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.ids import DvsId, HostId, NetworkId, ProjectId, VmId, VnId
from contrail_vsphere.model.inventory import Dvs, Host, Network, Nic, VirtualMachine
from contrail_vsphere.model.port_group import marked_network
from contrail_vsphere.vcenter_plugin.identity import PortId

EAM_KEY = "com.vmware.vim.eam"
"""``config.managedBy.extensionKey`` of a ContrailVM; names prove nothing."""


UUID_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Selection:
    """Which networks and switches are the plugin's; patterns as in a shell, ``domain:project`` for projects."""

    projects: tuple[str, ...] = ("*",)
    exclude_projects: tuple[str, ...] = ("default-domain:default-project",)
    """The project of Contrail's own networks (ip-fabric, __link_local__, ...)."""
    switches: tuple[str, ...] = ("*",)
    by_name: bool = False
    """OpenStack makes the port groups: one whose name ends in a network's uuid stands for it (vcenter-as-compute)."""

    def network_of(self, group: Network) -> VnId | None:
        """The network that a port group stands for."""
        mark = marked_network(group)
        if mark is None and self.by_name and not group.uplink:
            mark = _uuid(group.name[-UUID_LENGTH:])
        return VnId(mark) if mark is not None else None

    def wants(self, network: VirtualNetwork) -> bool:
        """Whether a network gets port groups."""
        project = ":".join(network.fq_name[:-1])
        chosen = any(fnmatchcase(project, pattern) for pattern in self.projects)
        excluded = any(fnmatchcase(project, pattern) for pattern in self.exclude_projects)
        return chosen and not excluded and network.user_visible

    def wants_switch(self, dvs: Dvs) -> bool:
        """Whether a switch carries port groups of networks."""
        return any(fnmatchcase(dvs.name, pattern) for pattern in self.switches)


@dataclass(frozen=True, slots=True)
class Scope:
    """What of the selection this plugin acts for; other plugins act for the rest, and it never undoes their work.

    One plugin for everything (the default), one for each switch, or one for each host beside one for the networks.
    """

    switches: tuple[str, ...] = ("*",)
    """Patterns: the selected switches that are this plugin's."""
    networks: bool = True
    """It makes the port groups, and clears up after VMs that nobody serves any more."""
    ports: bool = True
    """It serves the ports of VMs."""
    hosts: frozenset[str] = frozenset()
    """Names or managed object ids: only the VMs there are its; empty: all."""

    @property
    def whole(self) -> bool:
        """Every VM of its switches is its."""
        return self.ports and not self.hosts

    def serves(self, host: Host | None) -> bool:
        """Whether the VMs on a host are its."""
        if not self.ports:
            return False
        return not self.hosts or (host is not None and (host.id in self.hosts or host.name in self.hosts))

    def has(self, dvs: Dvs) -> bool:
        """Whether a selected switch is its."""
        return any(fnmatchcase(dvs.name, pattern) for pattern in self.switches)


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class WantedPort:
    """One card of a VM in a network of Contrail."""

    id: PortId
    vm: VmId
    mac: str
    dvs: DvsId
    key: str
    """Port key on the switch."""
    group: NetworkId
    network: VnId
    project: ProjectId
    name: str
    """Of the VM: for people only."""
    host: HostId | None
    on: bool
    """The guest runs and the card is connected."""
    addresses: tuple[Address, ...] = field(default=())
    """What the guest has given itself; asked only where the network has external IPAM."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a card in a port group of ours cannot have a port now."""

    reason: str
    lost: bool = False
    """Its network does not exist, as far as Contrail's inventory goes: it is not just late."""
    dvs: DvsId | None = None
    key: str = ""
    """The port that it has on that switch all the same; empty: none yet."""


def wanted_ports(
    vm: VirtualMachine,
    *,
    groups: Mapping[NetworkId, Network],
    networks: Mapping[VnId, VirtualNetwork],
    switches: Mapping[str, Dvs],
    selection: Selection = Selection(),
) -> tuple[tuple[WantedPort, ...], dict[PortId, Missing]]:
    """The ports a VM should have, and for cards in our port groups that cannot have one yet, what is missing.

    ``switches`` are the selected ones by uuid. Cards elsewhere are not ours and appear in neither.
    """
    instance = instance_of(vm)
    if instance is None or vm.template or vm.managed_by == EAM_KEY:
        return (), {}
    found: list[WantedPort] = []
    missing: dict[PortId, Missing] = {}
    for nic in vm.nics:
        group, dvs = groups.get(nic.network or NetworkId("")), switches.get(nic.dvs_uuid)
        mark = selection.network_of(group) if group is not None else None
        if group is None or dvs is None or mark is None or group.dvs != dvs.id:
            continue
        port = PortId(instance, nic.key)
        network = networks.get(mark)
        if network is None and marked_network(group) is None:
            continue  # A name may end in anybody's uuid.
        if network is None:
            reason = f"the virtual network {mark} is not known"
            missing[port] = Missing(reason, lost=True, dvs=dvs.id, key=nic.port_key)
        elif not nic.port_key:
            missing[port] = Missing("the card has no port on the switch yet")
        else:
            found.append(_wanted(vm, nic, port=port, dvs=dvs.id, network=network))
    return tuple(found), missing


def _wanted(vm: VirtualMachine, nic: Nic, *, port: PortId, dvs: DvsId, network: VirtualNetwork) -> WantedPort:
    return WantedPort(
        id=port,
        vm=vm.id,
        mac=nic.mac.lower(),
        dvs=dvs,
        key=nic.port_key,
        group=nic.network or NetworkId(""),
        network=network.uuid,
        project=network.parent_uuid,
        name=vm.name,
        host=vm.host,
        on=vm.power == "poweredOn" and nic.connected,
    )


def instance_of(vm: VirtualMachine) -> UUID | None:
    """The VM's instance UUID; None while vCenter has not told it."""
    return _uuid(vm.instance_uuid)


def host_of(port: DvPort, vms: Mapping[VmId, VirtualMachine]) -> HostId | None:
    """Where a DVPort is: as it says, else where its VM is, as that of a VM that is off may say nothing."""
    vm = vms.get(port.vm) if port.host is None and port.vm is not None else None
    return vm.host if vm is not None else port.host


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
