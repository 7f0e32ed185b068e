"""ReconfigureDVPort_Task: versions, policies, faults, hosts that are away, and what survives a disconnect."""

from __future__ import annotations

import pytest
from dvs_lab import PORT, SETTING, VMWARE, Lab, blocked, edit, policy, vlan
from pyVmomi import vim

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import host_life, vm_life
from contrail_vsphere.wire.soap.fault import SoapFault

pytestmark = pytest.mark.looptime


async def test_many_ports_change_in_one_task_and_one_event(lab):
    group = await lab.group(numPorts=4)
    keys = list(group.port_keys)
    mark = len(lab.commits)
    await lab.edit(*(edit(key, version="0", vlan=100 + number) for number, key in enumerate(keys)))
    ports = await lab.fetch(portKey=keys)
    assert [port.config.setting.vlan.vlanId for port in ports] == [100, 101, 102, 103]
    assert [port.config.configVersion for port in ports] == ["1"] * 4
    assert all(port.config.setting.vlan.inherited is False for port in ports)
    assert all(port.config.setting.blocked.inherited is True for port in ports)
    assert lab.names(mark) == ["DvsPortReconfigured"]
    (event,) = lab.events("DvsPortReconfiguredEvent")
    assert (list(event.portKey), event.configChanges[0].modified) == (keys, "setting.vlan")


async def test_one_stale_version_fails_the_whole_task(lab):
    group = await lab.group(numPorts=2)
    first, second = group.port_keys
    await lab.edit(edit(first, vlan=5))
    fault = await lab.refused(
        lab.dvs,
        "ReconfigureDVPort_Task",
        port=[edit(second, version="0", vlan=6), edit(first, version="0", vlan=7)],
    )
    assert isinstance(fault, vim.fault.ConcurrentAccess)
    assert (await lab.port(second)).config.configVersion == "0"
    assert (await lab.port(first)).config.setting.vlan.vlanId == 5


async def test_the_version_is_checked_again_when_the_work_begins():
    lab = Lab(timing=Timing.real(), hosts=1, vms=1)
    group = await lab.group(numPorts=1)
    (key,) = group.port_keys
    call = type("C", (), {"user": "x", "world": lab.world})
    tasks = [
        type(lab.dvs)
        .operations["ReconfigureDVPort_Task"]
        .function(lab.dvs, call, port=[edit(key, version="0", vlan=n)])
        for n in (5, 6)
    ]
    await tasks[0].done()
    with pytest.raises(SoapFault) as caught:
        await tasks[1].done()
    assert isinstance(caught.value.fault, vim.fault.ConcurrentAccess)


CASES = {
    "unknown key": ({"key": "4711", "vlan": 5}, "NotFound"),
    "no key": ({"key": None, "vlan": 5}, "InvalidArgument"),
    "add": ({"operation": "add"}, "NotSupported"),
    "unknown operation": ({"operation": "polish"}, "InvalidArgument"),
    "VLAN out of range": ({"vlan": 4095}, "InvalidArgument"),
    "private VLAN that is not there": (
        {"setting": SETTING(vlan=VMWARE.PvlanSpec(inherited=False, pvlanId=77))},
        "InvalidArgument",
    ),
    "security is the group's": (
        {"setting": SETTING(securityPolicy=VMWARE.SecurityPolicy(inherited=False, allowPromiscuous=blocked(True)))},
        "ConflictingConfiguration",
    ),
    "shaping is the group's": (
        {"setting": SETTING(inShapingPolicy=PORT.TrafficShapingPolicy(inherited=False, enabled=blocked(True)))},
        "ConflictingConfiguration",
    ),
    "filters are the group's": (
        {"setting": SETTING(filterPolicy=PORT.FilterPolicy(inherited=False))},
        "ConflictingConfiguration",
    ),
    "remove": ({"operation": "remove", "used": True}, "ResourceInUse"),
}


@pytest.mark.parametrize("case", CASES)
async def test_faults(lab, case):
    spec, name = CASES[case]
    spec = dict(spec)
    group = await lab.group(numPorts=2)
    key = group.port_keys[0]
    if spec.pop("used", False):
        await lab.connect(lab.vms[0], group)
    spec = edit(spec.pop("key", key), **spec)
    fault = await lab.refused(lab.dvs, "ReconfigureDVPort_Task", port=[edit(group.port_keys[1], vlan=9), spec])
    assert type(fault).__name__.rpartition(".")[2] == name
    assert (await lab.port(group.port_keys[1])).config.configVersion == "0"


async def test_a_key_twice_and_too_many_ports(lab):
    group = await lab.group(numPorts=2)
    one, two = group.port_keys
    fault = await lab.refused(lab.dvs, "ReconfigureDVPort_Task", port=[edit(one, vlan=1), edit(one, vlan=2)])
    assert fault.invalidProperty == "port[1].key"
    lab.switch(most_ports_per_call=1, override_fault="InvalidArgument")
    fault = await lab.refused(lab.dvs, "ReconfigureDVPort_Task", port=[edit(one, vlan=1), edit(two, vlan=2)])
    assert fault.invalidProperty == "port"


async def test_giving_back_and_free_ports_removed(lab):
    group = await lab.group(numPorts=2, defaultPortConfig=SETTING(vlan=vlan(30)))
    one, two = group.port_keys
    await lab.edit(edit(one, vlan=5, blocked=True, name="web", description="x"))
    await lab.edit(edit(one, vlan=vlan(0, inherited=True)))
    port = await lab.port(one)
    assert (port.config.setting.vlan.vlanId, port.config.setting.vlan.inherited) == (30, True)
    assert (port.config.setting.blocked.value, port.config.name) == (True, "web")
    await lab.edit(edit(two, operation="remove"))
    assert group.port_keys == (one,)
    assert "DvsPortDeleted" in lab.names()


async def test_an_override_of_a_part_keeps_following_the_group(lab):
    group = await lab.group(policy=policy(securityPolicy=True), numPorts=1)
    (key,) = group.port_keys
    security = VMWARE.SecurityPolicy(inherited=False, allowPromiscuous=blocked(True))
    await lab.edit(edit(key, setting=SETTING(securityPolicy=security)))
    change = VMWARE.SecurityPolicy(inherited=False, forgedTransmits=blocked(True))
    spec = type(group.ref).ConfigSpec(defaultPortConfig=SETTING(securityPolicy=change))
    await lab.run(group, "ReconfigureDVPortgroup_Task", spec=spec)
    shown = (await lab.port(key)).config.setting
    assert shown.securityPolicy.allowPromiscuous.value is True
    assert (shown.securityPolicy.forgedTransmits.value, shown.securityPolicy.forgedTransmits.inherited) == (True, True)
    assert (shown.macManagementPolicy.allowPromiscuous, shown.macManagementPolicy.forgedTransmits) == (True, True)


async def test_state_follows_the_setting_with_events(lab):
    group = await lab.group(numPorts=1)
    nic = await lab.connect(lab.vms[0], group)
    mark = len(lab.commits)
    await lab.edit(edit(nic.port_key, blocked=True, vlan=9))
    state = (await lab.port(nic.port_key)).state.runtimeInfo
    assert (state.blocked, state.linkUp, state.macAddress) == (True, True, nic.mac)
    assert [(r.start, r.end) for r in state.vlanIds] == [(9, 9)]
    assert set(lab.names(mark)) == {"DvsPortReconfigured", "DvsPortBlocked", "DvsPortRuntimeChange"}
    await lab.edit(edit(nic.port_key, blocked=False))
    assert lab.names()[-1] == "DvsPortReconfigured"
    assert "DvsPortUnblocked" in lab.names(mark)


async def away(lab):
    """A running VM's port, and its host not responding."""
    group = await lab.group(numPorts=3)
    here, there = lab.vms[0], next(vm for vm in lab.vms if vm.host is not lab.vms[0].host)
    one, two = await lab.connect(here, group), await lab.connect(there, group)
    await host_life.lose_connection(lab.world, here.host)
    return here.host, one.port_key, two.port_key


@pytest.mark.parametrize(("keeps", "stored"), [("all", (7, 8)), ("live_hosts", (0, 8)), ("nothing", (0, 0))])
async def test_hosts_that_are_away_fail_the_task_after_its_work(lab, keeps, stored):
    lab.switch(bulk_fault_keeps=keeps)
    host, lost, live = await away(lab)
    fault = await lab.refused(lab.dvs, "ReconfigureDVPort_Task", port=[edit(lost, vlan=7), edit(live, vlan=8)])
    assert [(item.host._moId, type(item.fault).__name__) for item in fault.hostFault] == [
        (host.moid, "vim.fault.NoHost")
    ]
    ports = {port.key: port for port in await lab.fetch(portKey=[lost, live])}
    assert tuple(ports[key].config.setting.vlan.vlanId for key in (lost, live)) == stored
    assert [r.start for r in ports[lost].state.runtimeInfo.vlanIds] == [0]


async def test_a_host_out_of_sync_is_rectified(lab):
    host, lost, _ = await away(lab)
    await lab.refused(lab.dvs, "ReconfigureDVPort_Task", port=[edit(lost, vlan=7)])
    status = {item.config.host._moId: item.status for item in lab.dvs.read("config.host")}
    assert status[host.moid] == "disconnected"
    fault = await lab.refused(lab.dvs, "RectifyDvsHost_Task", hosts=[host.ref])
    assert isinstance(fault, vim.fault.DvsOperationBulkFault)
    with lab.world.commit() as tx:
        tx.set(host, connection_state="connected")
        for vm in host.vms:
            tx.set(vm, connection_state="connected")
    member = next(item for item in lab.dvs.read("config.host") if item.config.host._moId == host.moid)
    assert member.status == "outOfSync"
    assert [r.start for r in (await lab.port(lost)).state.runtimeInfo.vlanIds] == [0]
    manager = lab.world.get("DVSManager")
    await lab.run(manager, "RectifyDvsOnHost_Task", hosts=[host.ref])
    assert [r.start for r in (await lab.port(lost)).state.runtimeInfo.vlanIds] == [7]
    names = lab.names()
    assert names.count("DvsHostWentOutOfSync") == names.count("DvsHostBackInSync") == 1


async def test_vcenter_may_rectify_by_itself(lab):
    lab.switch(rectify_on_reconnect=True)
    host, lost, _ = await away(lab)
    await lab.refused(lab.dvs, "ReconfigureDVPort_Task", port=[edit(lost, vlan=7)])
    with lab.world.commit() as tx:
        tx.set(host, connection_state="connected")
    assert [r.start for r in (await lab.port(lost)).state.runtimeInfo.vlanIds] == [7]


@pytest.mark.parametrize(("reset", "left"), [(True, 0), (False, 5)])
async def test_what_a_disconnect_leaves(lab, reset, left):
    group = await lab.group(numPorts=1, policy=policy(vlan=True, reset=reset))
    nic = await lab.connect(lab.vms[0], group)
    await lab.edit(edit(nic.port_key, vlan=5))
    await lab.disconnect(lab.vms[0], nic)
    port = await lab.port(nic.port_key)
    assert port.config.setting.vlan.vlanId == left
    assert port.config.configVersion == ("2" if reset else "1")
    assert (port.connectee, port.state, port.proxyHost, port.connectionCookie) == (None, None, None, None)


@pytest.mark.parametrize(("at", "left"), [("disconnect", 5), ("power_off", 0)])
async def test_reset_may_come_with_the_power(lab, at, left):
    lab.switch(reset_at=at)
    group, vm = await lab.group(numPorts=1), lab.vms[0]
    nic = await lab.connect(vm, group)
    await lab.edit(edit(nic.port_key, vlan=5))
    await vm_life.power_off(lab.world, vm)
    assert (await lab.port(nic.port_key)).config.setting.vlan.vlanId == left
    assert vm.nics[-1].port_key == nic.port_key


@pytest.mark.parametrize(("rule", "number"), [("persists", 5), ("lost", 0)])
async def test_a_write_while_the_vm_is_off(lab, rule, number):
    lab.switch(write_while_off=rule)
    group, vm = await lab.group(numPorts=1), lab.vms[0]
    nic = await lab.connect(vm, group)
    await vm_life.power_off(lab.world, vm)
    await lab.edit(edit(nic.port_key, version="0", vlan=5))
    port = await lab.port(nic.port_key)
    assert (port.config.setting.vlan.vlanId, port.config.configVersion) == (number, "1")
    await vm_life.power_on(lab.world, vm)
    assert [r.start for r in (await lab.port(nic.port_key)).state.runtimeInfo.vlanIds] == [number]


def rule(action, **ip):
    qualifier = vim.dvs.TrafficRule.IpQualifier(**ip)
    return vim.dvs.TrafficRule(sequence=10, qualifier=[qualifier], action=action, direction="incomingPackets")


async def test_filters_are_kept_by_key(lab):
    group = await lab.group(numPorts=1, policy=policy(trafficFilter=True))
    (key,) = group.port_keys
    drop, accept = vim.dvs.TrafficRule.DropAction(), vim.dvs.TrafficRule.AcceptAction()

    def filters(operation, rules, name=None):
        rules = vim.dvs.TrafficRuleset(enabled=True, rules=rules)
        config = PORT.TrafficFilterConfigSpec(
            inherited=False, operation=operation, key=name, agentName="dvfilter-generic-vmware", trafficRuleset=rules
        )
        return SETTING(filterPolicy=PORT.FilterPolicy(inherited=False, filterConfig=[config]))

    await lab.edit(edit(key, setting=filters("add", [rule(drop), rule(accept)])))
    (config,) = (await lab.port(key)).config.setting.filterPolicy.filterConfig
    assert type(config) is PORT.TrafficFilterConfig
    assert all(item.key for item in config.trafficRuleset.rules)
    await lab.edit(edit(key, setting=filters("edit", [rule(accept)], config.key)))
    (config,) = (await lab.port(key)).config.setting.filterPolicy.filterConfig
    assert len(config.trafficRuleset.rules) == 1
    fault = await lab.refused(
        lab.dvs, "ReconfigureDVPort_Task", port=[edit(key, setting=filters("edit", [], "nothing"))]
    )
    assert "filterConfig[0]" in fault.invalidProperty
    twice = rule(drop)
    twice.qualifier = [*twice.qualifier, *twice.qualifier]
    fault = await lab.refused(lab.dvs, "ReconfigureDVPort_Task", port=[edit(key, setting=filters("add", [twice]))])
    assert "rules" in fault.invalidProperty
    await lab.edit(edit(key, setting=filters("remove", [], config.key)))
    assert (await lab.port(key)).config.setting.filterPolicy.filterConfig == []


@pytest.mark.parametrize(("how", "told"), [("merged", [4]), ("single", [1, 1, 1, 1])])
async def test_one_event_or_one_for_each_port(lab, how, told):
    lab.switch(port_events=how)
    group = await lab.group(numPorts=4)
    keys = await lab.keys(portgroupKey=[group.moid], inside=True)
    await lab.edit(*(edit(key, vlan=100) for key in keys))
    events = lab.events("DvsPortReconfiguredEvent")
    assert [len(event.portKey) for event in events] == told
    assert sorted(key for event in events for key in event.portKey) == sorted(keys)
