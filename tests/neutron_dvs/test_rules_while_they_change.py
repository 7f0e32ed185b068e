"""Rules while they change, on a simulated switch, looked at after every single change of its state.

A frame that neither the old nor the new rules let through never arrives; one that both let through always does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neutron_says import TCP, UDP, names, price
from pyVmomi import vim

from contrail_vsphere.ml2.worker import apply
from contrail_vsphere.ml2.worker.apply import Applier, Outcome
from contrail_vsphere.ml2.worker.desired import PortSecurity, Rule, Wanted, WantedPort
from contrail_vsphere.ml2.worker.plan import Rules, plan_ports
from contrail_vsphere.model.traffic_filter import FilteredGroupSpec
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.oracle import Frame, VmNic, verdict
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualSwitch
from contrail_vsphere.vsphere.filtered_ports import FilteredPorts
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import vim as wire_vim
from contrail_vsphere.wire.soap.values import reference

pytestmark = pytest.mark.looptime
ADDRESSES = {"a": "10.0.0.11", "b": "10.0.0.12", "c": "10.0.0.13"}
SIX = {"a": "fd00::11", "b": "fd00::12", "c": "fd00::13"}
PORTS = (22, 80, 443)
TASKS = st.sampled_from((1, 2, 64))
"""Ports of one task: a group with more of them changes in several, and between two some ports have their new rules."""


@st.composite
def simple_rules(draw):
    version = draw(st.sampled_from((4, 6)))
    everywhere, hosts = ("0.0.0.0/0", ADDRESSES) if version == 4 else ("::/0", SIX)
    remote = draw(
        st.sampled_from((everywhere, *(f"{address}/{32 if version == 4 else 128}" for address in hosts.values())))
    )
    port = draw(st.sampled_from(PORTS))
    return Rule(
        ingress=draw(st.booleans()), version=version, remotes=(remote,), protocol=draw(st.sampled_from((-1, TCP, UDP))),
        ports=(port, port), stateful=draw(st.booleans()),
    )  # fmt: skip


@st.composite
def site_rules(draw):
    return {name: tuple(draw(st.lists(simple_rules(), max_size=4))) for name in ADDRESSES}


@dataclass
class Site:
    """Three VMs on one port group of ours; leaves nothing behind."""

    simulator: VCenterSimulator
    client: VCenter
    cards: dict[str, VmNic] = field(default_factory=dict)

    @property
    def dvs(self):
        objects = self.simulator.world.objects.values()
        return next(each for each in objects if isinstance(each, DistributedVirtualSwitch))

    async def prepare(self):
        self.ports = FilteredPorts(self.client)
        self.applier = Applier(self.ports, allowed=lambda: None)
        await self.ports.create(self.dvs.moid, [FilteredGroupSpec("os-n", "cloud/n/s", "n", vlan=7)])
        self.group = next(group for group in self.dvs.portgroups if group.name == "os-n")
        for name, vm in zip(ADDRESSES, self.simulator.scenario.vms(), strict=False):
            await self._plug(name, vm)

    async def _plug(self, name, vm):
        connection = vim.dvs.PortConnection(switchUuid=self.dvs.uuid, portgroupKey=self.group.moid)
        backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
        card = vim.vm.device.VirtualVmxnet3(key=-1, addressType="generated", backing=backing)
        change = vim.vm.device.VirtualDeviceSpec(operation="add", device=card)
        spec = vim.vm.ConfigSpec(deviceChange=[change])
        await self.client.run_task(reference(wire_vim.VirtualMachine, vm.moid), "ReconfigVM_Task", spec=spec)
        self.cards[name] = VmNic(vm, vm.nics[-1].key)

    async def bring_about(self, wanted_rules):
        seen = {port.key: port for port in await self.ports.of_groups(self.dvs.moid, [self.group.moid])}
        connected = {name: seen[card.state.port_key] for name, card in self.cards.items()}
        ports = {name: self._wanted(name, rules) for name, rules in wanted_rules.items()}
        actions = plan_ports(Wanted(ports=ports), connected, (), Rules(cloud="cloud"))
        outcome = Outcome()
        await self.applier.ports(actions, outcome)
        assert not outcome.failed
        return outcome

    def _wanted(self, name, rules):
        security = PortSecurity(enabled=True, addresses=(ADDRESSES[name], SIX[name]), rules=rules)
        return WantedPort(name, "n", "s", self.cards[name].state.mac, "host", True, "ACTIVE", security)

    def frames(self):
        for source in ADDRESSES:
            for target in ADDRESSES:
                if source == target:
                    continue
                for addresses, ether_type in ((ADDRESSES, 0x0800), (SIX, 0x86DD)):
                    for port in PORTS:
                        yield source, target, Frame(
                            source_mac=self.cards[source].state.mac, destination_mac=self.cards[target].state.mac,
                            ether_type=ether_type, source_ip=addresses[source], destination_ip=addresses[target],
                            protocol=TCP, source_port=40000, destination_port=port,
                        )  # fmt: skip

    def arrives(self, source, target, frame):
        return verdict(self.simulator.world, {}, self.cards[source], self.cards[target], frame).delivered


def allowed(frame, out_rules, in_rules):
    out = any(names(rule, frame, incoming=False) for rule in out_rules) or price(out_rules, frame, incoming=False)
    into = any(names(rule, frame, incoming=True) for rule in in_rules) or price(in_rules, frame, incoming=True)
    return out and into


async def watched_change(before, after, ports_per_task):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply, "PORTS_PER_TASK", ports_per_task)
        await watched(before, after, ports_per_task)


async def watched(before, after, ports_per_task):
    simulator = VCenterSimulator(hosts=1, vms=3, timing=Timing.instant(), guests=False)
    await simulator.start()
    try:
        ready = simulator.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        endpoint = Endpoint(host, int(port), ca_file=ready["ca_file"])
        async with VCenter(endpoint, PasswordLogin(ready["username"], ready["password"])) as client:
            site = Site(simulator, client)
            await site.prepare()
            frames = list(site.frames())
            assert not any(site.arrives(*each) for each in frames), "closed until the rules are there"
            await site.bring_about(before)
            for source, target, frame in frames:
                assert site.arrives(source, target, frame) == allowed(frame, before[source], before[target])
            faults = []

            def look(_transaction):
                for source, target, frame in frames:
                    sides = [(o, i) for o in (before[source], after[source]) for i in (before[target], after[target])]
                    could = [allowed(frame, *side) for side in sides]
                    found = site.arrives(source, target, frame)
                    if (found and not any(could)) or (not found and all(could)):
                        faults.append((source, target, frame, found))

            stop = simulator.world.observe(look)
            tasks = simulator.scenario.stats()["calls"].get("ReconfigureDVPort_Task", 0)
            changed = await site.bring_about(after)
            stop()
            assert not faults
            spent = simulator.scenario.stats()["calls"].get("ReconfigureDVPort_Task", 0) - tasks
            assert spent == math.ceil(changed.edited / ports_per_task)
            for source, target, frame in frames:
                assert site.arrives(source, target, frame) == allowed(frame, after[source], after[target])
            again = await site.bring_about(after)
            assert again.edited == 0, "nothing changes where nothing differs"
    finally:
        await simulator.stop()


@settings(max_examples=6, deadline=None)
@given(before=site_rules(), after=site_rules(), ports_per_task=TASKS)
async def test_at_no_moment_does_anything_else_arrive(before, after, ports_per_task):
    await watched_change(before, after, ports_per_task)


@pytest.mark.soak
@settings(max_examples=150, deadline=None)
@given(before=site_rules(), after=site_rules(), ports_per_task=TASKS)
async def test_at_no_moment_in_many_changes(before, after, ports_per_task):
    await watched_change(before, after, ports_per_task)
