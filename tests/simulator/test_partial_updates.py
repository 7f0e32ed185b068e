"""With partial updates a change names what changed; without, the property that was asked for."""

import pytest
from foreign import connect, run
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
