"""Flat networks, and networks of several segments: what the switch carries of them, and where their ports are bound."""

from __future__ import annotations

import pytest
from neutron_stand import NeutronStand

from contrail_vsphere.simulator.vcenter.dvs_settings import vlan_ranges

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("neutron"), pytest.mark.asyncio(loop_scope="session")]


def vlan_segment(vlan):
    return {
        "provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": vlan
    }  # fmt: skip


async def test_a_flat_network_is_a_port_group_without_a_vlan(stand: NeutronStand):
    network = await stand.network("flat", provider_network_type="flat", provider_physical_network="physnet1")
    group = await stand.port_group_of(network)
    assert vlan_ranges(group.setting.vlan) == (((0, 0),), False)
    port = await stand.port(network)
    nic = await stand.boot(port)
    await stand.active(port)
    assert stand.dv_port(nic).group is group
    await stand.unplug(nic)
    await stand.api("delete_port", port)
    await stand.api("delete_network", network)
    await stand.until(lambda: stand.port_group(network) is None, "the port group goes")


async def test_each_segment_that_a_switch_carries_is_a_port_group_and_a_port_is_on_the_first(stand: NeutronStand):
    tunnel = {"provider:network_type": "vxlan", "provider:segmentation_id": 777}
    network = await stand.network("many", segments=[tunnel, vlan_segment(981), vlan_segment(982)])

    def groups():
        found = [group for group in stand.dvs.portgroups if network.id in group.name]
        return {vlan_ranges(group.setting.vlan)[0][0][0]: group for group in found}

    await stand.until(lambda: set(groups()) == {981, 982}, "two port groups, and none for the tunnel")
    port = await stand.port(network)
    nic = await stand.boot(port)
    await stand.active(port)
    assert stand.dv_port(nic).group is groups()[981]
    await stand.unplug(nic)
    await stand.api("delete_port", port)
    await stand.api("delete_network", network)
    await stand.until(lambda: not groups(), "both go")
