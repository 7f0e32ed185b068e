"""What any vCenter must do for us, checked through our own client; the same checks run against ours and against vcsim.

A check takes a logged-in client whose inventory is complete, with three hosts in a cluster, four running VMs and a
distributed switch of which all hosts are members. It fails by any exception.
"""

import asyncio
import uuid
from pathlib import Path

import aiohttp
import pytest

from contrail_vsphere.model.errors import Conflict, ContrailVsphereError, NotFound
from contrail_vsphere.wire.soap.types import vim, vmodl
from contrail_vsphere.wire.soap.values import build

PC = vmodl.query.PropertyCollector
CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


async def settled(condition, seconds=2.5):
    """Wait for what an update stream should bring."""
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


def vms(client):
    return sorted(client.inventory.vms.values(), key=lambda vm: vm.name)


def hosts(client):
    return sorted(client.inventory.hosts.values(), key=lambda host: host.name)


def ref(kind, item):
    return kind(str(item.id))


def switch(client):
    (found,) = client.inventory.dvss.values()
    return vim.DistributedVirtualSwitch(str(found.id))


async def make_group(client, name, *, vlan=10):
    policy = build(vim.dvs.VmwareDistributedVirtualSwitch.VMwarePortgroupPolicy, vlanOverrideAllowed=True)
    for field in ("blockOverrideAllowed", "shapingOverrideAllowed", "livePortMovingAllowed"):
        setattr(policy, field, True)
    policy.vendorConfigOverrideAllowed = policy.portConfigResetAtDisconnect = True
    policy.uplinkTeamingOverrideAllowed = policy.securityPolicyOverrideAllowed = policy.ipfixOverrideAllowed = False
    spec = build(
        vim.dvs.DistributedVirtualPortgroup.ConfigSpec,
        name=name,
        type="earlyBinding",
        numPorts=8,
        description="made by a check",
        policy=policy,
        defaultPortConfig=_vlan(vlan),
    )
    await client.run_task(switch(client), "AddDVPortgroup_Task", spec=[spec])
    await settled(lambda: any(net.name == name for net in client.inventory.networks.values()))
    found = next(net for net in client.inventory.networks.values() if net.name == name)
    return vim.dvs.DistributedVirtualPortgroup(str(found.id))


def _vlan(number):
    kind = vim.dvs.VmwareDistributedVirtualSwitch
    return build(kind.VmwarePortConfigPolicy, vlan=build(kind.VlanIdSpec, vlanId=number, inherited=False))


async def add_card(client, vm, backing):
    card = build(vim.vm.device.VirtualVmxnet3, key=-1, backing=backing)
    change = build(vim.vm.device.VirtualDeviceSpec, operation="add", device=card)
    spec = build(vim.vm.ConfigSpec, deviceChange=[change])
    await client.run_task(ref(vim.VirtualMachine, vm), "ReconfigVM_Task", spec=spec)


async def connect_to_group(client, vm, group):
    uuid_ = (await client.read(switch(client), "uuid"))["uuid"]
    port = build(vim.dvs.PortConnection, switchUuid=uuid_, portgroupKey=group._moId)
    await add_card(client, vm, build(vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo, port=port))


async def events(client, kind):
    collector = await client.call(
        client.content.eventManager, "CreateCollectorForEvents", filter=build(vim.event.EventFilterSpec)
    )
    await client.call(collector, "RewindCollector")
    found = []
    while page := await client.call(collector, "ReadNextEvents", maxCount=100):
        found.extend(page)
    await client.call(collector, "DestroyCollector")
    return [event for event in found if isinstance(event, kind)]


# -- reading --------------------------------------------------------------------------------------------------------


@check
async def login_tells_the_release(client):
    assert client.about.apiType == "VirtualCenter"
    assert client.about.apiVersion == "8.0.3.0"


@check
async def the_inventory_is_whole(client):
    assert (len(vms(client)), len(hosts(client)), len(client.inventory.clusters)) == (4, 3, 1)
    for vm in vms(client):
        assert vm.host in client.inventory.hosts
        assert vm.power == "poweredOn"
        assert vm.nics[0].key == 4000
        assert vm.nics[0].mac.startswith("00:")


@check
async def answers_come_in_pages(client):
    view = await client.call(
        client.content.viewManager,
        "CreateContainerView",
        container=client.content.rootFolder,
        type=[vim.VirtualMachine],
        recursive=True,
    )
    step = build(PC.TraversalSpec, name="members", type=vim.view.ContainerView, path="view", skip=False)
    spec = build(
        PC.FilterSpec,
        propSet=[build(PC.PropertySpec, type=vim.VirtualMachine, pathSet=["name"])],
        objectSet=[build(PC.ObjectSpec, obj=view, skip=True, selectSet=[step])],
    )
    collector = client.content.propertyCollector
    options = build(PC.RetrieveOptions, maxObjects=3)
    first = await client.call(collector, "RetrievePropertiesEx", specSet=[spec], options=options)
    assert len(first.objects) == 3
    rest = await client.call(collector, "ContinueRetrievePropertiesEx", token=first.token)
    assert len(rest.objects) == 1
    assert rest.token is None


@check
async def an_unknown_property_faults_the_call(client):
    spec = build(
        PC.FilterSpec,
        propSet=[build(PC.PropertySpec, type=vim.VirtualMachine, pathSet=["no.such.path"])],
        objectSet=[build(PC.ObjectSpec, obj=ref(vim.VirtualMachine, vms(client)[0]), skip=False)],
    )
    with pytest.raises(ContrailVsphereError, match="InvalidProperty"):
        await client.call(
            client.content.propertyCollector, "RetrievePropertiesEx", specSet=[spec], options=build(PC.RetrieveOptions)
        )


@check
async def a_version_nobody_gave_is_refused(client):
    made = await client.call(client.content.propertyCollector, "CreatePropertyCollector")
    with pytest.raises(ContrailVsphereError, match="InvalidCollectorVersion"):
        await client.call(made, "WaitForUpdatesEx", version="4711", options=build(PC.WaitOptions, maxWaitSeconds=1))


@check
async def objects_are_found_by_uuid_and_path(client):
    vm = vms(client)[0]
    index = client.content.searchIndex
    found = await client.call(index, "FindByUuid", uuid=vm.instance_uuid, vmSearch=True, instanceUuid=True)
    assert found._moId == str(vm.id)
    found = await client.call(index, "FindByInventoryPath", inventoryPath=f"DC0/vm/{vm.name}")
    assert found._moId == str(vm.id)
    assert await client.call(index, "FindByUuid", uuid=str(uuid.uuid4()), vmSearch=True) is None


# -- updates --------------------------------------------------------------------------------------------------------


@check
async def power_is_followed(client):
    vm = vms(client)[0]
    await client.run_task(ref(vim.VirtualMachine, vm), "PowerOffVM_Task")
    await settled(lambda: client.inventory.vms[vm.id].power == "poweredOff")


@check
async def a_rename_is_followed(client):
    vm = vms(client)[0]
    await client.run_task(ref(vim.VirtualMachine, vm), "Rename_Task", newName="renamed")
    await settled(lambda: client.inventory.vms[vm.id].name == "renamed")


@check
async def a_new_card_is_followed(client):
    vm = vms(client)[0]
    backing = build(vim.vm.device.VirtualEthernetCard.NetworkBackingInfo, deviceName="VM Network")
    await add_card(client, vm, backing)
    await settled(lambda: len(client.inventory.vms[vm.id].nics) == 2)


@check
async def machines_come_and_go(client):
    pool = vim.ResourcePool(str(next(iter(client.inventory.clusters.values())).root_pool))
    folder = vim.Folder(str(next(iter(client.inventory.datacenters.values())).vm_folder))
    store = next(iter(client.inventory.datastores[key] for key in hosts(client)[0].datastores))
    files = build(vim.vm.FileInfo, vmPathName=f"[{store.name}]")
    spec = build(vim.vm.ConfigSpec, name="fresh", files=files, numCPUs=1, memoryMB=64, guestId="otherGuest")
    made = await client.run_task(
        folder, "CreateVM_Task", config=spec, pool=pool, host=ref(vim.HostSystem, hosts(client)[0])
    )
    await settled(lambda: any(str(key) == made._moId for key in client.inventory.vms))
    await client.run_task(made, "Destroy_Task")
    await settled(lambda: all(str(key) != made._moId for key in client.inventory.vms))


@check
async def a_relocation_is_followed(client):
    vm = vms(client)[0]
    other = next(host for host in hosts(client) if host.id != vm.host)
    spec = build(vim.vm.RelocateSpec, host=ref(vim.HostSystem, other))
    await client.run_task(ref(vim.VirtualMachine, vm), "RelocateVM_Task", spec=spec)
    await settled(lambda: client.inventory.vms[vm.id].host == other.id)


@check
async def machines_can_be_migrated(client):
    vm = vms(client)[0]
    other = next(host for host in hosts(client) if host.id != vm.host)
    await client.run_task(
        ref(vim.VirtualMachine, vm), "MigrateVM_Task", host=ref(vim.HostSystem, other), priority="defaultPriority"
    )
    await settled(lambda: client.inventory.vms[vm.id].host == other.id)


@check
async def maintenance_is_followed(client):
    host = hosts(client)[0]
    await client.run_task(ref(vim.HostSystem, host), "EnterMaintenanceMode_Task", timeout=0)
    await settled(lambda: client.inventory.hosts[host.id].in_maintenance is True)


@check
async def a_new_host_enters_the_views(client):
    before = set(client.inventory.hosts)
    cluster = ref(vim.ClusterComputeResource, next(iter(client.inventory.clusters.values())))
    spec = build(vim.host.ConnectSpec, hostName="new-host", userName="root", password="x", force=True)
    await client.run_task(cluster, "AddHost_Task", spec=spec, asConnected=True)
    await settled(lambda: set(client.inventory.hosts) - before)


@check
async def a_new_host_is_told_of(client):
    cluster = ref(vim.ClusterComputeResource, next(iter(client.inventory.clusters.values())))
    spec = build(vim.host.ConnectSpec, hostName="new-host", userName="root", password="x", force=True)
    await client.run_task(cluster, "AddHost_Task", spec=spec, asConnected=True)
    assert any(event.host.name == "new-host" for event in await events(client, vim.event.HostAddedEvent))


# -- networks -------------------------------------------------------------------------------------------------------


@check
async def a_port_group_with_override_is_made(client):
    group = await make_group(client, "pg-a", vlan=42)
    config = (await client.read(group, "config"))["config"]
    assert config.policy.vlanOverrideAllowed is True
    assert config.defaultPortConfig.vlan.vlanId == 42
    assert config.key == group._moId


@check
async def a_port_group_has_a_config_version(client):
    group = await make_group(client, "pg-a")
    assert (await client.read(group, "config.configVersion"))["config.configVersion"]


@check
async def a_reconfiguration_leaves_the_rest_alone(client):
    group = await make_group(client, "pg-a", vlan=42)
    spec = build(vim.dvs.DistributedVirtualPortgroup.ConfigSpec, description="other")
    spec.configVersion = (await client.read(group, "config.configVersion")).get("config.configVersion")
    await client.run_task(group, "ReconfigureDVPortgroup_Task", spec=spec)
    config = (await client.read(group, "config"))["config"]
    assert (config.name, config.description, config.numPorts) == ("pg-a", "other", 8)
    assert config.defaultPortConfig.vlan.vlanId == 42


@check
async def a_stale_config_version_is_refused(client):
    group = await make_group(client, "pg-a")
    spec = build(vim.dvs.DistributedVirtualPortgroup.ConfigSpec, name="pg-a", numPorts=8, configVersion="999")
    with pytest.raises(Conflict):
        await client.run_task(group, "ReconfigureDVPortgroup_Task", spec=spec)


@check
async def a_card_gets_a_port(client):
    vm, group = vms(client)[0], await make_group(client, "pg-a")
    await connect_to_group(client, vm, group)
    await settled(lambda: len(client.inventory.vms[vm.id].nics) == 2)
    assert client.inventory.vms[vm.id].nics[1].port_key


@check
async def ports_have_keys_of_their_own_in_the_switch(client):
    groups = [await make_group(client, name) for name in ("pg-a", "pg-b")]
    keys = []
    for group in groups:
        criteria = build(vim.dvs.PortCriteria, portgroupKey=[group._moId], inside=True)
        keys.extend(port.key for port in await client.call(switch(client), "FetchDVPorts", criteria=criteria))
    assert len(keys) == 16
    assert len(set(keys)) == 16


@check
async def a_port_gets_a_vlan_of_its_own(client):
    group = await make_group(client, "pg-a")
    criteria = build(vim.dvs.PortCriteria, portgroupKey=[group._moId], inside=True)
    port = (await client.call(switch(client), "FetchDVPorts", criteria=criteria))[0]
    spec = build(vim.dvs.DistributedVirtualPort.ConfigSpec, operation="edit", key=port.key, setting=_vlan(77))
    await client.run_task(switch(client), "ReconfigureDVPort_Task", port=[spec])
    again = build(vim.dvs.PortCriteria, portKey=[port.key])
    (changed,) = await client.call(switch(client), "FetchDVPorts", criteria=again)
    assert changed.config.setting.vlan.vlanId == 77
    assert changed.config.configVersion != port.config.configVersion


@check
async def a_switch_is_made_with_its_hosts(client):
    member = build(vim.dvs.HostMember.ConfigSpec, operation="add", host=ref(vim.HostSystem, hosts(client)[0]))
    kind = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec
    spec = build(vim.DistributedVirtualSwitch.CreateSpec, configSpec=build(kind, name="dvs-new", host=[member]))
    folder = vim.Folder(str(next(iter(client.inventory.datacenters.values())).network_folder))
    made = await client.run_task(folder, "CreateDVS_Task", spec=spec)
    members = (await client.read(made, "summary.hostMember")).get("summary.hostMember") or []
    assert [item._moId for item in members] == [str(hosts(client)[0].id)]


# -- events, extensions, sessions -----------------------------------------------------------------------------------


@check
async def events_are_read_exactly_once(client):
    spec = build(vim.event.EventFilterSpec)
    collector = await client.call(client.content.eventManager, "CreateCollectorForEvents", filter=spec)
    for vm in vms(client):
        await client.run_task(ref(vim.VirtualMachine, vm), "PowerOffVM_Task")
    await client.call(collector, "RewindCollector")
    keys, offs = [], []
    while page := await client.call(collector, "ReadNextEvents", maxCount=7):
        assert len(page) <= 7
        keys.extend(event.key for event in page)
        offs.extend(event.vm.vm._moId for event in page if isinstance(event, vim.event.VmPoweredOffEvent))
    assert len(keys) == len(set(keys))
    assert sorted(offs) == sorted(str(vm.id) for vm in vms(client))
    await client.run_task(ref(vim.VirtualMachine, vms(client)[0]), "PowerOnVM_Task")
    later = await client.call(collector, "ReadNextEvents", maxCount=100)
    assert not {event.key for event in later} & set(keys)
    assert any(isinstance(event, vim.event.VmPoweredOnEvent | vim.event.DrsVmPoweredOnEvent) for event in later)


@check
async def a_move_tells_where_from_and_where_to(client):
    vm = vms(client)[0]
    other = next(host for host in hosts(client) if host.id != vm.host)
    spec = build(vim.vm.RelocateSpec, host=ref(vim.HostSystem, other))
    await client.run_task(ref(vim.VirtualMachine, vm), "RelocateVM_Task", spec=spec)
    (event,) = await events(client, vim.event.VmMigratedEvent)
    assert event.host.host._moId == str(other.id)
    assert event.sourceHost.host._moId == str(vm.host)


@check
async def a_failed_change_is_no_event(client):
    card = build(vim.vm.device.VirtualVmxnet3, key=9999)
    change = build(vim.vm.device.VirtualDeviceSpec, operation="edit", device=card)
    spec = build(vim.vm.ConfigSpec, deviceChange=[change])
    before = len(await events(client, vim.event.VmReconfiguredEvent))
    with pytest.raises(ContrailVsphereError):
        await client.run_task(ref(vim.VirtualMachine, vms(client)[0]), "ReconfigVM_Task", spec=spec)
    assert len(await events(client, vim.event.VmReconfiguredEvent)) == before


@check
async def extensions_are_registered_and_go(client):
    manager, key = client.content.extensionManager, "net.example.check"
    label = build(vim.Description, label="Check", summary="Check")
    now = await client.call(vim.ServiceInstance("ServiceInstance"), "CurrentTime")
    extension = build(vim.Extension, key=key, description=label, version="1.0", lastHeartbeatTime=now)
    await client.call(manager, "RegisterExtension", extension=extension)
    assert (await client.call(manager, "FindExtension", extensionKey=key)).version == "1.0"
    extension.version = "1.1"
    await client.call(manager, "UpdateExtension", extension=extension)
    listed = (await client.read(manager, "extensionList"))["extensionList"]
    assert [item.version for item in listed if item.key == key] == ["1.1"]
    await client.call(manager, "UnregisterExtension", extensionKey=key)
    assert await client.call(manager, "FindExtension", extensionKey=key) is None


@check
async def the_own_session_is_known_and_active(client):
    manager = client.content.sessionManager
    session = (await client.read(manager, "currentSession"))["currentSession"]
    assert await client.call(manager, "SessionIsActive", sessionID=session.key, userName=session.userName) is True
    assert await client.call(manager, "AcquireCloneTicket")


@check
async def what_is_gone_is_not_found(client):
    vm = ref(vim.VirtualMachine, vms(client)[0])
    await client.run_task(vm, "PowerOffVM_Task")
    await client.run_task(vm, "Destroy_Task")
    with pytest.raises(NotFound):
        await client.call(vm, "PowerOnVM_Task")


# -- OVF ------------------------------------------------------------------------------------------------------------

OVF = Path(__file__).parent / "little.ovf"


@check
async def a_package_is_uploaded_through_a_lease(client):
    cluster = next(iter(client.inventory.clusters.values()))
    pool = vim.ResourcePool(str(cluster.root_pool))
    network = next(net for net in client.inventory.networks.values() if net.name == "VM Network")
    mapping = build(vim.OvfManager.NetworkMapping, name="data", network=vim.Network(str(network.id)))
    parameters = build(
        vim.OvfManager.CreateImportSpecParams, entityName="imported", networkMapping=[mapping], diskProvisioning="thin"
    )
    made = await client.call(
        client.content.ovfManager,
        "CreateImportSpec",
        ovfDescriptor=OVF.read_text(),
        resourcePool=pool,
        datastore=vim.Datastore(str(hosts(client)[0].datastores[0])),
        cisp=parameters,
    )
    assert not made.error
    folder = vim.Folder(str(next(iter(client.inventory.datacenters.values())).vm_folder))
    lease = await client.call(
        pool, "ImportVApp", spec=made.importSpec, folder=folder, host=ref(vim.HostSystem, hosts(client)[0])
    )
    for _ in range(100):
        if (await client.read(lease, "state"))["state"] != "initializing":
            break
        await asyncio.sleep(0.05)
    info = (await client.read(lease, "info"))["info"]
    urls = {url.importKey: url.url for url in info.deviceUrl}
    data = bytes(3000)
    async with aiohttp.ClientSession() as http:
        for item in made.fileItem:
            address = urls[item.deviceId].replace("*", client.endpoint.host)
            async with http.post(address, data=data, ssl=client.session.transport.endpoint.context()) as answer:
                assert answer.status in (200, 201)
    await client.call(lease, "HttpNfcLeaseProgress", percent=50)
    await client.call(lease, "HttpNfcLeaseComplete")
    await settled(lambda: any(vm.name == "imported" for vm in client.inventory.vms.values()))
    assert str(next(vm.id for vm in client.inventory.vms.values() if vm.name == "imported")) == info.entity._moId
