"""Power, placement, maintenance, crash, ports and deployment: what happens, with which events and which faults."""

from __future__ import annotations

import asyncio

import pytest
from pyVmomi import vim

from contrail_vsphere.simulator.vcenter import host_life, ovf_import, vm_life
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.devices import nic_device
from contrail_vsphere.wire.ovf.descriptor import (
    GUEST_INFO_TRANSPORT,
    Descriptor,
    OvfDisk,
    OvfFile,
    OvfItem,
    OvfNetwork,
    OvfProduct,
    OvfProperty,
)
from contrail_vsphere.wire.soap.fault import SoapFault

pytestmark = pytest.mark.looptime


async def refused(awaitable, kind):
    with pytest.raises(SoapFault) as caught:
        await awaitable
    assert caught.value.kind == kind, caught.value
    return caught.value.fault


def own_events(lab):
    return [name for name in lab.event_names if not name.startswith(("Task", "DvsPort"))]


# -- power ------------------------------------------------------------------------------------------------------


async def test_power_states_events_and_chain(lab):
    vm = lab.built.vms[0]
    await refused(lab.run(vm, "PowerOnVM_Task"), "InvalidPowerState")
    await lab.run(vm, "PowerOffVM_Task")
    await lab.run(vm, "PowerOnVM_Task")
    assert own_events(lab) == ["VmStoppingEvent", "VmPoweredOffEvent", "VmStartingEvent", "DrsVmPoweredOnEvent"]
    off, on = lab.events[1], lab.events[3]
    assert lab.events[0].chainId == off.chainId != on.chainId
    assert on.vm.vm._moId == vm.moid
    assert on.host.name == "esx-00"
    assert on.datacenter.name == "DC0"
    assert on.computeResource.name == "C0"
    assert on.userName == "tester"


async def test_an_event_comes_with_its_change(slow_lab):
    lab, vm = slow_lab, slow_lab.built.vms[0]
    seen = []
    lab.world.observe(lambda done: seen.extend((type(e).__name__, vm.power_state) for e in done.events))
    await vm_life.power_off(lab.world, vm)
    assert seen == [("vim.event.VmStoppingEvent", "poweredOn"), ("vim.event.VmPoweredOffEvent", "poweredOff")]


async def test_a_second_operation_finds_the_first_in_progress(slow_lab):
    lab, vm = slow_lab, slow_lab.built.vms[0]
    first = asyncio.ensure_future(lab.run(vm, "PowerOffVM_Task"))
    await asyncio.sleep(0.5)
    error = await refused(lab.run(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(annotation="x")), "TaskInProgress")
    assert lab.world.get(error.task._moId) is not None
    await first
    assert vm.power_state == "poweredOff"


async def test_a_destroyed_vm_is_not_found(lab):
    vm = lab.built.vms[0]
    await refused(vm_life.destroy(lab.world, vm), "InvalidPowerState")
    await vm_life.power_off(lab.world, vm)
    await vm_life.destroy(lab.world, vm)
    await refused(vm_life.power_on(lab.world, vm), "ManagedObjectNotFound")
    assert own_events(lab)[-1] == "VmRemovedEvent"
    assert lab.events[-1].vm.name == vm.name


async def test_reservations_are_admitted_or_refused(lab):
    vm = lab.built.vms[0]
    await vm_life.power_off(lab.world, vm)
    with lab.world.commit() as tx:
        tx.set(vm, memory_reservation=vm.host.memory_mb + 4, esx_agent=True)
    error = await refused(vm_life.power_on(lab.world, vm), "InsufficientMemoryResourcesFault")
    assert error.requested > error.unreserved
    assert own_events(lab)[-1] == "VmFailedToPowerOnEvent"
    assert vm.power_state == "poweredOff"


# -- EsxAgents and placement ------------------------------------------------------------------------------------


async def test_no_tenant_runs_where_esx_agents_are_missing(lab):
    vm, agent = lab.built.vms[0], lab.built.vms[3]
    for machine in (vm, agent):
        await vm_life.power_off(lab.world, machine)
    with lab.world.commit() as tx:
        tx.set(agent, esx_agent=True)
        for host in lab.built.hosts:
            tx.set(host, required_agents=1)
    error = await refused(vm_life.power_on(lab.world, vm), "InsufficientAgentVmsDeployed")
    assert (error.hostName, error.requiredNumAgentVms, error.currentNumAgentVms) == ("esx-00", 1, 0)
    await vm_life.power_on(lab.world, agent)
    migrating = lab.run(lab.built.vms[1], "MigrateVM_Task", priority="high", host=lab.built.hosts[2].ref)
    await refused(migrating, "InsufficientAgentVmsDeployed")
    assert own_events(lab)[-1] == "VmFailedMigrateEvent"
    with lab.world.commit() as tx:
        tx.set(lab.built.hosts[1], available_agents=1)
    await vm_life.power_on(lab.world, vm)
    assert vm.host is lab.built.hosts[1], "DRS takes a host that is ready"


async def test_migration_tells_both_hosts(lab):
    vm, target = lab.built.vms[0], lab.built.hosts[1]
    await lab.run(vm, "MigrateVM_Task", priority="high", host=target.ref)
    before, after = lab.events[-2:]
    assert type(before).__name__ == "vim.event.VmBeingHotMigratedEvent"
    assert (before.host.name, before.destHost.name) == ("esx-00", "esx-01")
    assert type(after).__name__ == "vim.event.VmMigratedEvent"
    assert (after.host.name, after.sourceHost.name) == ("esx-01", "esx-00")


# -- maintenance ------------------------------------------------------------------------------------------------


class Agents:
    """A stand-in for EAM: the EsxAgent goes last and comes back first."""

    def __init__(self, world):
        self.world, self.log = world, []
        host_life.MaintenanceHooks.of(world).register(self)

    async def before_entered(self, host):
        self.log.append(("before", sorted(vm.name for vm in host.vms if vm.power_state == "poweredOn")))
        for vm in host.vms:
            if vm.esx_agent:
                await vm_life.power_off(self.world, vm)

    async def after_exit(self, host):
        self.log.append(("after", host.in_maintenance))
        for vm in host.vms:
            if vm.esx_agent:
                await vm_life.power_on(self.world, vm)


async def test_maintenance_evacuates_tenants_then_the_esx_agent(slow_lab):
    lab, host = slow_lab, slow_lab.built.hosts[0]
    agent = host.vms[0]
    with lab.world.commit() as tx:
        tx.set(agent, esx_agent=True)
    agents = Agents(lab.world)
    await lab.run(host, "EnterMaintenanceMode_Task", timeout=0)
    assert host.in_maintenance
    assert host.vms == (agent,)
    assert agents.log == [("before", [agent.name])]
    names = own_events(lab)
    assert names.index("EnteringMaintenanceModeEvent") < names.index("DrsVmMigratedEvent")
    assert (
        names.index("DrsVmMigratedEvent")
        < names.index("VmPoweredOffEvent")
        < names.index("EnteredMaintenanceModeEvent")
    )
    await refused(vm_life.power_on(lab.world, agent), "InvalidHostState")
    await lab.run(host, "ExitMaintenanceMode_Task", timeout=0)
    assert agent.power_state == "poweredOn"
    assert agents.log[-1] == ("after", False)


async def test_maintenance_without_drs_waits_and_times_out(slow_lab):
    lab, host = slow_lab, slow_lab.built.hosts[0]
    with lab.world.commit() as tx:
        tx.set(lab.built.clusters[0], drs=False)
    await refused(lab.run(host, "EnterMaintenanceMode_Task", timeout=60), "Timedout")
    assert not host.in_maintenance
    assert not host.entering_maintenance
    waiting = asyncio.ensure_future(lab.run(host, "EnterMaintenanceMode_Task", timeout=0))
    await asyncio.sleep(100)
    assert not host.in_maintenance
    for vm in host.vms:
        await vm_life.power_off(lab.world, vm)
    await waiting
    assert host.in_maintenance


async def test_a_host_is_removed_only_out_of_service(lab):
    host = lab.built.hosts[0]
    await refused(lab.run(host, "Destroy_Task"), "InvalidState")
    await lab.run(host, "DisconnectHost_Task")
    assert {vm.connection_state for vm in host.vms} == {"disconnected"}
    vms = host.vms
    await lab.run(host, "Destroy_Task")
    assert lab.world.get(host.moid) is None
    assert all(lab.world.get(vm.moid) is None for vm in vms)
    assert host not in lab.built.clusters[0].hosts
    assert host not in lab.built.dvs.hosts
    assert own_events(lab)[-1] == "HostRemovedEvent"


async def test_an_added_host_finds_what_its_peers_have(lab):
    host = await host_life.add_host(lab.world, lab.built.clusters[0], name="esx-50")
    assert own_events(lab) == ["DvsHostJoinedEvent", "HostAddedEvent", "HostConnectedEvent"]
    assert lab.built.shared in host.datastores
    assert lab.built.vm_network in host.networks
    assert host in lab.built.dvs.hosts
    await refused(host_life.add_host(lab.world, lab.built.clusters[0], name="esx-50"), "AlreadyConnected")


# -- crash ------------------------------------------------------------------------------------------------------


async def test_ha_restarts_tenants_elsewhere_and_esx_agents_at_home(slow_lab):
    lab, host = slow_lab, slow_lab.built.hosts[0]
    agent, tenant = host.vms
    with lab.world.commit() as tx:
        tx.set(agent, esx_agent=True)
    await host_life.crash(lab.world, host)
    assert not tenant.guest_runs
    await asyncio.sleep(11)
    assert host.connection_state == "notResponding"
    await asyncio.sleep(60)
    assert tenant.host is not host
    assert tenant.guest_runs
    assert agent.host is host
    restart = next(event for event in lab.events if type(event).__name__.endswith("RestartedOnAlternateHostEvent"))
    assert (restart.sourceHost.name, restart.host.name) == ("esx-00", tenant.host.name)
    await host_life.boot(lab.world, host)
    await Background.of(lab.world).idle()
    assert agent.power_state == "poweredOn"
    assert host.connection_state == "connected"


async def test_after_a_boot_tenants_wait_for_the_esx_agent(slow_lab):
    lab, host = slow_lab, slow_lab.built.hosts[0]
    agent, tenant = host.vms
    with lab.world.commit() as tx:
        tx.set(agent, esx_agent=True)
        for each in lab.built.hosts:
            tx.set(each, required_agents=1)
    await host_life.crash(lab.world, host)
    await asyncio.sleep(60)
    await host_life.boot(lab.world, host)
    await asyncio.sleep(60)
    assert (agent.power_state, tenant.power_state) == ("poweredOn", "poweredOff")
    with lab.world.commit() as tx:
        tx.set(host, available_agents=1)
        tx.touch(host, "summary")
    await asyncio.sleep(10)
    assert tenant.power_state == "poweredOn"


# -- ports ------------------------------------------------------------------------------------------------------


def add_nic(group):
    port = vim.dvs.PortConnection(switchUuid=group.dvs.uuid, portgroupKey=group.moid)
    backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    device = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing)
    return vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="add", device=device)])


async def make_group(lab, **spec):
    config = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(**{"name": "pg", "type": "earlyBinding", **spec})
    return await lab.run(lab.built.dvs, "CreateDVPortgroup_Task", spec=config)


async def test_port_keys_are_unique_in_the_switch_and_never_used_again(lab):
    first, second = await make_group(lab, numPorts=2), await make_group(lab, name="pg2", numPorts=2)
    assert not set(first.port_keys) & set(second.port_keys)
    vm = lab.built.vms[0]
    await lab.run(vm, "ReconfigVM_Task", spec=add_nic(first))
    nic = vm.nics[-1]
    assert nic.port_key == first.port_keys[0]
    assert nic.connection_cookie
    ports = await lab.run(lab.built.dvs, "FetchDVPorts", criteria=vim.dvs.PortCriteria(connected=True))
    assert [(port.key, port.connectee.connectedEntity._moId) for port in ports] == [(nic.port_key, vm.moid)]
    await refused(lab.run(first, "Destroy_Task"), "ResourceInUse")
    gone = set(second.port_keys)
    await lab.run(second, "Destroy_Task")
    third = await make_group(lab, name="pg3", numPorts=2)
    assert not gone & set(third.port_keys)


async def test_a_full_group_grows_only_when_it_may(lab):
    fixed, elastic = await make_group(lab, numPorts=1, autoExpand=False), await make_group(lab, name="e", numPorts=1)
    one, two = lab.built.vms[0], lab.built.vms[1]
    await lab.run(one, "ReconfigVM_Task", spec=add_nic(fixed))
    before = one.world.seq
    await refused(lab.run(two, "ReconfigVM_Task", spec=add_nic(fixed)), "ResourceNotAvailable")
    assert len(two.nics) == 1
    assert not any(entry.entity is two for entry in lab.world.since(before))
    for vm in (one, two):
        await lab.run(vm, "ReconfigVM_Task", spec=add_nic(elastic))
    assert elastic.num_ports == 9


async def test_ephemeral_ports_come_and_go_with_the_power(lab):
    group, vm = await make_group(lab, type="ephemeral"), lab.built.vms[0]
    assert group.port_keys == ()
    await lab.run(vm, "ReconfigVM_Task", spec=add_nic(group))
    assert vm.nics[-1].port_key
    await vm_life.power_off(lab.world, vm)
    assert (vm.nics[-1].port_key, group.port_keys) == ("", ())
    await vm_life.power_on(lab.world, vm)
    assert vm.nics[-1].port_key in group.port_keys


async def test_a_group_is_patched_not_replaced(lab):
    group = await make_group(lab, numPorts=4, description="mine")
    spec_class = vim.dvs.DistributedVirtualPortgroup.ConfigSpec
    vmware = vim.dvs.VmwareDistributedVirtualSwitch
    policy = vmware.SecurityPolicy(inherited=False, allowPromiscuous=vim.BoolPolicy(inherited=False, value=True))
    change = spec_class(configVersion="0", defaultPortConfig=vmware.VmwarePortConfigPolicy(securityPolicy=policy))
    await lab.run(group, "ReconfigureDVPortgroup_Task", spec=change)
    assert (group.name, group.num_ports, group.description) == ("pg", 4, "mine")
    setting = group.setting
    assert setting.vlan.vlanId == 0
    assert setting.securityPolicy.allowPromiscuous.value is True
    assert setting.securityPolicy.forgedTransmits.value is False
    assert setting.macManagementPolicy.allowPromiscuous is True
    assert group.read("config.configVersion") == "1"
    await refused(lab.run(group, "ReconfigureDVPortgroup_Task", spec=change), "ConcurrentAccess")
    bad = vmware.VmwarePortConfigPolicy(vlan=vmware.VlanIdSpec(inherited=False, vlanId=5000))
    worse = spec_class(defaultPortConfig=bad)
    await refused(lab.run(group, "ReconfigureDVPortgroup_Task", spec=worse), "InvalidArgument")


async def test_a_card_needs_a_network_of_its_host(lab):
    group, vm = await make_group(lab), lab.built.vms[0]
    leave = vim.dvs.HostMember.ConfigSpec(operation="remove", host=vm.host.ref)
    spec = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(
        host=[leave], configVersion=str(lab.built.dvs.config_version)
    )
    await lab.run(lab.built.dvs, "ReconfigureDvs_Task", spec=spec)
    assert group not in vm.host.networks
    await refused(lab.run(vm, "ReconfigVM_Task", spec=add_nic(group)), "InvalidDeviceBacking")


async def test_a_mac_address_stays_and_can_be_set_while_off(lab):
    vm = lab.built.vms[0]
    device = nic_device(vm.nics[0])
    device.macAddress = "00:50:56:00:00:01"
    spec = vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=device)])
    await refused(lab.run(vm, "ReconfigVM_Task", spec=spec), "InvalidDeviceSpec")
    await vm_life.power_off(lab.world, vm)
    await lab.run(vm, "ReconfigVM_Task", spec=spec)
    assert vm.nics[0].mac == "00:50:56:00:00:01"
    assert "VmMacChangedEvent" in lab.event_names


# -- the rest ---------------------------------------------------------------------------------------------------


async def test_agent_settings_are_overwritten_whole(lab):
    host = lab.built.hosts[0]
    info = vim.host.EsxAgentHostManager.ConfigInfo
    both = info(agentVmDatastore=lab.built.shared.ref, agentVmNetwork=lab.built.management.ref)
    await lab.run(host.agent_manager, "EsxAgentHostManagerUpdateConfig", configInfo=both)
    assert host.read("summary.config.agentVmNetwork")._moId == lab.built.management.moid
    only = info(agentVmDatastore=lab.built.shared.ref)
    await lab.run(host.agent_manager, "EsxAgentHostManagerUpdateConfig", configInfo=only)
    assert host.agent_manager.read("configInfo.agentVmNetwork") is None
    foreign = next(ds for ds in lab.built.hosts[1].datastores if ds is not lab.built.shared)
    wrong = info(agentVmDatastore=foreign.ref)
    await refused(lab.run(host.agent_manager, "EsxAgentHostManagerUpdateConfig", configInfo=wrong), "HostConfigFault")


async def test_names_are_unique_in_a_folder(lab):
    vm, other = lab.built.vms[:2]
    error = await refused(lab.run(vm, "Rename_Task", newName=other.name), "DuplicateName")
    assert error.object._moId == other.moid
    await refused(lab.run(lab.built.dvs, "Rename_Task", newName="VM Network"), "DuplicateName")


async def test_a_stale_change_version_is_refused(lab):
    vm = lab.built.vms[0]
    version = vm.read("config.changeVersion")
    await lab.run(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(changeVersion=version, annotation="a"))
    stale = vim.vm.ConfigSpec(changeVersion=version, annotation="b")
    await refused(lab.run(vm, "ReconfigVM_Task", spec=stale), "ConcurrentAccess")
    assert vm.annotation == "a"


DESCRIPTOR = Descriptor(
    name="ContrailVM",
    id="contrailvm",
    products=(
        OvfProduct(
            properties=(
                OvfProperty(key="manager_url", user_configurable=True),
                OvfProperty(key="log_level", user_configurable=True, default="info"),
            )
        ),
    ),
    files=(OvfFile(id="file1", href="disk.vmdk", size=70_000),),
    disks=(OvfDisk(id="disk1", file="file1", capacity=40 * 1024**3),),
    networks=(OvfNetwork("management"), OvfNetwork("overlay")),
    items=(
        OvfItem("1", 3, "4 CPU", quantity=4, reservation=2000),
        OvfItem("2", 4, "8 GB", quantity=8 * 1024**3, reservation=8 * 1024**3),
        OvfItem("3", 6, "SCSI", subtype="VirtualSCSI", address="0"),
        OvfItem("4", 17, "disk", host_resource="ovf:/disk/disk1", parent="3", address_on_parent="0"),
        OvfItem("5", 10, "nic 1", subtype="VmxNet3", connection="management", address_on_parent="7"),
        OvfItem("6", 10, "nic 2", subtype="VmxNet3", connection="overlay", address_on_parent="8"),
    ),
    os_type="ubuntu64Guest",
    transports=(GUEST_INFO_TRANSPORT,),
    virtual_system_types=("vmx-13",),
)


def deployment(lab, **other):
    built = lab.built
    arguments = {
        "descriptor": DESCRIPTOR,
        "name": "ContrailVM (1)",
        "host": built.hosts[0],
        "datastore": built.hosts[0].datastores[0],
        "network_map": {"management": built.management, "overlay": built.vm_network},
        "folder": built.datacenter.vm_folder,
        "pool": built.clusters[0].root_pool,
        "properties": {"manager_url": "https://127.0.0.1:8444"},
        "user": "eam",
    }
    return ovf_import.deploy(lab.world, **{**arguments, **other})


async def test_an_ovf_package_becomes_a_vm(lab):
    vm = await deployment(lab)
    assert (vm.cpus, vm.memory_mb, vm.cpu_reservation, vm.memory_reservation) == (4, 8192, 2000, 8192)
    assert [(nic.unit, nic.network.name, nic.kind) for nic in vm.nics] == [
        (7, "mgmt", "VirtualVmxnet3"),
        (8, "VM Network", "VirtualVmxnet3"),
    ]
    assert len({nic.mac for nic in vm.nics}) == 2
    assert vm.read("summary.config.vmPathName") == "[esx-00-local] ContrailVM (1)/ContrailVM (1).vmx"
    assert vm.datastores[0].capacity - vm.datastores[0].free == 70_000
    assert vm.power_state == "poweredOff"
    assert own_events(lab)[0] == "VmBeingCreatedEvent"
    assert own_events(lab)[-1] == "VmCreatedEvent"
    await vm_life.power_on(lab.world, vm)
    assert dict(vm.ovf_environment) == {"manager_url": "https://127.0.0.1:8444", "log_level": "info"}
    edit = vim.vApp.PropertySpec(operation="edit", info=vim.vApp.PropertyInfo(key=0, value="https://127.0.0.1:1"))
    spec = vim.vm.ConfigSpec(vAppConfig=vim.vApp.VmConfigSpec(property=[edit]))
    await lab.run(vm, "ReconfigVM_Task", spec=spec)
    assert vm.vapp_properties["manager_url"] == "https://127.0.0.1:1"
    assert vm.ovf_environment["manager_url"] == "https://127.0.0.1:8444", "a running guest sees the old values"
    await vm_life.power_off(lab.world, vm)
    await vm_life.power_on(lab.world, vm)
    assert vm.ovf_environment["manager_url"] == "https://127.0.0.1:1"


async def test_a_package_that_cannot_be_deployed_leaves_nothing(lab):
    before = dict(lab.world.objects)
    foreign = next(ds for ds in lab.built.hosts[1].datastores if ds is not lab.built.shared)
    await refused(deployment(lab, datastore=foreign), "InaccessibleDatastore")
    await refused(deployment(lab, network_map={}), "InvalidArgument")
    await refused(deployment(lab, deployment_option="huge"), "InvalidArgument")
    await refused(deployment(lab, name="vm-0000"), "DuplicateName")
    with lab.world.commit() as tx:
        tx.set(lab.built.hosts[0].datastores[0], free=10)
    await refused(deployment(lab), "NoDiskSpace")
    await host_life.disconnect(lab.world, lab.built.hosts[0])
    await refused(deployment(lab), "InvalidHostConnectionState")
    assert lab.world.objects == before


async def test_a_thousand_hosts_and_fifty_thousand_vms_are_built_whole():
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.vcenter.build import build_inventory

    world = World()
    built = build_inventory(world, hosts=1000, clusters=20, vms=50_000)
    assert len(built.vms) == 50_000
    assert built.vms[-1].read("config.hardware.device[4000].macAddress").startswith("00:50:56:")


async def test_a_new_vm_goes_where_its_switch_is(lab):
    dvs, (first, *_others) = lab.built.dvs, lab.built.hosts
    spec = vim.DistributedVirtualSwitch.CreateSpec(
        configSpec=vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(
            name="fabric", host=[vim.dvs.HostMember.ConfigSpec(operation="add", host=first.ref)]
        )
    )
    fabric = await lab.run(dvs.parent, "CreateDVS_Task", spec=spec)
    wanted = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name="blue", type="earlyBinding", numPorts=4)
    group = await lab.run(fabric, "CreateDVPortgroup_Task", spec=wanted)
    port = vim.dvs.PortConnection(switchUuid=fabric.read("uuid"), portgroupKey=group.moid)
    backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    card = vim.vm.device.VirtualDeviceSpec(operation="add", device=vim.vm.device.VirtualVmxnet3(backing=backing))
    for number in range(3):
        name = f"web-{number}"
        config = vim.vm.ConfigSpec(
            name=name, files=vim.vm.FileInfo(vmPathName="[nfs-shared]"), deviceChange=[card], numCPUs=1, memoryMB=64
        )
        folder = lab.built.vms[0].parent
        vm = await lab.run(folder, "CreateVM_Task", config=config, pool=lab.built.hosts[0].compute_resource.root_pool)
        assert vm.host is first
