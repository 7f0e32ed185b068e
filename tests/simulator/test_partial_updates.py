"""With partial updates a change names what changed; without, the property that was asked for."""

import pytest
from foreign import connect, run
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

PC = vmodl.query.PropertyCollector


@pytest.fixture
def vcenter_options():
    return {"hosts": 2, "vms": 1, "verify_fragments": True, "guests": False}


def told(service, version, count):
    """Names and values of the next update of each filter."""
    update = service.content.propertyCollector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=5))
    assert len(update.filterSet) == count
    found = {part.filter._moId: part.objectSet for part in update.filterSet}
    return update.version, {
        key: {change.name: change.val for item in items for change in item.changeSet} for key, items in found.items()
    }


async def test_nested_changes_are_named(vcenter):
    def work():
        service = connect(vcenter.ready)
        content = service.content
        vm = content.searchIndex.FindByInventoryPath("DC0/vm/vm-0000")
        spec = PC.FilterSpec(
            propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime", "config.hardware", "name"])],
            objectSet=[PC.ObjectSpec(obj=vm)],
        )
        whole = content.propertyCollector.CreateFilter(spec, False)._moId
        partial = content.propertyCollector.CreateFilter(spec, True)._moId
        version, first = told(service, "", 2)
        assert first[whole].keys() == first[partial].keys() == {"runtime", "config.hardware", "name"}
        task = vm.PowerOff()
        seen_whole, seen_partial = {}, {}
        while seen_partial.get("runtime.powerState") != "poweredOff":
            version, news = told(service, version, 2)
            seen_whole |= news[whole]
            seen_partial |= news[partial]
        assert set(seen_whole) <= {"runtime", "config.hardware"}
        assert seen_whole["runtime"].powerState == "poweredOff"
        assert "runtime" not in seen_partial
        assert {"runtime.powerState", "runtime.bootTime"} <= set(seen_partial)
        assert seen_partial["runtime.bootTime"] is None
        assert set(seen_partial) - {name for name in seen_partial if name.startswith("runtime.")} <= {
            "config.hardware.device"
        }
        assert task.info.entity == vm

    await run(work)


def card(operation, key, network):
    backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network)
    device = vim.vm.device.VirtualVmxnet3(key=key, backing=backing)
    return vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation=operation, device=device)])


async def test_elements_of_arrays_are_named_by_their_keys(vcenter):
    def work():
        service = connect(vcenter.ready)
        content = service.content
        collector = content.propertyCollector.CreatePropertyCollector()
        vm = content.searchIndex.FindByInventoryPath("DC0/vm/vm-0000")
        paths = ["config.hardware.device", "config.extraConfig", "config.hardware.device[4001].macAddress"]
        spec = PC.FilterSpec(
            propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=paths)], objectSet=[PC.ObjectSpec(obj=vm)]
        )
        collector.CreateFilter(spec, True)
        version = collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=5)).version

        def told(change, at):
            """Name, operation and value of what a change brings, all of it."""
            WaitForTask(vm.Reconfigure(change))
            found, latest = [], at
            while update := collector.WaitForUpdatesEx(latest, PC.WaitOptions(maxWaitSeconds=0)):
                found += update.filterSet[0].objectSet[0].changeSet
                latest = update.version
            return latest, {(item.name, item.op): item.val for item in found}

        version, news = told(card("add", -1, "VM Network"), version)
        mac = news["config.hardware.device[4001].macAddress", "assign"]
        added = news["config.hardware.device[4001]", "add"]
        assert (added.macAddress, added.backing.deviceName) == (mac, "VM Network")
        controller = news["config.hardware.device[100]", "assign"]
        assert 4001 in controller.device
        assert len(news) == 3
        before = version
        version, news = told(card("edit", 4001, "mgmt"), version)
        assert news["config.hardware.device[4001]", "assign"].backing.deviceName == "mgmt"
        extra = vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key="guestinfo.a", value="1")])
        version, news = told(extra, version)
        assert [item.value for item in news["config.extraConfig", "assign"]] == ["1"], "there was none before"
        extra.extraConfig[0].value = "2"
        version, news = told(extra, version)
        assert news['config.extraConfig["guestinfo.a"]', "assign"].value == "2"
        version, news = told(card("remove", 4001, "mgmt"), version)
        assert news["config.hardware.device[4001]", "remove"] is None
        # Who comes back with an older version, because answers were lost, is told all of the array.
        _, news = told(vim.vm.ConfigSpec(annotation="x"), before)
        assert 4001 not in {device.key for device in news["config.hardware.device", "assign"]}
        assert 4000 in {device.key for device in news["config.hardware.device", "assign"]}

    await run(work)
