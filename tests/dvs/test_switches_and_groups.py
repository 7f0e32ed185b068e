"""Switches, members and port groups: create, change in part, rename, destroy, and what forbids it."""

from __future__ import annotations

import pytest
from dvs_lab import GROUP, SETTING, VMWARE, Lab, backing, blocked, edit, nic_change, policy, trunk, vlan
from pyVmomi import vim

from contrail_vsphere.simulator.vcenter import host_life

pytestmark = pytest.mark.looptime
MEMBER = vim.dvs.HostMember


def member(host, operation="add", **fields):
    return MEMBER.ConfigSpec(operation=operation, host=host.ref, **fields)


def pnics(*names):
    return MEMBER.PnicBacking(pnicSpec=[MEMBER.PnicSpec(pnicDevice=name) for name in names])


async def create(lab, **config):
    spec = vim.DistributedVirtualSwitch.CreateSpec(configSpec=VMWARE.ConfigSpec(**{"name": "dvs1", **config}))
    return await lab.run(lab.built.datacenter.network_folder, "CreateDVS_Task", spec=spec)


async def reconfigure(lab, dvs, **config):
    await lab.run(dvs, "ReconfigureDvs_Task", spec=VMWARE.ConfigSpec(**config))


async def change(lab, group, **config):
    await lab.run(group, "ReconfigureDVPortgroup_Task", spec=GROUP.ConfigSpec(**config))


async def test_a_switch_is_created_with_hosts_cards_and_events(lab):
    host = lab.hosts[0]
    dvs = await create(
        lab,
        host=[member(host, backing=pnics("vmnic2"))],
        maxMtu=9000,
        uplinkPortPolicy=vim.DistributedVirtualSwitch.NameArrayUplinkPortPolicy(uplinkPortName=["u1", "u2", "u3"]),
    )
    (joined,) = dvs.read("config.host")
    assert joined.status == "up"
    assert len(joined.uplinkPortKey) == 3
    assert [(item.pnicDevice, item.uplinkPortKey) for item in joined.config.backing.pnicSpec] == [
        ("vmnic2", joined.uplinkPortKey[0])
    ]
    ports = await lab.run(dvs, "FetchDVPorts", criteria=vim.dvs.PortCriteria(uplinkPort=True))
    assert [port.config.name for port in ports] == ["u1", "u2", "u3"]
    assert (ports[0].connectee.type, ports[0].connectee.nicKey) == ("pnic", "vmnic2")
    wanted = ["DvsCreated", "DVPortgroupCreated", "DvsHostJoined", "DvsPortCreated", "DvsPortConnected"]
    assert lab.names() == wanted
    assert dvs.read("config.numPorts") == 3


async def test_a_switch_is_changed_in_part(lab):
    version = lab.dvs.read("config.configVersion")
    await reconfigure(
        lab,
        lab.dvs,
        configVersion=version,
        maxMtu=9000,
        vendorSpecificConfig=[vim.dvs.KeyedOpaqueBlob(key="a", opaqueData="1")],
        contact=vim.DistributedVirtualSwitch.ContactInfo(name="n", contact="c"),
    )
    assert lab.dvs.read("config.maxMtu") == 9000
    assert lab.dvs.read("config.name") == "dvs0"
    assert [blob.key for blob in lab.dvs.read("config.vendorSpecificConfig")] == ["a"]
    (event,) = lab.events("DvsReconfiguredEvent")
    assert event.configChanges.modified == "contact, maxMtu, vendorSpecificConfig"
    stale = VMWARE.ConfigSpec(configVersion=version, maxMtu=1500)
    assert isinstance(await lab.refused(lab.dvs, "ReconfigureDvs_Task", spec=stale), vim.fault.ConcurrentAccess)


WRONG = {
    "MTU": ({"maxMtu": 100}, "InvalidArgument"),
    "fewer ports than there are": ({"maxPorts": 1}, "InvalidArgument"),
    "standalone ports": ({"numStandalonePorts": 4}, "InvalidArgument"),
    "VLAN": ({"defaultPortConfig": SETTING(vlan=vlan(4095))}, "InvalidArgument"),
    "uplinks alike": (
        {
            "uplinkPortPolicy": vim.DistributedVirtualSwitch.NameArrayUplinkPortPolicy(uplinkPortName=["a", "a"]),
        },
        "InvalidArgument",
    ),
    "name taken": ({"name": "VM Network"}, "DuplicateName"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_a_switch_refuses(lab, case):
    spec, name = WRONG[case]
    version = lab.dvs.config_version
    fault = await lab.refused(lab.dvs, "ReconfigureDvs_Task", spec=VMWARE.ConfigSpec(**spec))
    assert type(fault).__name__.rpartition(".")[2] == name
    assert lab.dvs.config_version == version


async def test_health_checks_are_kept_by_kind(lab):
    shown = [(type(item), item.enable) for item in lab.dvs.read("config.healthCheckConfig")]
    assert shown == [(VMWARE.VlanMtuHealthCheckConfig, False), (VMWARE.TeamingHealthCheckConfig, False)]
    before = int(lab.dvs.read("config.configVersion"))
    teaming = VMWARE.TeamingHealthCheckConfig(enable=True, interval=3)
    await lab.run(lab.dvs, "UpdateDVSHealthCheckConfig_Task", healthCheckConfig=[teaming])
    vlan, kept = lab.dvs.read("config.healthCheckConfig")
    assert (vlan.enable, kept.enable, kept.interval) == (False, True, 3)
    assert int(lab.dvs.read("config.configVersion")) == before + 1
    assert lab.names()[-1] == "DvsReconfigured"
    wrong = vim.DistributedVirtualSwitch.HealthCheckConfig(enable=True, interval=1)
    fault = await lab.refused(lab.dvs, "UpdateDVSHealthCheckConfig_Task", healthCheckConfig=[wrong])
    assert fault.invalidProperty == "healthCheckConfig"


async def test_hosts_join_change_and_leave(lab):
    dvs = await create(lab)
    host = lab.hosts[0]
    await reconfigure(lab, dvs, host=[member(host)])
    spec = VMWARE.ConfigSpec(host=[member(host)])
    assert isinstance(await lab.refused(dvs, "ReconfigureDvs_Task", spec=spec), vim.fault.AlreadyExists)
    await reconfigure(lab, dvs, host=[member(host, "edit", backing=pnics("vmnic0", "vmnic1"), maxProxySwitchPorts=64)])
    (shown,) = dvs.read("config.host")
    assert shown.config.maxProxySwitchPorts == 64
    three = VMWARE.ConfigSpec(host=[member(host, "edit", backing=pnics("a", "b", "c"))])
    assert await lab.refused(dvs, "ReconfigureDvs_Task", spec=three)
    fewer = vim.DistributedVirtualSwitch.NameArrayUplinkPortPolicy(uplinkPortName=["only"])
    fault = await lab.refused(dvs, "ReconfigureDvs_Task", spec=VMWARE.ConfigSpec(uplinkPortPolicy=fewer))
    assert isinstance(fault, vim.fault.ResourceInUse)
    await reconfigure(lab, dvs, host=[member(host, "edit", backing=pnics("vmnic0"))])
    await reconfigure(lab, dvs, uplinkPortPolicy=fewer)
    assert dvs.ports.count() == 1
    await reconfigure(lab, dvs, host=[member(host, "remove")])
    assert (dvs.ports.count(), dvs.hosts, list(dvs.members)) == (0, (), [])
    absent = VMWARE.ConfigSpec(host=[member(host, "remove")])
    assert isinstance(await lab.refused(dvs, "ReconfigureDvs_Task", spec=absent), vim.fault.NotFound)
    assert "DvsHostLeft" in lab.names()


async def test_members_that_are_away_miss_the_mtu(lab):
    host = lab.hosts[0]
    await host_life.lose_connection(lab.world, host)
    fault = await lab.refused(lab.dvs, "ReconfigureDvs_Task", spec=VMWARE.ConfigSpec(maxMtu=9000))
    assert [item.host._moId for item in fault.hostFault] == [host.moid]
    assert lab.dvs.max_mtu == 9000
    assert not lab.dvs.members[host.moid].in_sync


PVLANS = {
    "whole": ([("add", 100, 100, "promiscuous"), ("add", 100, 101, "isolated")], ""),
    "no promiscuous entry": ([("add", 100, 101, "isolated")], "InvalidArgument"),
    "promiscuous with another id": ([("add", 100, 101, "promiscuous")], "InvalidArgument"),
    "two isolated": (
        [("add", 100, 100, "promiscuous"), ("add", 100, 101, "isolated"), ("add", 100, 102, "isolated")],
        "InvalidArgument",
    ),
    "twice": ([("add", 100, 100, "promiscuous"), ("add", 100, 100, "promiscuous")], "AlreadyExists"),
    "out of range": ([("add", 5000, 5000, "promiscuous")], "InvalidArgument"),
    "remove what is not": ([("remove", 100, 100, "promiscuous")], "NotFound"),
}


@pytest.mark.parametrize("case", PVLANS)
async def test_private_vlan_maps(lab, case):
    entries, name = PVLANS[case]
    spec = VMWARE.ConfigSpec(
        pvlanConfigSpec=[
            VMWARE.PvlanConfigSpec(
                operation=operation,
                pvlanEntry=VMWARE.PvlanMapEntry(primaryVlanId=one, secondaryVlanId=two, pvlanType=kind),
            )
            for operation, one, two, kind in entries
        ]
    )
    if name:
        fault = await lab.refused(lab.dvs, "ReconfigureDvs_Task", spec=spec)
        assert type(fault).__name__.rpartition(".")[2] == name
        assert lab.dvs.pvlans == ()
        return
    await lab.run(lab.dvs, "ReconfigureDvs_Task", spec=spec)
    await lab.group(defaultPortConfig=SETTING(vlan=VMWARE.PvlanSpec(inherited=False, pvlanId=101)))
    for change_ in spec.pvlanConfigSpec:
        change_.operation = "remove"
    assert isinstance(await lab.refused(lab.dvs, "ReconfigureDvs_Task", spec=spec), vim.fault.ResourceInUse)


async def test_groups_by_both_calls(lab):
    specs = [GROUP.ConfigSpec(name=name, type="earlyBinding", numPorts=1) for name in ("x", "y")]
    assert await lab.run(lab.dvs, "AddDVPortgroup_Task", spec=specs) is None
    group = await lab.group("z", numPorts=3, portNameFormat="<portgroupName>-<portIndex>")
    assert [item.name for item in lab.dvs.portgroups[1:]] == ["x", "y", "z"]
    assert len({key for item in lab.dvs.portgroups for key in item.port_keys}) == lab.dvs.ports.count()
    assert (await lab.port(group.port_keys[0])).config.name == "z-0"
    assert group.read("config.configVersion") == "0"


BAD_GROUPS = {
    "no name": ({"name": ""}, "InvalidName"),
    "name taken": ({"name": "VM Network"}, "DuplicateName"),
    "late binding": ({"type": "lateBinding"}, "InvalidArgument"),
    "negative": ({"numPorts": -1}, "InvalidArgument"),
    "VLAN": ({"defaultPortConfig": SETTING(vlan=trunk((5, 3)))}, "InvalidArgument"),
}


@pytest.mark.parametrize("case", BAD_GROUPS)
async def test_groups_that_are_refused(lab, case):
    spec, name = BAD_GROUPS[case]
    spec = GROUP.ConfigSpec(**{"name": "pg", "type": "earlyBinding", **spec})
    good = GROUP.ConfigSpec(name="good", type="earlyBinding")
    fault = await lab.refused(lab.dvs, "AddDVPortgroup_Task", spec=[good, spec])
    assert type(fault).__name__.rpartition(".")[2] == name
    assert len(lab.dvs.portgroups) == 1


async def test_max_ports_is_a_limit(lab):
    await reconfigure(lab, lab.dvs, maxPorts=lab.dvs.ports.count() + 4)
    fault = await lab.refused(
        lab.dvs, "CreateDVPortgroup_Task", spec=GROUP.ConfigSpec(name="big", type="earlyBinding", numPorts=5)
    )
    assert (fault.property, fault.limit) == ("maxPorts", lab.dvs.max_ports)
    assert lab.dvs.portgroups[1:] == ()


async def test_a_group_inherits_from_the_switch_what_it_gives_back(lab):
    await reconfigure(lab, lab.dvs, defaultPortConfig=SETTING(vlan=vlan(50)))
    group = await lab.group(defaultPortConfig=SETTING(vlan=vlan(60)))
    assert group.read("config.defaultPortConfig.vlan").vlanId == 60
    await change(lab, group, defaultPortConfig=SETTING(vlan=vlan(0, inherited=True)))
    given = group.read("config.defaultPortConfig.vlan")
    assert (given.vlanId, given.inherited) == (50, True)


async def test_a_new_group_setting_reaches_ports_without_their_own(lab):
    group = await lab.group(numPorts=2)
    one, two = await lab.connect(lab.vms[0], group), await lab.connect(lab.vms[1], group)
    await lab.edit(edit(two.port_key, vlan=9))
    await change(lab, group, defaultPortConfig=SETTING(vlan=vlan(7), blocked=blocked(True)))
    states = {port.key: port.state.runtimeInfo for port in await lab.fetch(connected=True)}
    assert [(state.vlanIds[0].start, state.blocked) for state in (states[one.port_key], states[two.port_key])] == [
        (7, True),
        (9, True),
    ]
    assert lab.names().count("DvsPortBlocked") == 2


async def test_a_policy_cannot_take_away_what_ports_use(lab):
    group = await lab.group(numPorts=1)
    await lab.edit(edit(group.port_keys[0], vlan=9))
    spec = GROUP.ConfigSpec(policy=policy(block=True))
    fault = await lab.refused(group, "ReconfigureDVPortgroup_Task", spec=spec)
    assert fault.configInConflict[0].propertyPath == "config.policy.vlanOverrideAllowed"
    await change(lab, group, policy=policy(vlan=True))
    assert group.policy.blockOverrideAllowed is False


async def test_resize_rename_destroy(lab):
    group = await lab.group(numPorts=4)
    nic = await lab.connect(lab.vms[0], group)
    fault = await lab.refused(group, "ReconfigureDVPortgroup_Task", spec=GROUP.ConfigSpec(numPorts=0))
    assert isinstance(fault, vim.fault.ResourceInUse)
    await change(
        lab, group, numPorts=2, name="other", vendorSpecificConfig=[vim.dvs.KeyedOpaqueBlob(key="k", opaqueData="v")]
    )
    assert (group.num_ports, group.name, group.config_version) == (2, "other", 1)
    assert isinstance(await lab.refused(group, "Destroy_Task"), vim.fault.ResourceInUse)
    assert isinstance(await lab.refused(lab.dvs, "Destroy_Task"), vim.fault.ResourceInUse)
    await lab.disconnect(lab.vms[0], nic)
    await lab.run(group, "Destroy_Task")
    assert lab.names()[-1] == "DvsPortDeleted"
    assert "DVPortgroupDestroyed" in lab.names()
    await lab.run(lab.dvs, "Destroy_Task")
    assert lab.world.get(lab.dvs.moid) is None


async def test_lookups(lab):
    group, manager = await lab.group(), lab.world.get("DVSManager")
    assert await lab.run(manager, "QueryDvsByUuid", uuid=lab.dvs.uuid) is lab.dvs
    assert await lab.run(lab.dvs, "LookupDvPortGroup", portgroupKey=group.moid) is group
    arguments = {"switchUuid": lab.dvs.uuid, "portgroupKey": group.moid}
    assert await lab.run(manager, "DVSManagerLookupDvPortGroup", **arguments) is group
    for entity, method, arguments in (
        (manager, "QueryDvsByUuid", {"uuid": "50 2f"}),
        (manager, "DVSManagerLookupDvPortGroup", {"switchUuid": lab.dvs.uuid, "portgroupKey": "x"}),
        (lab.dvs, "LookupDvPortGroup", {"portgroupKey": "x"}),
        (lab.dvs, "RefreshDVPortState", {"portKeys": ["4711"]}),
    ):
        assert isinstance(await lab.refused(entity, method, **arguments), vim.fault.NotFound), method
    fault = await lab.refused(lab.dvs, "MergeDvs_Task", dvs=lab.dvs.ref)
    assert type(fault).__name__ == "vmodl.fault.NotSupported"
    await lab.edit(edit(group.port_keys[0], vlan=77))
    assert await lab.run(lab.dvs, "QueryUsedVlanIdInDvs") == [77]


async def test_a_full_proxy_switch_takes_no_more_vms():
    lab = Lab(hosts=2, clusters=1, vms=4)
    group, host = await lab.group(), lab.hosts[0]
    vm = next(vm for vm in lab.vms if vm.host is not host)
    await reconfigure(lab, lab.dvs, host=[member(host, "edit", maxProxySwitchPorts=2)])
    nic = await lab.connect(vm, group)
    await lab.run(vm, "MigrateVM_Task", priority="defaultPriority", host=host.ref)
    await lab.run(vm, "MigrateVM_Task", priority="defaultPriority", host=lab.hosts[1].ref)
    one, other = (vm for vm in lab.vms if vm.host is host)
    for guest in (one, other):
        await lab.connect(guest, group)
    device = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing(group))
    fault = await lab.refused(one, "ReconfigVM_Task", spec=nic_change("add", device))
    assert isinstance(fault, vim.fault.ResourceNotAvailable)
    fault = await lab.refused(vm, "MigrateVM_Task", priority="defaultPriority", host=host.ref)
    assert isinstance(fault, vim.fault.ResourceNotAvailable)
    assert (await lab.port(nic.port_key)).proxyHost._moId == vm.host.moid


async def test_a_card_may_change_its_port(lab):
    group, vm = await lab.group(numPorts=3), lab.vms[0]
    nic = await lab.connect(vm, group)
    wanted = group.port_keys[2]
    device = vim.vm.device.VirtualVmxnet3(key=nic.key, backing=backing(group, wanted))
    await lab.run(vm, "ReconfigVM_Task", spec=nic_change("edit", device))
    assert vm.nics[-1].port_key == wanted
    assert [port.key for port in await lab.fetch(connected=True)] == [wanted]
    names = lab.names()
    assert (names.count("DvsPortConnected"), names.count("DvsPortDisconnected")) == (2, 1)
