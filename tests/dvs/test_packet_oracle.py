"""The packet oracle, case by case: what a frame meets on its way."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest
from dvs_lab import PORT, SETTING, VMWARE, Lab, blocked, edit, policy, trunk
from pyVmomi import vim

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.oracle import GATEWAY_MAC, Frame, VmNic, verdict
from contrail_vsphere.simulator.oracle_frame import INCOMING, passes
from contrail_vsphere.simulator.vcenter import host_life, vm_life, vm_move
from contrail_vsphere.simulator.vrouter.agent import VRouterAgent

pytestmark = pytest.mark.looptime

BROADCAST = "ff:ff:ff:ff:ff:ff"
ALL = policy(block=True, vlan=True, trafficFilter=True, securityPolicy=True, macManagement=True)


class Net:
    """Two tenants on the first host, one on the second, all on one group; a ContrailVM with a trunk card on each."""

    def __init__(self, lab):
        self.lab, self.agents = lab, {}

    @classmethod
    async def make(cls, **group):
        self = cls(Lab(hosts=2, clusters=1, vms=8))
        self.group = await self.lab.group(numPorts=8, policy=ALL, **group)
        open_trunk = VMWARE.MacManagementPolicy(inherited=False, allowPromiscuous=True, forgedTransmits=True)
        self.trunk = await self.lab.group(
            "trunk", defaultPortConfig=SETTING(vlan=trunk((1, 4094)), macManagementPolicy=open_trunk), policy=ALL
        )
        by_host = [[vm for vm in self.lab.vms if vm.host is host] for host in self.lab.hosts]
        (self.a, self.b, self.spare, here), (self.c, _, _, there) = by_host
        for vm in (self.a, self.b, self.c):
            await self.lab.connect(vm, self.group)
        for vm in (here, there):
            with self.lab.world.commit() as tx:
                tx.set(vm, esx_agent=True)
            await self.lab.connect(vm, self.trunk)
            agent = self.agents[vm.moid] = VRouterAgent(vm.name, "127.0.0.1", Clock(), connect_after=None)
            agent.start()
            agent.set_xmpp("established")
        self.here, self.there = here, there
        return self

    def nic(self, vm):
        return VmNic(vm, vm.nics[-1].key)

    def key(self, vm):
        return vm.nics[-1].port_key

    def agent(self, vm):
        return self.agents[(self.here if vm.host is self.here.host else self.there).moid]

    def frame(self, source, target, **fields):
        macs = {"source_mac": source.nics[-1].mac, "destination_mac": target.nics[-1].mac}
        return Frame(**{**macs, **fields})

    def ask(self, source, target, frame=None, **fields):
        return verdict(
            self.lab.world,
            self.agents,
            self.nic(source),
            self.nic(target),
            frame or self.frame(source, target, **fields),
        )

    async def plug(self, vm, number, *, network="net-1", on=None, ip="10.0.0.9", mac=None):
        """Own VLAN on the port, subscription on the host's vRouter."""
        await self.lab.edit(edit(self.key(vm), vlan=number))
        body = {
            "id": vm.instance_uuid,
            "instance-id": vm.instance_uuid,
            "vn-id": "00000000-0000-0000-0000-0000000000" + network[-1:].rjust(2, "0"),
            "vm-project-id": vm.instance_uuid,
            "display-name": vm.name,
            "ip-address": ip,
            "ip6-address": "::",
            "system-name": "vif",
            "mac-address": mac or vm.nics[-1].mac,
            "type": 0,
            "rx-vlan-id": number,
            "tx-vlan-id": number,
        }
        status, answer = (on or self.agent(vm)).answer_port("POST", "/port", json.dumps(body).encode())
        assert status == 200, answer


@pytest.fixture
async def net():
    return await Net.make()


async def test_one_vlan_on_one_host_meets_directly(net):
    found = net.ask(net.a, net.b)
    assert (found.delivered, found.vrouters) == (True, ())
    assert [(hop.kind, hop.name) for hop in found.path] == [("port", net.key(net.a)), ("port", net.key(net.b))]


async def test_own_vlans_part_ports_and_the_vrouter_joins_them(net):
    await net.plug(net.a, 101)
    await net.plug(net.b, 102)
    found = net.ask(net.a, net.b)
    assert (found.delivered, found.vrouters) == (True, (net.here.name,))
    assert [hop.vlan for hop in found.path if hop.kind == "port"] == [None, 101, 102, 102]
    await net.plug(net.c, 101)
    found = net.ask(net.a, net.c)
    assert (found.delivered, found.vrouters) == (True, (net.here.name, net.there.name))


async def test_another_network_is_out_of_reach(net):
    await net.plug(net.a, 101)
    await net.plug(net.b, 102, network="net-2")
    found = net.ask(net.a, net.b)
    assert not found.delivered
    assert "only" in found.reason
    assert not net.ask(net.a, net.b, destination_mac=BROADCAST).delivered


async def test_the_same_vlan_on_one_host_is_a_leak_that_shows(net):
    await net.plug(net.a, 101)
    await net.plug(net.b, 101, network="net-2")
    found = net.ask(net.a, net.b)
    assert (found.delivered, found.vrouters) == (True, ())


async def test_broadcast_and_gateway(net):
    await net.plug(net.a, 101, ip="10.0.0.3")
    await net.plug(net.b, 102, ip="10.0.0.4")
    assert net.ask(net.a, net.b, destination_mac=BROADCAST).delivered
    assert net.ask(net.a, net.b, destination_mac=GATEWAY_MAC, destination_ip="10.0.0.4").delivered
    assert not net.ask(net.a, net.b, destination_mac=GATEWAY_MAC, destination_ip="10.0.0.5").delivered


VROUTER_TROUBLE = {
    "stopped": lambda net: net.agents[net.here.moid].stop(),
    "no controller": lambda net: net.agents[net.here.moid].set_xmpp("down"),
    "not plugged": lambda net: net.agents[net.here.moid].answer_port("DELETE", f"/port/{net.a.instance_uuid}", b""),
    "peer not plugged": lambda net: net.agents[net.here.moid].answer_port(
        "DELETE", f"/port/{net.b.instance_uuid}", b""
    ),
    "gone": lambda net: net.agents.clear(),
}


@pytest.mark.parametrize("trouble", VROUTER_TROUBLE)
async def test_without_a_working_vrouter_nothing_leaves_the_vlan(net, trouble):
    await net.plug(net.a, 101)
    await net.plug(net.b, 102)
    VROUTER_TROUBLE[trouble](net)
    assert not net.ask(net.a, net.b).delivered


async def test_a_subscription_of_another_address_and_a_closed_trunk(net):
    await net.plug(net.a, 101, mac="00:50:56:00:00:99")
    await net.plug(net.b, 102)
    assert "another address" in net.ask(net.a, net.b).reason
    await net.plug(net.c, 103)
    quiet = VMWARE.MacManagementPolicy(inherited=False, allowPromiscuous=False)
    await net.lab.edit(edit(net.key(net.there), setting=SETTING(macManagementPolicy=quiet)))
    assert "does not get it" in net.ask(net.c, net.b).reason


async def test_the_contrail_vm_is_off(net):
    await net.plug(net.a, 101)
    await net.plug(net.b, 102)
    await vm_life.power_off(net.lab.world, net.here)
    assert not net.ask(net.a, net.b).delivered


async def test_blocked_stops_both_directions(net):
    await net.lab.edit(edit(net.key(net.b), blocked=True))
    for found in (net.ask(net.a, net.b), net.ask(net.b, net.a)):
        assert not found.delivered
        assert f"port {net.key(net.b)} is blocked" in found.reason


@pytest.mark.parametrize("enforced", [True, False])
async def test_blocked_during_vmotion_is_a_switch(net, enforced):
    net.lab.switch(blocked_in_vmotion=enforced, proxy_host_flips="after")
    await net.lab.edit(edit(net.key(net.b), blocked=True))
    await vm_move.migrate(net.lab.world, net.b, vm_move.destination(net.b, host=net.c.host))
    assert net.b.host is net.c.host is not net.lab.dvs.ports.ports[net.key(net.b)].proxy_host
    assert net.ask(net.c, net.b).delivered is not enforced
    await asyncio.sleep(2)
    assert not net.ask(net.c, net.b).delivered


async def test_blocked_holds_where_ha_starts_a_vm_whatever_it_does_during_vmotion(net):
    net.lab.switch(blocked_in_vmotion=False, proxy_host_flips="after")
    with net.lab.world.commit() as tx:
        tx.set(net.b.host.compute_resource, ha=True)
    await net.lab.edit(edit(net.key(net.b), blocked=True))
    dead = net.b.host
    await host_life.crash(net.lab.world, dead)
    while net.b.host is dead or not net.b.guest_runs:
        await net.lab.world.changed_after(net.lab.world.seq)
    assert net.b.host is net.c.host is not net.lab.dvs.ports.ports[net.key(net.b)].proxy_host
    assert not net.ask(net.c, net.b).delivered


async def test_a_host_that_is_away_acts_on_what_it_has(net):
    await host_life.lose_connection(net.lab.world, net.a.host)
    fault = await net.lab.refused(
        net.lab.dvs, "ReconfigureDVPort_Task", port=[edit(net.key(net.b), blocked=True), edit(net.key(net.a), vlan=9)]
    )
    assert isinstance(fault, vim.fault.DvsOperationBulkFault)
    assert net.ask(net.a, net.b).delivered


async def test_tags_and_trunks(net):
    assert "takes no tagged frames" in net.ask(net.a, net.b, vlan=5).reason
    await net.lab.edit(edit(net.key(net.a), setting=SETTING(vlan=trunk((10, 20)))), edit(net.key(net.b), vlan=15))
    assert net.ask(net.a, net.b, vlan=15).delivered
    assert "is not in VLAN 16" in net.ask(net.a, net.b, vlan=16).reason
    assert "does not carry VLAN 21" in net.ask(net.a, net.b, vlan=21).reason
    assert "does not carry VLAN 0" in net.ask(net.a, net.b).reason
    assert net.ask(net.b, net.a).delivered


async def test_foreign_addresses_need_promiscuity_and_forged_transmits(net):
    other = "00:50:56:00:00:77"
    assert "is not for" in net.ask(net.a, net.b, destination_mac=other).reason
    assert "forged" in net.ask(net.a, net.b, source_mac=other).reason
    listen = VMWARE.SecurityPolicy(inherited=False, allowPromiscuous=blocked(True))
    forge = VMWARE.SecurityPolicy(inherited=False, forgedTransmits=blocked(True))
    await net.lab.edit(
        edit(net.key(net.b), setting=SETTING(securityPolicy=listen)),
        edit(net.key(net.a), setting=SETTING(securityPolicy=forge)),
    )
    assert net.ask(net.a, net.b, source_mac=other, destination_mac=other).delivered


async def test_hosts_meet_where_both_have_uplinks(net):
    assert "has no uplink" in net.ask(net.a, net.c).reason
    members = [
        vim.dvs.HostMember.ConfigSpec(
            operation="edit",
            host=host.ref,
            backing=vim.dvs.HostMember.PnicBacking(pnicSpec=[vim.dvs.HostMember.PnicSpec(pnicDevice="vmnic1")]),
        )
        for host in net.lab.hosts
    ]
    await net.lab.run(net.lab.dvs, "ReconfigureDvs_Task", spec=VMWARE.ConfigSpec(host=members))
    found = net.ask(net.a, net.c)
    assert found.delivered
    assert [hop.kind for hop in found.path] == ["port", "uplink", "uplink", "port"]
    await net.lab.edit(edit(net.key(net.c), vlan=8))
    assert not net.ask(net.a, net.c).delivered


async def test_private_vlans(net):
    entries = [(100, 100, "promiscuous"), (100, 101, "isolated"), (100, 102, "community")]
    spec = [
        VMWARE.PvlanConfigSpec(
            operation="add", pvlanEntry=VMWARE.PvlanMapEntry(primaryVlanId=p, secondaryVlanId=s, pvlanType=kind)
        )
        for p, s, kind in entries
    ]
    await net.lab.run(net.lab.dvs, "ReconfigureDvs_Task", spec=VMWARE.ConfigSpec(pvlanConfigSpec=spec))

    async def put(one, other):
        specs = [
            edit(net.key(vm), setting=SETTING(vlan=VMWARE.PvlanSpec(inherited=False, pvlanId=number)))
            for vm, number in ((net.a, one), (net.b, other))
        ]
        await net.lab.edit(*specs)
        return net.ask(net.a, net.b).delivered

    table = {(101, 101): False, (101, 102): False, (102, 102): True, (101, 100): True, (100, 102): True}
    for pair, reaches in table.items():
        assert await put(*pair) is reaches, pair


async def test_rules_of_both_ends_decide(net):
    rule = vim.dvs.TrafficRule
    ssh = rule.IpQualifier(protocol=vim.IntExpression(value=6), destinationIpPort=rule.SingleIpPort(portNumber=22))
    rules = [
        rule(sequence=20, action=rule.DropAction(), direction="incomingPackets"),
        rule(sequence=10, qualifier=[ssh], action=rule.AcceptAction(), direction="incomingPackets"),
    ]
    config = PORT.TrafficFilterConfigSpec(
        inherited=False, operation="add", trafficRuleset=vim.dvs.TrafficRuleset(enabled=True, rules=rules)
    )
    setting = SETTING(filterPolicy=PORT.FilterPolicy(inherited=False, filterConfig=[config]))
    await net.lab.edit(edit(net.key(net.b), setting=setting))
    tcp = {"protocol": 6, "source_ip": "10.0.0.1", "destination_ip": "10.0.0.2"}
    assert net.ask(net.a, net.b, destination_port=22, **tcp).delivered
    assert "a rule of port" in net.ask(net.a, net.b, destination_port=23, **tcp).reason
    assert "a rule of port" in net.ask(net.a, net.b, ether_type=0x0806).reason
    assert net.ask(net.b, net.a, destination_port=23, **tcp).delivered


async def test_cards_that_cannot_send_or_receive(net):
    assert (
        "has no card" in verdict(net.lab.world, {}, VmNic(net.a, 4009), net.nic(net.b), net.frame(net.a, net.b)).reason
    )
    await vm_life.power_off(net.lab.world, net.b)
    assert "is off" in net.ask(net.a, net.b).reason
    await host_life.crash(net.lab.world, net.a.host)
    assert "is off" in net.ask(net.a, net.c).reason


async def test_standard_networks(net):
    one, other = VmNic(net.a, 4000), VmNic(net.c, 4000)
    frame = Frame(source_mac=one.state.mac, destination_mac=other.state.mac)
    assert verdict(net.lab.world, {}, one, other, frame).delivered
    assert not verdict(net.lab.world, {}, one, net.nic(net.c), frame).delivered
    assert not verdict(net.lab.world, {}, net.nic(net.a), other, net.frame(net.a, net.c)).delivered
    strange = dataclasses.replace(frame, destination_mac="00:50:56:00:00:01")
    assert not verdict(net.lab.world, {}, one, other, strange).delivered


R = vim.dvs.TrafficRule
QUALIFIERS = [
    (R.IpQualifier(sourceAddress=vim.SingleIp(address="10.0.0.1")), True),
    (R.IpQualifier(sourceAddress=vim.SingleIp(address="10.0.0.1", negate=True)), False),
    (R.IpQualifier(sourceAddress=vim.IpRange(addressPrefix="10.0.0.0", prefixLength=8)), True),
    (R.IpQualifier(sourceAddress=vim.IpRange(addressPrefix="fe80::", prefixLength=10)), False),
    (R.IpQualifier(destinationAddress=vim.IpRange(addressPrefix="10.0.1.0", prefixLength=24)), False),
    (R.IpQualifier(destinationIpPort=R.IpPortRange(startPortNumber=80, endPortNumber=90)), True),
    (R.IpQualifier(sourceIpPort=R.SingleIpPort(portNumber=80)), False),
    (R.IpQualifier(protocol=vim.IntExpression(value=17)), False),
    (R.IpQualifier(tcpFlags=vim.IntExpression(value=2)), True),
    (R.MacQualifier(sourceAddress=vim.SingleMac(address="00:50:56:00:00:01")), True),
    (R.MacQualifier(sourceAddress=vim.MacRange(address="00:50:56:00:00:00", mask="ff:ff:ff:00:00:00")), True),
    (R.MacQualifier(destinationAddress=vim.SingleMac(address="00:50:56:00:00:01")), False),
    (R.MacQualifier(protocol=vim.IntExpression(value=0x0800)), True),
    (R.MacQualifier(vlanId=vim.IntExpression(value=5)), False),
    (R.SystemTrafficQualifier(), False),
]


@pytest.mark.parametrize(("qualifier", "matches"), QUALIFIERS)
def test_qualifiers(qualifier, matches):
    frame = Frame(
        source_mac="00:50:56:00:00:01",
        destination_mac="00:50:56:00:00:02",
        source_ip="10.0.0.1",
        destination_ip="10.0.0.2",
        protocol=6,
        destination_port=80,
        tcp_flags=2,
    )
    rule = R(qualifier=[qualifier], action=R.DropAction(), direction="both")
    assert passes([rule], frame, INCOMING) is not matches
