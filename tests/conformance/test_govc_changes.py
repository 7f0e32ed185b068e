"""Every command of govc that changes something: what it says, and what is true of the world afterwards."""

from pathlib import Path

import pytest

from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.wire.soap.types import vim

OVF = Path(__file__).parent / "little.ovf"
POOL = "/DC0/host/C0/Resources"
ON_SHARED = ("-ds", "nfs-shared", "-pool", POOL)


def posted(vcenter, kind):
    return [item.event for _, item in vcenter.events.between(0, vcenter.events.end) if type(item.event) is kind]


@pytest.fixture
async def group(vcenter, govc):
    await govc("dvs.portgroup.add", "-dvs", "dvs0", "-type", "earlyBinding", "-nports", "8", "pg1")
    host_members = vcenter.scenario.find(DistributedVirtualSwitch, "dvs0").hosts
    assert host_members
    return vcenter.scenario.find(DistributedVirtualPortgroup, "pg1")


# -- switches -------------------------------------------------------------------------------------------------------


async def test_a_switch_is_made_and_hosts_join_it(vcenter, govc):
    await govc("dvs.create", "-mtu", "9000", "dvs1")
    switch = vcenter.scenario.find(DistributedVirtualSwitch, "dvs1")
    assert switch.read("config.maxMtu") == 9000
    assert not switch.hosts
    await govc("dvs.add", "-dvs", "dvs1", "-pnic", "vmnic1", "/DC0/host/C0/esx-00")
    assert [host.name for host in switch.hosts] == ["esx-00"]
    assert posted(vcenter, vim.event.DvsCreatedEvent)[-1].dvs.name == "dvs1"
    assert posted(vcenter, vim.event.DvsHostJoinedEvent)[-1].hostJoined.name == "esx-00"
    again = await govc("dvs.create", "dvs1", code=1)
    assert "already exists" in again.err


async def test_a_port_group_is_made_changed_and_described(vcenter, govc, group):
    assert group.read("config").numPorts == 8
    said = await govc("dvs.portgroup.info", "-json", "-pg", "pg1", "dvs0")
    assert len(said.json["port"]) == 8
    before = group.read("config").configVersion
    await govc("dvs.portgroup.change", "-vlan", "77", "-nports", "16", "pg1")
    config = group.read("config")
    assert config.numPorts == 16
    assert config.defaultPortConfig.vlan.vlanId == 77
    assert config.name == "pg1"
    assert int(config.configVersion) == int(before) + 1
    ports = (await govc("dvs.portgroup.info", "-json", "-pg", "pg1", "dvs0")).json["port"]
    assert len(ports) == 16
    assert {port["config"]["setting"]["vlan"]["vlanId"] for port in ports} == {77}
    assert len({port["key"] for port in ports}) == 16


# -- hosts ----------------------------------------------------------------------------------------------------------


async def test_clusters_and_hosts_are_added(vcenter, govc):
    await govc("cluster.create", "C9")
    cluster = vcenter.scenario.find(ClusterComputeResource, "C9")
    login = ("-username", "root", "-password", "x", "-noverify")
    await govc("cluster.add", "-cluster", "C9", "-hostname", "esx-90", *login)
    assert [host.name for host in cluster.hosts] == ["esx-90"]
    await govc("host.add", "-hostname", "alone", *login)
    assert vcenter.scenario.host("alone").parent.wsdl == "ComputeResource"
    assert {event.host.name for event in posted(vcenter, vim.event.HostAddedEvent)} >= {"esx-90", "alone"}
    assert "/DC0/host/C9/esx-90" in (await govc("find", "/", "-type", "h")).lines


async def test_maintenance_mode_evacuates_and_is_left_again(vcenter, govc):
    host = vcenter.scenario.host("esx-01")
    assert host.vms
    await govc("host.maintenance.enter", "esx-01")
    assert host.in_maintenance
    assert not [vm for vm in host.vms if vm.power_state == "poweredOn"]
    await govc("host.maintenance.exit", "esx-01")
    assert not host.in_maintenance
    assert len(posted(vcenter, vim.event.EnteredMaintenanceModeEvent)) == 1
    assert len(posted(vcenter, vim.event.ExitMaintenanceModeEvent)) == 1


# -- virtual machines -----------------------------------------------------------------------------------------------


async def test_a_machine_lives_and_dies(vcenter, govc, group):
    host = "/DC0/host/C0/esx-00"
    await govc(
        "vm.create", "-m", "512", "-c", "2", "-on=false", "-net", "VM Network", *ON_SHARED[:2], "-host", host, "a"
    )
    vm = vcenter.scenario.vm("a")
    assert (vm.cpus, vm.memory_mb, vm.host.name, vm.power_state) == (2, 512, "esx-00", "poweredOff")
    await govc("vm.network.add", "-vm", "a", "-net", "pg1")
    assert [nic.network.name for nic in vm.nics] == ["VM Network", "pg1"]
    assert vm.nics[1].port_key
    await govc("vm.network.change", "-vm", "a", "-net", "pg1", "ethernet-0")
    assert [nic.network.name for nic in vm.nics] == ["pg1", "pg1"]
    assert vm.nics[0].port_key != vm.nics[1].port_key
    await govc("vm.power", "-on", "a")
    assert vm.power_state == "poweredOn"
    await govc("vm.migrate", "-host", "/DC0/host/C0/esx-02", "a")
    assert vm.host.name == "esx-02"
    moved = posted(vcenter, vim.event.VmMigratedEvent)[-1]
    assert (moved.sourceHost.name, moved.host.name) == ("esx-00", "esx-02")
    refused = await govc("vm.destroy", "no-such-vm", code=1)
    assert "not found" in refused.err
    await govc("vm.power", "-off", "a")
    assert vm.power_state == "poweredOff"
    await govc("vm.power", "-off", "a", code=1)
    await govc("vm.destroy", "a")
    assert vcenter.world.get(vm.moid) is None
    assert not group.vms
    assert [event.vm.name for event in posted(vcenter, vim.event.VmRemovedEvent)] == ["a"]


async def test_a_machine_with_a_disk_takes_space_and_is_cloned(vcenter, govc, group):
    store = vcenter.inventory["nfs-shared"]
    await govc("vm.create", "-on=false", "-net", "pg1", "-disk", "1GB", *ON_SHARED, "source")
    source = vcenter.scenario.vm("source")
    assert source.disks[0].capacity == 1 << 30
    await govc("vm.clone", "-vm", "source", "-on=false", *ON_SHARED, "copy")
    copy = vcenter.scenario.vm("copy")
    assert copy.instance_uuid != source.instance_uuid
    assert copy.nics[0].mac != source.nics[0].mac
    assert copy.nics[0].network is group
    assert copy.nics[0].port_key != source.nics[0].port_key
    assert copy in store.vms
    assert vcenter.calls["SearchDatastore_Task"] >= 1
    assert posted(vcenter, vim.event.VmClonedEvent)[-1].sourceVm.name == "source"
    await govc("vm.clone", "-vm", "source", "-on=false", *ON_SHARED, "copy", code=1)


async def test_a_machine_is_renamed_and_reconfigured(vcenter, govc):
    vm = vcenter.scenario.vm("vm-0000")
    await govc("object.rename", "vm/vm-0000", "web")
    assert vm.name == "web"
    await govc("vm.change", "-vm", "web", "-e", "guestinfo.role=web", "-annotation", "front")
    assert vm.extra_config["guestinfo.role"] == "web"
    assert vm.annotation == "front"


async def test_unregistered_files_are_registered_again(vcenter, govc):
    vm = vcenter.scenario.vm("vm-0002")
    store = vcenter.inventory["nfs-shared"]
    await govc("vm.power", "-off", "vm-0002")
    free, mac = store.free, vm.nics[0].mac
    await govc("vm.unregister", "vm-0002")
    assert vcenter.world.get(vm.moid) is None
    assert store.free == free
    assert "vm-0002.vmx" in (await govc("datastore.ls", "-ds", "nfs-shared", "vm-0002")).lines
    await govc("vm.register", *ON_SHARED, "-name", "again", "vm-0002/vm-0002.vmx")
    again = vcenter.scenario.vm("again")
    assert (again.instance_uuid, again.nics[0].mac) == (vm.instance_uuid, mac)
    assert again.moid != vm.moid
    assert store.free == free
    assert [event.vm.name for event in posted(vcenter, vim.event.VmRegisteredEvent)] == ["again"]
    missing = await govc("vm.register", *ON_SHARED, "nowhere/nowhere.vmx", code=1)
    assert "was not found" in missing.err


# -- history --------------------------------------------------------------------------------------------------------


async def test_events_and_tasks_are_listed(vcenter, govc):
    await govc("vm.power", "-off", "vm-0000")
    await govc("vm.power", "-on", "vm-0000")
    lines = (await govc("events", "-n", "50", "vm/vm-0000")).lines
    order = [lines.index(next(line for line in lines if f"powered {word}" in line)) for word in ("off", "on")]
    assert order == sorted(order)
    assert not any("vm-0001" in line for line in lines)
    tasks = (await govc("tasks")).lines
    assert sum("vm-0000" in line for line in tasks) >= 2
    assert all("success" in line for line in tasks[1:])


# -- OVF ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path):
    (tmp_path / "little.ovf").write_text(OVF.read_text())
    (tmp_path / "t.vmdk").write_bytes(bytes(65536))
    return tmp_path / "little.ovf"


async def test_an_ovf_package_is_imported(vcenter, govc, package):
    await govc("import.ovf", *ON_SHARED, "-net", "VM Network", "-name", "imported", package)
    vm = vcenter.scenario.vm("imported")
    assert (vm.cpus, vm.memory_mb) == (2, 512)
    assert [nic.network.name for nic in vm.nics] == ["VM Network"]
    assert vm.disks[0].capacity == 16 << 20
    assert vm.disks[0].written == 65536
    assert vm.ovf_transport == ("com.vmware.guestInfo",)
    assert vm.vapp_property_info[0].id == "hostname"
    for method in ("CreateImportSpec", "ImportVApp", "HttpNfcLeaseComplete"):
        assert vcenter.calls[method] == 1
    taken = await govc("import.ovf", *ON_SHARED, "-net", "VM Network", "-name", "imported", package, code=1)
    assert "already exists" in taken.err


async def test_a_broken_package_is_refused_with_its_reason(vcenter, govc, package):
    package.write_text(package.read_text().replace('diskId="disk1"', 'diskId="other"'))
    said = await govc("import.ovf", *ON_SHARED, "-name", "broken", package, code=1)
    assert "disk" in said.err
    assert vcenter.calls["ImportVApp"] == 0


async def test_an_upload_that_fails_leaves_no_machine(vcenter, govc, package):
    (package.parent / "t.vmdk").unlink()
    await govc("import.ovf", *ON_SHARED, "-name", "half", package, code=1)
    assert vcenter.calls["HttpNfcLeaseAbort"] == 1
    assert "half" not in vcenter.inventory


# -- access ---------------------------------------------------------------------------------------------------------


async def test_roles_and_permissions_decide_what_a_user_may_do(vcenter, govc):
    vcenter.world.service(Accounts).add(Account("op@vsphere.local", "secret", by_permissions=True))
    as_op = {"GOVC_USERNAME": "op@vsphere.local", "GOVC_PASSWORD": "secret"}
    refused = await govc("vm.power", "-off", "vm-0000", code=1, **as_op)
    assert "specify a datacenter" in refused.err  # it sees none
    await govc("role.create", "operator", "VirtualMachine.Interact.PowerOff", "VirtualMachine.Interact.PowerOn")
    await govc("permissions.set", "-principal", "op@vsphere.local", "-role", "operator", "/DC0/vm/vm-0000")
    await govc("vm.power", "-off", "vm-0000", **as_op)
    assert vcenter.scenario.vm("vm-0000").power_state == "poweredOff"
    await govc("vm.power", "-off", "vm-0001", code=1, **as_op)
    await govc("permissions.set", "-principal", "op@vsphere.local", "-role", "operator", "/DC0")
    await govc("vm.power", "-off", "vm-0001", **as_op)
    await govc("vm.destroy", "vm-0001", code=1, **as_op)
    listed = (await govc("permissions.ls", "/DC0")).out
    assert "VSPHERE.LOCAL\\op" in listed
    await govc("role.remove", "operator", code=1)
    await govc("role.remove", "-force", "operator")
    await govc("vm.power", "-on", "vm-0001", code=1, **as_op)
    unknown = await govc("permissions.set", "-principal", "nobody@vsphere.local", "-role", "ReadOnly", "/DC0", code=1)
    assert "no user" in unknown.err


async def test_custom_fields_are_defined_and_set(vcenter, govc):
    await govc("fields.add", "owner")
    await govc("fields.set", "owner", "team-a", "vm/vm-0000")
    assert "team-a" in (await govc("fields.info", "vm/vm-0000")).out
    await govc("fields.rename", "owner", "tenant")
    assert "tenant" in (await govc("fields.ls")).out
    await govc("fields.rm", "tenant")
    assert vcenter.scenario.vm("vm-0000").read("customValue") == []
