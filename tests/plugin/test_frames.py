"""What the packet oracle says of frames between VMs: isolation, the way through vRouters, tags, virtual addresses."""

from __future__ import annotations

import asyncio

import pytest
from plugin_stand import PluginStand
from plugin_worlds import placed

from contrail_vsphere.simulator.oracle import Frame, VmNic, verdict
from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime
VRRP_GROUP, VRRP_MAC = "01:00:5e:00:00:12", "00:00:5e:00:01:07"


def seen(stand, one, other, *, source="", target="", vlan=None, card=0):
    frame = Frame(source_mac=source or one.nics[0].mac, destination_mac=target or other.nics[card].mac, vlan=vlan)
    ends = VmNic(one, one.nics[0].key), VmNic(other, other.nics[card].key)
    return verdict(stand.vcenter.world, stand.carriers, *ends, frame)


async def test_frames_pass_within_a_network_only_and_always_through_a_vrouter(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await stand.carry()
        stand.network("red", "10.2.0.0/24")
        one, far, near = await placed(stand, "one", "far", "near")
        await stand.until(lambda: "red" in stand.groups())
        stranger = await stand.vm("stranger", "red")
        foreign = await stand.vm("foreign", "VM Network")
        await stand.settle()
        for other, ways in ((near, ("cvm-0",)), (far, ("cvm-0", "cvm-1"))):
            found = seen(stand, one, other)
            assert found.delivered and found.vrouters == ways, "on one host too: nobody talks past the vRouter"
        for other in (stranger, foreign):
            for target in ("", "ff:ff:ff:ff:ff:ff"):
                assert not seen(stand, one, other, target=target).delivered
        assert not seen(stand, one, near, source=stranger.nics[0].mac).delivered, "nobody sends as somebody else"


async def test_frames_stop_where_the_vrouter_does(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await stand.carry()
        one, _, near = await placed(stand, "one", "far", "near")
        await stand.vcenter.vrouters.kill(one.host.moid)
        assert not seen(stand, one, near).delivered, "without a vRouter nothing passes, on one host neither"
        await stand.vcenter.vrouters.restart(one.host.moid)
        await asyncio.sleep(60)
        await stand.settle()
        assert seen(stand, one, near).delivered


async def test_s10_the_port_s_vlan_leaves_the_guest_s_frames_untagged_and_service_vms_have_two_sides(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await stand.carry()
        stand.network("left", "10.2.0.0/24")
        stand.network("right", "10.3.0.0/24")
        await stand.until(lambda: len(stand.groups()) == 2)
        left, right = await stand.vm("left", "left"), await stand.vm("right", "right", host=1)
        firewall = await stand.vm("firewall", "left", "right", host=1)
        await stand.settle()
        assert not seen(stand, left, right).delivered, "only by way of the service"
        sides = [nic.network.name for nic in firewall.nics]
        assert seen(stand, left, firewall, card=sides.index("left")).delivered
        assert seen(stand, right, firewall, card=sides.index("right")).delivered
        assert not seen(stand, left, firewall, card=sides.index("right")).delivered
        vlans = {stand.vlan(port) for port in stand.ports(firewall)}
        assert len(vlans) == 2, "each side has a VLAN of its own, so no frame needs two tags"
        found = seen(stand, left, firewall, card=sides.index("left"), vlan=next(iter(vlans)))
        assert not found.delivered, "a guest cannot choose a VLAN"


@pytest.mark.parametrize("ready", [True, False])
async def test_s11_guests_speak_vrrp_where_port_groups_and_vrouters_let_them(tmp_path, ready):
    async with PluginStand(tmp_path, virtual_macs=ready) as stand:
        await stand.carry()
        for agent in stand.vcenter.vrouters.agents.values():
            agent.mode = "esxi_neutron" if ready else "vcenter"
        master, backup = await placed(stand, "master", "backup")
        stand.network("red", "10.2.0.0/24")
        await stand.until(lambda: "red" in stand.groups())
        stranger = await stand.vm("stranger", "red")
        await stand.settle()
        assert seen(stand, master, backup, source=VRRP_MAC, target=VRRP_GROUP).delivered is ready
        assert not seen(stand, master, stranger, source=VRRP_MAC, target=VRRP_GROUP).delivered
        group = stand.groups()["blue"]
        if ready:
            setting = group.dvs.ports.ports[stand.port(master).key].group.setting
            assert setting.macManagementPolicy.forgedTransmits and setting.macManagementPolicy.allowPromiscuous
            closed = vim.dvs.VmwareDistributedVirtualSwitch.MacManagementPolicy(
                inherited=False, allowPromiscuous=False, forgedTransmits=False, macChanges=False
            )
            policy = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(macManagementPolicy=closed)
            spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
                defaultPortConfig=policy, configVersion=str(group.config_version)
            )
            await stand.admin.run_task(group.ref, "ReconfigureDVPortgroup_Task", spec=spec)
            await stand.until(lambda: group.setting.macManagementPolicy.forgedTransmits)
