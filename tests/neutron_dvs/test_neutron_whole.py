"""Neutron's API at one end, port groups, DVPorts and the packet oracle at the other; no stand-in between."""

from __future__ import annotations

import asyncio
import math

import pytest
from neutron_stand import TCP, NeutronStand
from pyVmomi import vim

from contrail_vsphere.simulator.vcenter.dvs_settings import blocked, vlan_ranges

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("neutron"), pytest.mark.asyncio(loop_scope="session")]


def web(port_from, port_to, destination=80):
    return {
        "source_ip": port_from.fixed_ips[0]["ip_address"],
        "destination_ip": port_to.fixed_ips[0]["ip_address"],
        "protocol": TCP,
        "source_port": 40000,
        "destination_port": destination,
    }


async def test_a_network_becomes_a_port_group_in_its_vlan(stand: NeutronStand):
    network = await stand.network("web")
    group = await stand.port_group_of(network)
    assert vlan_ranges(group.setting.vlan) == (((network.provider_segmentation_id,) * 2,), False)
    assert group.name == f"os-{network.id}"
    assert "web" in group.description

    await stand.api("update_network", network, name="web-2", is_admin_state_up=False)
    await stand.until(lambda: "web-2" in group.description and blocked(group.setting), "closed and renamed")
    await stand.api("delete_network", network)
    await stand.until(lambda: stand.port_group(network) is None, "the port group goes")


async def test_a_port_is_told_to_nova_by_key_and_active_once_it_is_wired(stand: NeutronStand):
    network = await stand.network("tier")
    early = await stand.port(network)
    assert early.binding_vif_type == "dvs"
    assert early.binding_vif_details["dvs_port_group_name"] == f"os-{network.id}"
    group = await stand.port_group_of(network)

    async def completed():
        return (await stand.api("get_port", early.id)).binding_vif_details.get("pg_id")

    assert await stand.until(completed, "the binding of a port that was first is completed") == group.moid
    later = await stand.port(network)
    assert later.binding_vif_details["pg_id"] == group.moid
    assert later.binding_vif_details["dvs_id"] == stand.dvs.uuid
    assert later.status == "DOWN"

    nic = await stand.boot(later)
    await stand.active(later)
    assert stand.dv_port(nic).name == later.id
    assert await stand.status(early) == "DOWN"

    await stand.api("update_network", network, provider_segmentation_id=1987)  # with ports of ours bound to it
    await stand.until(
        lambda: vlan_ranges(group.setting.vlan) == (((1987, 1987),), False), "the port group's other VLAN"
    )
    assert stand.dv_port(nic).name == later.id
    await stand.active(later)
    await stand.unplug(nic)

    async def is_down():
        return await stand.status(later) == "DOWN"

    await stand.until(is_down, "a port without a card is DOWN")


async def test_security_groups_decide_what_arrives(stand: NeutronStand):
    network = await stand.network("app", "10.1.0.0/24")
    await stand.port_group_of(network)
    servers, clients = await stand.group("servers"), await stand.group("clients")
    await stand.allow(servers, port_range_min=80, port_range_max=80, remote_group_id=clients.id)
    one = await stand.port(network, security_group_ids=[clients.id])
    two = await stand.port(network, security_group_ids=[servers.id])
    client, server = await stand.boot(one), await stand.boot(two)
    early = not stand.dv_port(server).name
    assert not (early and stand.ask(client, server, **web(one, two)).delivered)  # closed until its rules are there
    await stand.active(one)
    await stand.active(two)
    assert stand.ask(client, server, **web(one, two)).delivered
    assert not stand.ask(client, server, **web(one, two, 22)).delivered

    ssh = await stand.allow(servers, port_range_min=22, port_range_max=22, remote_ip_prefix="10.1.0.0/24")
    await stand.until(lambda: stand.ask(client, server, **web(one, two, 22)).delivered, "a new rule lets it through")
    await stand.api("delete_security_group_rule", ssh)
    await stand.until(lambda: not stand.ask(client, server, **web(one, two, 22)).delivered, "and no more")

    three = await stand.port(network, security_group_ids=[clients.id])
    third = await stand.boot(three)
    await stand.active(three)
    await stand.until(lambda: stand.ask(third, server, **web(three, two)).delivered, "a new member is let in")

    await stand.api("delete_port", two.id)
    await stand.until(lambda: not stand.ask(client, server, **web(one, two)).delivered, "a port that is gone is closed")
    assert stand.dv_port(server).name == ""


async def test_a_port_that_is_down_is_blocked(stand: NeutronStand):
    network = await stand.network("down", "10.2.0.0/24")
    await stand.port_group_of(network)
    port = await stand.port(network)
    nic = await stand.boot(port)
    await stand.active(port)
    await stand.looked_again()
    before = await stand.counted()
    await stand.api("update_port", port.id, is_admin_state_up=False)
    await stand.until(lambda: stand.dv_port(nic).override.blocked is not None, "blocked")

    async def is_down():
        return await stand.status(port) == "DOWN"

    await stand.until(is_down, "Neutron says so, too")
    after = await stand.counted()
    assert {name: after[name] - before[name] for name in after} == {"FetchDVPorts": 0, "ReconfigureDVPort_Task": 1}
    await stand.api("update_port", port.id, is_admin_state_up=True)
    await stand.until(lambda: getattr(stand.dv_port(nic).override, "blocked", None) is None, "as its network again")


async def test_what_is_not_ours_stays(stand: NeutronStand):
    network = await stand.network("mine", "10.5.0.0/24")
    group = await stand.port_group_of(network)
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=f"copy of {group.name}", type="earlyBinding", numPorts=2)
    await stand.client.run_task(vim.DistributedVirtualSwitch(stand.dvs.moid), "AddDVPortgroup_Task", spec=[spec])
    await stand.api("delete_network", network)
    await stand.until(lambda: group not in stand.dvs.portgroups, "ours goes")
    assert [each.name for each in stand.dvs.portgroups if network.id in each.name] == [f"copy of {group.name}"]


async def test_a_rule_change_of_many_ports_is_few_tasks_and_no_read_per_port(stand: NeutronStand):
    network = await stand.network("many", "10.6.0.0/24")
    await stand.port_group_of(network)
    group = await stand.group("many")
    count = 8
    body = {
        "network_id": network.id, "project_id": "tenant", "device_owner": "compute:nova",
        "binding:host_id": "compute-a", "security_groups": [group.id],
    }  # fmt: skip
    ports = list(await stand.api("create_ports", [body] * count))
    nics = await asyncio.gather(*(stand.boot(port) for port in ports))
    await stand.until(lambda: all(stand.dv_port(nic).name for nic in nics), "all are wired", 90)
    await stand.looked_again()
    before, old = stand.calls(), len(stand.rules(nics[0]))
    await stand.allow(group, port_range_min=80, port_range_max=80)
    await stand.until(lambda: all(len(stand.rules(nic)) > old for nic in nics), "every port has the rule")
    after = await stand.counted()
    spent = {name: after[name] - before.get(name, 0) for name in after}
    assert spent == {"ReconfigureDVPort_Task": math.ceil(count / 64), "FetchDVPorts": 0}


async def test_another_worker_takes_over_from_one_that_was_killed(stand: NeutronStand):
    first = stand.workers[-1]
    await stand.start_worker()
    await asyncio.sleep(1)
    await stand.kill(first)
    network = await stand.network("orphan", "10.7.0.0/24")
    await stand.until(lambda: stand.port_group(network), "the other worker makes it", 120)
    assert "working for vC1, epoch" in stand.log()
