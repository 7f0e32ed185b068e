"""Calls that few clients make: the older ways to remove a network and to take a snapshot, and the image of a host."""

import pytest
from foreign import connect, run
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl


@pytest.fixture
def vcenter_options():
    return {"hosts": 2, "vms": 2, "verify_fragments": True}


def parts(vcenter):
    content = connect(vcenter.ready).content
    place = content.rootFolder.childEntity[0]
    return content, place, place.vmFolder.childEntity[0], place.hostFolder.childEntity[0].host[0]


async def test_destroy_network_takes_an_unused_network_from_everywhere(vcenter):
    def work():
        _, place, vm, host = parts(vcenter)
        used = vm.network[0]
        with pytest.raises(vim.fault.ResourceInUse) as refused:
            used.DestroyNetwork()
        assert refused.value.name == used.name
        spare = next(item for item in place.network if not item.vm and type(item) is vim.Network)
        assert spare in host.network
        spare.DestroyNetwork()
        assert spare not in place.network
        assert spare not in host.network
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            spare.DestroyNetwork()

    await run(work)


async def test_destroy_network_on_a_port_group_is_its_destroy(vcenter):
    def work():
        _, place, _, _ = parts(vcenter)
        dvs = next(item for item in place.networkFolder.childEntity if isinstance(item, vim.DistributedVirtualSwitch))
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name="blue", type="earlyBinding", numPorts=4)
        WaitForTask(dvs.CreateDVPortgroup_Task(spec))
        group = next(item for item in dvs.portgroup if item.name == "blue")
        group.DestroyNetwork()
        assert "blue" not in [item.name for item in dvs.portgroup]
        assert dvs.config.numPorts == sum(item.config.numPorts for item in dvs.portgroup)

    await run(work)
    assert vcenter.events.of_type("DVPortgroupDestroyedEvent")


async def test_create_snapshot_ex_quiesces_where_it_says_how(vcenter):
    def work():
        _, _, vm, _ = parts(vcenter)
        spec = vim.vm.GuestQuiesceSpec(timeout=1)
        first = WaitForTask(vm.CreateSnapshotEx_Task("plain", "as it is", False, None)) and vm.snapshot.currentSnapshot
        assert vm.snapshot.rootSnapshotList[0].quiesced is False
        WaitForTask(vm.CreateSnapshotEx_Task("quiet", None, False, spec))
        (root,) = vm.snapshot.rootSnapshotList
        (child,) = root.childSnapshotList
        assert (root.name, root.description, root.snapshot) == ("plain", "as it is", first)
        assert (child.name, child.quiesced, child.snapshot) == ("quiet", True, vm.snapshot.currentSnapshot)

    await run(work)


async def test_the_acceptance_level_of_a_host_is_read_and_set(vcenter):
    def work():
        _, _, _, host = parts(vcenter)
        image = host.configManager.imageConfigManager
        before = image.HostImageConfigGetAcceptance()
        assert before == "partner"
        image.UpdateHostImageAcceptanceLevel("community")
        assert image.HostImageConfigGetAcceptance() == "community"
        with pytest.raises(vmodl.fault.InvalidArgument):
            image.UpdateHostImageAcceptanceLevel("anything")
        image.UpdateHostImageAcceptanceLevel(before)

    await run(work)


async def test_the_software_of_a_host_is_listed(vcenter):
    def work():
        _, _, _, host = parts(vcenter)
        packages = {item.name: item for item in host.configManager.imageConfigManager.FetchSoftwarePackages()}
        assert packages, "an ESXi has packages"
        for item in packages.values():
            assert item.version
            assert item.vendor
            assert item.acceptanceLevel in {"vmware_certified", "vmware_accepted", "partner", "community"}
        assert packages["esx-base"].version.startswith(host.summary.config.product.version)
        assert not packages["esx-base"].capability.liveInstallAllowed

    await run(work)
