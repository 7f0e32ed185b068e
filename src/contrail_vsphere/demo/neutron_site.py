"""A simulated vCenter as the Neutron story uses it: VMs that take cards as nova gives them, and frames between them."""

from __future__ import annotations

from typing import Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.oracle import Frame, Verdict, VmNic, verdict
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.dvs_ports import in_force
from contrail_vsphere.simulator.vcenter.dvs_settings import rules
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build, reference

TCP = 6
HOSTS, VMS = 2, 8
_BACKING = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo


class NeutronSite:
    """``async with`` it."""

    def __init__(self, name: str, *, vms: int = VMS) -> None:
        self.name = name
        self._simulator = VCenterSimulator(hosts=HOSTS, vms=vms, guests=False, timing=Timing.instant())
        self._vms: dict[str, VirtualMachine] = {}
        self._cards: dict[tuple[str, str], VmNic] = {}
        self._addresses: dict[tuple[str, str], str] = {}
        self._tiers: dict[str, str] = {}
        self.host, self.port = "", 0

    @property
    def ready(self) -> dict[str, Any]:
        """What the simulator says of itself."""
        return self._simulator.ready

    async def __aenter__(self) -> NeutronSite:
        """Serve, with an uplink on every host."""
        await self._simulator.start()
        self.host, _, port = self.ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        self.port = int(port)
        endpoint = Endpoint(self.host, self.port, ca_file=self.ready["ca_file"])
        self._client = VCenter(endpoint, PasswordLogin(self.ready["username"], self.ready["password"]))
        await self._client.__aenter__()
        self._free = list(self._simulator.scenario.vms())
        await self._cable()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        await self._client.close()
        await self._simulator.stop()

    @property
    def _dvs(self) -> DistributedVirtualSwitch:
        objects = self._simulator.world.objects.values()
        return next(each for each in objects if isinstance(each, DistributedVirtualSwitch))

    def groups_of_ours(self) -> list[str]:
        """Names of the port groups that stand for Neutron networks."""
        return sorted(group.name for group in self._dvs.portgroups if group.name.startswith("os-"))

    def group_of(self, network_id: str) -> DistributedVirtualPortgroup | None:
        """The port group of a Neutron network."""
        return next((group for group in self._dvs.portgroups if network_id in group.name), None)

    async def plug(self, vm: str, tier: str, mac: str, address: str, details: dict[str, Any]) -> None:
        """Give a VM a card on the port that ``binding:vif_details`` names; the VM is taken from the free ones."""
        if vm not in self._vms:
            self._vms[vm] = self._free.pop()
        machine = self._vms[vm]
        connection = build(
            vim.dvs.PortConnection,
            switchUuid=details["dvs_id"],
            portgroupKey=details["pg_id"],
            portKey=details.get("dvs_port_key"),
        )
        card = build(
            vim.vm.device.VirtualVmxnet3,
            key=-1,
            addressType="manual",
            macAddress=mac,
            backing=build(_BACKING, port=connection),
        )
        change = build(vim.vm.device.VirtualDeviceSpec, operation="add", device=card)
        spec = build(vim.vm.ConfigSpec, deviceChange=[change])
        await self._client.run_task(reference(vim.VirtualMachine, machine.moid), "ReconfigVM_Task", spec=spec)
        self._cards[vm, tier] = VmNic(machine, machine.nics[-1].key)
        self._addresses[vm, tier] = address
        self._tiers.setdefault(vm, tier)

    async def unplug(self, vm: str, tier: str) -> None:
        """Take a card away again."""
        card = self._cards.pop((vm, tier))
        device = build(vim.vm.device.VirtualVmxnet3, key=card.key)
        change = build(vim.vm.device.VirtualDeviceSpec, operation="remove", device=device)
        spec = build(vim.vm.ConfigSpec, deviceChange=[change])
        await self._client.run_task(reference(vim.VirtualMachine, card.vm.moid), "ReconfigVM_Task", spec=spec)

    # -- what benchmarks look at --------------------------------------------------------------------------------

    def calls(self, without: tuple[str, ...]) -> dict[str, int]:
        """How often each method was called."""
        found: dict[str, int] = self._simulator.scenario.stats()["calls"]
        return {name: number for name, number in found.items() if number and name not in without}

    def named_ports(self) -> int:
        """DVPorts that stand for Neutron ports."""
        return sum(bool(port.name) for port in self._dvs.ports.ports.values() if port.group.name.startswith("os-"))

    def rules_in_force(self, network_id: str) -> int:
        """Fewest rules that a DVPort of a Neutron network has."""
        group = self.group_of(network_id)
        ports = [port for port in self._dvs.ports.ports.values() if port.group is group and port.name]
        return min((len(rules(in_force(port))) for port in ports), default=0)

    def slow(self, seconds: float) -> int:
        """Every call takes so long; negative: none is answered."""
        scenario = self._simulator.scenario
        if seconds < 0:
            return scenario.add_fault(drop=True)
        return scenario.add_fault(delay=seconds) if seconds else 0

    def well(self, fault: int) -> None:
        """As before ``slow``."""
        if fault:
            self._simulator.scenario.remove_fault(fault)

    def rules_of(self, vm: str, tier: str) -> int:
        """How many filter rules the DVPort of a card has in force."""
        state = self._cards[vm, tier].state
        port = self._dvs.ports.get(state.port_key) if state is not None else None
        return len(rules(in_force(port))) if port is not None else 0

    def routed(self, source: str, target: str, router: str, port: int) -> Verdict:
        """A TCP connection's first packet, over the router VM: its two legs, the first that stops it or the last."""
        here, there = self._tiers[source], self._tiers[target]
        ips = (self._addresses[source, here], self._addresses[target, there])
        first = self._frame(self._cards[source, here], self._cards[router, here], ips, port)
        return first if not first.delivered else self._frame(
            self._cards[router, there], self._cards[target, there], ips, port
        )  # fmt: skip

    def _frame(self, source: VmNic, target: VmNic, ips: tuple[str, str], port: int) -> Verdict:
        one, other = source.state, target.state
        if one is None or other is None:
            return Verdict(False, (), "a card is gone")
        frame = Frame(
            source_mac=one.mac, destination_mac=other.mac, source_ip=ips[0], destination_ip=ips[1], protocol=TCP,
            source_port=40000, destination_port=port,
        )  # fmt: skip
        return verdict(self._simulator.world, {}, source, target, frame)

    async def _cable(self) -> None:
        pnic = build(vim.dvs.HostMember.PnicSpec, pnicDevice="vmnic1")
        edits = [
            build(
                vim.dvs.HostMember.ConfigSpec,
                operation="edit",
                host=reference(vim.HostSystem, moid),
                backing=build(vim.dvs.HostMember.PnicBacking, pnicSpec=[pnic]),
            )
            for moid in self._dvs.members
        ]
        switch = vim.dvs.VmwareDistributedVirtualSwitch
        spec = build(switch.ConfigSpec, configVersion=str(self._dvs.config_version), host=edits)
        await self._client.run_task(reference(switch, self._dvs.moid), "ReconfigureDvs_Task", spec=spec)
