"""Search, list views, guests, fault tolerance and what one may ask of hosts, datastores and distributed switches."""

import pytest
from foreign import connect, run, spec_of, updates
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl


def place_of(content):
    return content.rootFolder.childEntity[0]


async def test_hosts_and_machines_are_found_by_what_they_are_called(vcenter):
    vm = vcenter.scenario.vm("vm-0000")
    with vcenter.world.commit() as tx:
        tx.set(vm, guest_ip="10.5.0.9", guest_hostname="web.example")
    host = vm.host

    def work():
        content = connect(vcenter.ready).content
        index, place = content.searchIndex, place_of(content)
        assert index.FindByIp(None, "10.5.0.9", True)._moId == vm.moid
        assert [found._moId for found in index.FindAllByIp(None, "10.5.0.9", True)] == [vm.moid]
        assert index.FindByIp(None, host.address, False)._moId == host.moid
        assert index.FindByIp(None, "not an address", True) is None
        assert index.FindByDnsName(place, "WEB.example", True)._moId == vm.moid
        assert [found._moId for found in index.FindAllByDnsName(place, host.name, False)] == [host.moid]
        assert index.FindByUuid(None, vm.bios_uuid.upper(), True, False)._moId == vm.moid
        assert index.FindByUuid(None, vm.instance_uuid, True, True)._moId == vm.moid
        assert index.FindByUuid(None, vm.instance_uuid, True, False) is None
        assert index.FindByUuid(None, host.uuid, False)._moId == host.moid
        assert index.FindByDatastorePath(place, vm.vmx)._moId == vm.moid
        assert index.FindChild(place.vmFolder, "vm-0000")._moId == vm.moid
        assert index.FindChild(place.vmFolder, "nothing") is None
        assert index.FindByInventoryPath("/DC0/host/C0/" + host.name)._moId == host.moid

    await run(work)


async def test_a_list_view_holds_what_it_was_given_and_filters_follow_it(vcenter):
    def work():
        content = connect(vcenter.ready).content
        one, two, three = place_of(content).vmFolder.childEntity
        ghost = vim.VirtualMachine("vm-99999", one._stub)
        view = content.viewManager.CreateListView([one])
        content.propertyCollector.CreateFilter(spec_of(view, kind=vim.VirtualMachine, paths=["name"]), False)
        version = updates(content.propertyCollector, "").version
        assert [item._moId for item in view.ModifyListView([two, ghost], [one])] == ["vm-99999"]
        update = updates(content.propertyCollector, version)
        kinds = {item.obj._moId: item.kind for item in update.filterSet[0].objectSet}
        assert kinds == {one._moId: "leave", two._moId: "enter"}
        view.ResetListView([one, three])
        assert {item._moId for item in view.view} == {one._moId, three._moId}
        other = content.viewManager.CreateListViewFromView(view)
        view.ResetListView([])
        assert len(other.view) == 2
        assert view.view == []
        view.ResetListViewFromView(other)
        assert len(view.view) == 2
        update = updates(content.propertyCollector, update.version)
        assert {item.obj._moId for item in update.filterSet[0].objectSet if item.kind == "enter"} == {
            one._moId,
            three._moId,
        }
        other.DestroyView()
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            view.ResetListViewFromView(other)

    await run(work)


async def test_guests_are_asked_and_fault_tolerance_is_refused(vcenter):
    with vcenter.world.commit() as tx:
        tx.set(vcenter.scenario.vm("vm-0000"), tools_running=True)
        tx.set(vcenter.scenario.vm("vm-0002"), tools_running=True)
        tx.set(vcenter.scenario.vm("vm-0001"), tools_running=False)

    def work():
        service = connect(vcenter.ready)
        content = service.content
        vm, other, third = place_of(content).vmFolder.childEntity
        with pytest.raises(vim.fault.ToolsUnavailable):
            other.RebootGuest()
        third.RebootGuest()
        vm.ShutdownGuest()
        for _ in range(200):  # the guest takes its time
            if vm.runtime.powerState == "poweredOff":
                break
            service.CurrentTime()
        assert vm.runtime.powerState == "poweredOff"
        with pytest.raises(vim.fault.InvalidPowerState):
            vm.ShutdownGuest()
        (reason,) = [item.reason for item in vm.QueryFaultToleranceCompatibility()][:1]
        assert reason == "missingFTLoggingNic"
        with pytest.raises(vim.fault.VmFaultToleranceConfigIssue):
            WaitForTask(vm.CreateSecondaryEx(None, None))
        place = place_of(content)
        WaitForTask(place.PowerOnVm([vm]))
        assert vm.runtime.powerState == "poweredOn"

    await run(work)


async def test_what_a_distributed_switch_can_do_is_asked(vcenter):
    def work():
        content = connect(vcenter.ready).content
        manager, place = content.dvSwitchManager, place_of(content)
        dvs = next(item for item in place.networkFolder.childEntity if isinstance(item, vim.DistributedVirtualSwitch))
        group = dvs.portgroup[0]
        assert manager.QueryDvsByUuid(dvs.uuid) == dvs
        assert manager.LookupPortgroup(dvs.uuid, group.key) == group
        assert dvs.LookupPortgroup(group.key) == group
        with pytest.raises(vim.fault.NotFound):
            dvs.LookupPortgroup("dvportgroup-99999")
        versions = [item.version for item in manager.QuerySupportedSwitchSpec(None)]
        assert dvs.config.productInfo.version in versions
        assert manager.QueryFeatureCapability(dvs.config.productInfo) is not None
        cluster = place.hostFolder.childEntity[0]
        assert set(manager.QueryCompatibleHostForNewDvs(cluster, True, None)) == set(cluster.host)
        assert manager.QueryCompatibleHostForExistingDvs(cluster, True, dvs) == []
        assert dvs.config.networkResourceManagementEnabled is False
        dvs.EnableNetworkResourceManagement(True)
        assert dvs.config.networkResourceManagementEnabled is True
        assert dvs.QueryUsedVlanIdInDvs() == []
        for each in (dvs, group, place, cluster, cluster.host[0], cluster.resourcePool, place.vmFolder):
            each.Reload()
        WaitForTask(dvs.UpdateHealthCheckConfig(dvs.config.healthCheckConfig))

    await run(work)


async def test_hosts_and_datastores_answer(vcenter):
    def work():
        content = connect(vcenter.ready).content
        place = place_of(content)
        cluster = place.hostFolder.childEntity[0]
        assert cluster.GetResourceUsage().memCapacityMB > 0
        images = cluster.host[0].configManager.imageConfigManager
        assert images is None or images.QueryHostAcceptanceLevel()
        network = cluster.host[0].configManager.networkSystem
        network.Refresh()
        assert {hint.device for hint in network.QueryNetworkHint(None)} >= {"vmnic0"}
        with pytest.raises(vim.fault.NotFound):
            network.QueryNetworkHint(["vmnic99"])
        network.AddVirtualSwitch("vSwitch7", vim.host.VirtualSwitch.Specification(numPorts=64))
        spec = vim.host.PortGroup.Specification(
            name="backup", vlanId=12, vswitchName="vSwitch7", policy=vim.host.NetworkPolicy()
        )
        network.AddPortGroup(spec)
        with pytest.raises(vim.fault.AlreadyExists):
            network.AddPortGroup(spec)
        assert "backup" in {item.name for item in cluster.host[0].network}
        assert "backup" not in {item.name for item in cluster.host[1].network}
        spec.vlanId = 13
        network.UpdatePortGroup("backup", spec)
        shown = {item.spec.name: item.spec.vlanId for item in network.networkInfo.portgroup}
        assert shown["backup"] == 13
        with pytest.raises(vmodl.fault.InvalidArgument):
            spec.vlanId = 5000
            network.UpdatePortGroup("backup", spec)
        network.UpdateVirtualSwitch("vSwitch7", vim.host.VirtualSwitch.Specification(numPorts=64, mtu=9000))
        assert {item.name: item.mtu for item in network.networkInfo.vswitch}["vSwitch7"] == 9000
        network.RemovePortGroup("backup")
        network.RemoveVirtualSwitch("vSwitch7")
        with pytest.raises(vim.fault.NotFound):
            network.RemoveVirtualSwitch("vSwitch7")
        shared = next(item for item in place.datastore if item.name == "nfs-shared")
        found = shared.browser.SearchSubFolders("[nfs-shared]", vim.host.DatastoreBrowser.SearchSpec())
        WaitForTask(found)
        assert any(item.folderPath.startswith("[nfs-shared] vm-0000") for item in found.info.result)

    await run(work)


async def test_files_of_an_unknown_machine_are_found_and_registered(vcenter):
    path = await vcenter.scenario.leave_files("restored")

    def work():
        content = connect(vcenter.ready).content
        place = place_of(content)
        cluster = place.hostFolder.childEntity[0]
        shared = next(item for item in place.datastore if item.name == "nfs-shared")
        found = shared.browser.SearchSubFolders("[nfs-shared]", vim.host.DatastoreBrowser.SearchSpec())
        WaitForTask(found)
        files = {item.folderPath + entry.path for item in found.info.result for entry in item.file}
        assert path in files
        task = place.vmFolder.RegisterVm(path, "back", False, cluster.resourcePool, None)
        WaitForTask(task)
        assert task.info.result.name == "back"
        WaitForTask(task.info.result.PowerOn())
        again = place.vmFolder.RegisterVm(path, "twice", False, cluster.resourcePool, None)
        with pytest.raises(vim.fault.AlreadyExists):
            WaitForTask(again)

    await run(work)
