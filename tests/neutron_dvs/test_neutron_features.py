"""QoS, trunks, address groups, migration, booked ports, orphans and the operator's verbs, on real Neutron."""

from __future__ import annotations

import asyncio
import sys

import pytest
from neutron_stand import BOOKED, HOST, OTHER, SETTINGS, TCP, NeutronStand
from pyVmomi import vim
from real_neutron import RealNeutron

from contrail_vsphere.simulator.vcenter.dvs_ports import in_force
from contrail_vsphere.simulator.vcenter.dvs_settings import vlan_ranges

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("neutron"), pytest.mark.asyncio(loop_scope="session")]


async def plugged(stand, network, **fields):
    await stand.port_group_of(network)
    port = await stand.port(network, **fields)
    nic = await stand.boot(port)
    await stand.active(port)
    return port, nic


async def test_bandwidth_and_marks_of_a_policy(stand: NeutronStand):
    network = await stand.network("qos", "10.20.0.0/24")
    policy = await stand.api("create_qos_policy", name="slow", project_id="tenant")
    limit = await stand.api("create_qos_bandwidth_limit_rule", policy, max_kbps=2000, direction="egress")
    await stand.api("create_qos_dscp_marking_rule", policy, dscp_mark=26)
    port, nic = await plugged(stand, network, qos_policy_id=policy.id)
    setting = in_force(stand.dv_port(nic))
    assert setting.inShapingPolicy.averageBandwidth.value == 2_000_000  # what the VM sends, seen from the switch
    marks = [
        rule.action.dscpTag for rule in stand.rules(nic) if isinstance(rule.action, vim.dvs.TrafficRule.UpdateTagAction)
    ]
    assert set(marks) == {26}

    await stand.api("update_qos_bandwidth_limit_rule", limit, policy, max_kbps=500)
    await stand.until(
        lambda: in_force(stand.dv_port(nic)).inShapingPolicy.averageBandwidth.value == 500_000, "the new limit"
    )
    await stand.api("update_port", port.id, qos_policy_id=None)
    await stand.until(lambda: not in_force(stand.dv_port(nic)).inShapingPolicy.enabled.value, "no limit any more")


async def test_a_trunk_carries_the_vlans_of_its_subports(stand: NeutronStand):
    home, far = await stand.network("home", "10.21.0.0/24"), await stand.network("far", "10.22.0.0/24")
    parent, nic = await plugged(stand, home)
    await stand.port_group_of(far)
    right, wrong = await stand.port(far, host=""), await stand.port(far, host="")
    trunk = await stand.api("create_trunk", port_id=parent.id, project_id="tenant", sub_ports=[
        {"port_id": right.id, "segmentation_type": "vlan", "segmentation_id": far.provider_segmentation_id},
    ])  # fmt: skip

    def carried():
        return {first for first, _ in vlan_ranges(in_force(stand.dv_port(nic)).vlan)[0]}

    vlans = {home.provider_segmentation_id, far.provider_segmentation_id}
    await stand.until(lambda: carried() == vlans and vlan_ranges(in_force(stand.dv_port(nic)).vlan)[1], "both VLANs")
    await stand.active(right)
    assert (await stand.api("get_port", right.id)).binding_host_id == HOST

    async def trunk_is_active():
        return (await stand.api("get_trunk", trunk.id)).status == "ACTIVE"

    await stand.until(trunk_is_active, "the trunk is ACTIVE")
    for up in (False, True):  # the parent alone is looked at, and brings its subports along
        await stand.api("update_port", parent.id, is_admin_state_up=up)
        await stand.until(lambda up=up: (stand.dv_port(nic).override.blocked is None) is up, f"up is {up}")
        assert carried() == vlans
    tag = next(number for number in range(2, 4000) if number not in vlans)
    await stand.api("add_trunk_subports", trunk, [
        {"port_id": wrong.id, "segmentation_type": "vlan", "segmentation_id": tag},
    ])  # fmt: skip
    await stand.until(lambda: True, "")
    assert tag not in carried()
    assert await stand.status(wrong) == "DOWN"
    await stand.api("delete_trunk_subports", trunk, [{"port_id": right.id}, {"port_id": wrong.id}])
    await stand.until(lambda: far.provider_segmentation_id not in carried(), "its VLAN goes")


async def test_an_address_group_that_grows_lets_more_in(stand: NeutronStand):
    network = await stand.network("addresses", "10.23.0.0/24")
    clients = await stand.api("create_address_group", name="clients", addresses=["192.0.2.1/32"], project_id="tenant")
    group = await stand.group("by-address")
    await stand.allow(group, port_range_min=80, port_range_max=80, remote_address_group_id=clients.id)
    anybody = await stand.group("anybody")
    server, door = await plugged(stand, network, security_group_ids=[group.id])
    client, card = await plugged(stand, network, security_group_ids=[anybody.id])
    frame = {
        "source_ip": client.fixed_ips[0]["ip_address"], "destination_ip": server.fixed_ips[0]["ip_address"],
        "protocol": TCP, "source_port": 40000, "destination_port": 80,
    }  # fmt: skip
    assert not stand.ask(card, door, **frame).delivered
    await stand.api("add_addresses_to_address_group", clients, [f"{frame['source_ip']}/32"])
    await stand.until(lambda: stand.ask(card, door, **frame).delivered, "the new address is let in")


async def test_a_live_migration_leaves_one_binding_and_the_port_active(stand: NeutronStand):
    network = await stand.network("moving", "10.24.0.0/24")
    port, nic = await plugged(stand, network)
    await stand.api("create_port_binding", port, host=OTHER)
    bindings = {each.host: each for each in await stand.api_list("port_bindings", port)}
    assert (bindings[OTHER].status, bindings[OTHER].vif_type) == ("INACTIVE", "dvs")
    await stand.vcenter.scenario.move_vm(nic.vm, stand.vcenter.scenario.hosts()[1])
    await stand.api("activate_port_binding", port, host=OTHER)
    await stand.api("delete_port_binding", port, HOST)

    async def active_there():
        now = await stand.api("get_port", port.id)
        return (now.binding_host_id, now.status) == (OTHER, "ACTIVE")

    await stand.until(active_there, "ACTIVE on the other host")
    assert stand.dv_port(nic).name == port.id


async def test_a_dvport_that_a_card_left_is_closed_though_that_failed_once(stand: NeutronStand):
    network = await stand.network("leaving", "10.30.0.0/24")
    port, nic = await plugged(stand, network)
    left = nic.state.port_key
    stand.vcenter.scenario.add_fault(method="ReconfigureDVPort_Task", drop=True, times=1)
    await stand.replug(nic)
    await stand.until(lambda: stand.dv_port(nic).name == port.id, "the new DVPort is the port's")
    await stand.until(lambda: stand.dvs.ports.get(left).name == "", "the old one is nobody's")


async def test_an_orphan_is_kept_until_it_is_ordered_away(stand: NeutronStand):
    network = await stand.network("model", "10.25.0.0/24")
    group = await stand.port_group_of(network)
    blob = vim.dvs.KeyedOpaqueBlob(key="vmware-dvs.segment", opaqueData="test-cloud/no-such-network/no-such-segment")
    foreign = vim.dvs.KeyedOpaqueBlob(key="vmware-dvs.segment", opaqueData="other-cloud/a/b")
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec
    specs = [
        spec(name="os-orphan", type="earlyBinding", numPorts=1, vendorSpecificConfig=[blob]),
        spec(name="os-of-another-cloud", type="earlyBinding", numPorts=1, vendorSpecificConfig=[foreign]),
    ]
    await stand.client.run_task(vim.DistributedVirtualSwitch(stand.dvs.moid), "AddDVPortgroup_Task", spec=specs)
    names = lambda: {each.name for each in stand.dvs.portgroups}  # noqa: E731
    await stand.look_again()
    await stand.until(lambda: stand.state()["orphans"] == ["os-orphan"], "the orphan is reported")
    assert {"os-orphan", "os-of-another-cloud"} <= names()
    planned = (await stand.command("repair", "--orphans", "--dry-run"))["actions"]
    assert ("keep", "os-orphan") in [(each["action"], each["object"]) for each in planned]
    assert (await stand.command("repair", "--orphans"))["rows"] == 1
    await stand.until(lambda: "os-orphan" not in names(), "it goes when that is ordered")
    assert "os-of-another-cloud" in names()
    assert group in stand.dvs.portgroups


async def test_a_port_group_that_somebody_renamed_keeps_its_name_and_nova_is_told_it(stand: NeutronStand):
    network = await stand.network("renamed", "10.31.0.0/24")
    port, nic = await plugged(stand, network)
    group = nic.state.network
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(configVersion=str(group.config_version), name="web tier")
    await stand.client.run_task(
        vim.dvs.DistributedVirtualPortgroup(group.moid), "ReconfigureDVPortgroup_Task", spec=spec
    )

    async def told():
        details = (await stand.api("get_port", port.id)).binding_vif_details
        assert (details["dvs_id"], details["pg_id"]) == (stand.dvs.uuid, group.moid)
        return details["dvs_port_group_name"] == "web tier"

    await stand.until(told, "the binding has the new name")
    later = await stand.port(network)
    details = later.binding_vif_details
    assert (details["dvs_port_group_name"], details["pg_id"]) == ("web tier", group.moid)
    await stand.api("update_network", network, name="renamed-too")
    await stand.until(lambda: "renamed-too" in group.description, "the network is its own still")
    await stand.look_again()
    second = await stand.boot(later)
    await stand.active(later)
    assert second.state.network is group
    assert group.name == "web tier"
    assert stand.port_group(network) is None
    for card in (nic, second):
        await stand.unplug(card)
    for each in (port, later):
        await stand.api("delete_port", each)
    await stand.api("delete_network", network)
    await stand.until(lambda: group not in stand.dvs.portgroups, "it goes with its network")


async def test_a_port_group_that_somebody_changed_before_the_worker_saw_it_is_mended(stand: NeutronStand):
    scenario = stand.vcenter.scenario
    scenario.add_fault(method="WaitForUpdatesEx", delay=5.0, times=4)
    await scenario.drop_connections()
    network = await stand.network("spoilt", "10.34.0.0/24")
    group = await stand.port_group_of(network)
    right, wrong = [
        vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec(inherited=False, vlanId=vlan)
        for vlan in (network.provider_segmentation_id, network.provider_segmentation_id + 1)
    ]
    policy = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(vlan=wrong)
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        configVersion=str(group.config_version), defaultPortConfig=policy
    )
    await stand.client.run_task(
        vim.dvs.DistributedVirtualPortgroup(group.moid), "ReconfigureDVPortgroup_Task", spec=spec
    )
    scenario.clear_faults()
    await stand.until(lambda: group.setting.vlan.vlanId == right.vlanId, "its VLAN is Neutron's", 30.0)
    await stand.api("delete_network", network)
    await stand.until(lambda: group not in stand.dvs.portgroups, "it goes with its network")


async def test_a_port_group_that_shows_after_its_networks_end_goes(stand: NeutronStand):
    scenario = stand.vcenter.scenario
    scenario.add_fault(method="AddDVPortgroup_Task", drop_reply=True, times=1)
    scenario.add_fault(method="WaitForUpdatesEx", delay=5.0, times=6)
    await scenario.drop_connections()
    network = await stand.network("short", "10.36.0.0/24")
    group = await stand.port_group_of(network)
    await stand.api("delete_network", network)
    scenario.clear_faults()
    await stand.until(lambda: group not in stand.dvs.portgroups, "it goes", 30.0)


async def test_a_card_that_went_and_came_back_unseen_is_wired_again(stand: NeutronStand):
    network = await stand.network("unseen", "10.35.0.0/24")
    port, nic = await plugged(stand, network)
    group, key = nic.state.network, nic.state.port_key
    scenario = stand.vcenter.scenario
    scenario.add_fault(method="WaitForUpdatesEx", delay=5.0, times=6)
    await scenario.drop_connections()
    await asyncio.sleep(0.1)  # the test's own client sees it before it writes again
    connection = vim.dvs.PortConnection(switchUuid=stand.dvs.uuid, portgroupKey=group.moid, portKey=key)
    backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
    card = vim.vm.device.VirtualVmxnet3(key=-1, addressType="manual", macAddress=port.mac_address, backing=backing)
    gone = vim.vm.device.VirtualVmxnet3(key=nic.key)
    for operation, device in (("remove", gone), ("add", card)):
        change = vim.vm.device.VirtualDeviceSpec(operation=operation, device=device)
        # Not waited for as a task: that goes by updates, too.
        await stand.client.call(
            vim.VirtualMachine(nic.vm.moid), "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=[change])
        )
        there = [key] if operation == "add" else []
        await stand.until(
            lambda there=there: [each.port_key for each in nic.vm.nics if each.key == nic.key] == there, operation, 5.0
        )
    assert stand.dvs.ports.get(key).override is None
    scenario.clear_faults()
    await stand.until(lambda: stand.dvs.ports.get(key).override is not None, "it is open again", 30.0)
    await stand.unplug(nic)
    await stand.api("delete_port", port)
    await stand.api("delete_network", network)


async def test_an_operator_sees_who_works_and_what_differs(stand: NeutronStand):
    network = await stand.network("seen", "10.26.0.0/24")
    await stand.port_group_of(network)
    spec = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec
    switch = vim.dvs.VmwareDistributedVirtualSwitch(stand.dvs.moid)
    narrow = spec(configVersion=str(stand.dvs.config_version), maxMtu=1280)
    await stand.client.run_task(switch, "ReconfigureDvs_Task", spec=narrow)
    (ours, other) = (await stand.command("status"))["vcenters"]
    assert ours["worker"]
    assert ours["state"]["vcenter_reached"]
    assert (other["vcenter"], other["worker"]) == ("vC2", "")
    assert other["pending"] > 0
    agents = {each.host: each for each in await stand.api_list("agents") if each.agent_type == "vmware_dvs worker"}
    assert all(agents[host].is_alive for host in (HOST, OTHER))
    difference = (await stand.command("diff"))["actions"]
    assert [each for each in difference if each["action"] not in ("warn", "keep")] == []
    assert any(network.id in each["why"] and "carries 1280" in each["why"] for each in difference)


async def test_port_groups_of_another_driver_are_adopted_by_order_only(stand: NeutronStand):
    await stand.kill(stand.workers[-1])
    network = await stand.network("theirs", "10.27.0.0/24")
    vlan = vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec(inherited=False, vlanId=network.provider_segmentation_id)
    setting = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(vlan=vlan)
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        name=f"dvs0{network.id}", type="earlyBinding", numPorts=4, defaultPortConfig=setting
    )
    await stand.client.run_task(vim.DistributedVirtualSwitch(stand.dvs.moid), "AddDVPortgroup_Task", spec=[spec])
    group = stand.port_group(network)
    planned = await stand.command("adopt", "--network", network.id, "--dry-run")
    assert [each["group"] for each in planned["adopted"]] == [group.name]
    assert group.config_version == stand.port_group(network).config_version
    await stand.command("adopt", "--network", network.id)
    await stand.start_worker()
    await stand.until(lambda: network.name in group.description, "the worker takes it over", 90)
    assert [each.name for each in stand.dvs.portgroups if network.id in each.name] == [group.name]


async def refused(stand, asked):
    """A network that no distributed switch can carry is refused when it is asked for, and nothing is left of it."""
    body = {"name": "tags", "project_id": "tenant", "provider:physical_network": "physnet1", **asked}
    answer = await asyncio.to_thread(stand.network_api.post, "/networks", json={"network": body})
    assert (answer.status_code, "Backend does not support" in answer.text) == (400, True), answer.text
    assert not [each for each in await stand.api_list("networks") if each.name == "tags"]


async def test_a_whole_api_process_per_vcenter_binds_ports_of_every_vcenter(
    real_neutron, real_mariadb, tmp_path_factory
):
    """The other reading of the seed: Neutron's API with vC2.ini and its worker attached, behind the same database.

    With ``vmware_dvs`` alone: beside openvswitch Neutron knows no networks that carry what guests tag.
    """
    home = tmp_path_factory.mktemp("whole")
    alone = {**SETTINGS["ml2"], "mechanism_drivers": "vmware_dvs"}
    process = RealNeutron(home / "api", real_mariadb, settings={**SETTINGS, "ml2": alone})
    async with NeutronStand(home, process, vcenter="vC2", vms=2, connected=False) as stand:
        worker = f"{sys.prefix}/bin/contrail-vsphere neutron worker {' '.join(stand.settings_files)}"
        try:
            await asyncio.to_thread(process.start, "--attach-daemon", worker)
            await stand.connect()
            network = await stand.network("whole", "10.29.0.0/24")
            await stand.until(lambda: stand.port_group(network), "the attached worker makes its port group", 120)
            for host in (BOOKED, HOST):
                assert (await stand.port(network, host=host)).binding_vif_type == "dvs"
            for kind in ("vlan_transparent", "qinq"):
                await refused(stand, {kind: True, "provider:network_type": "vlan"})
                await refused(stand, {kind: True, "provider:network_type": "flat"})
        finally:
            process.stop()
