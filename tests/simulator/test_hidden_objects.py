"""What a user without System.View on an object is told of it: nothing."""

import pytest
from foreign import connect, run
from pyVmomi import vim, vmodl

from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts

PC = vmodl.query.PropertyCollector


@pytest.fixture
def vcenter_options():
    return {"hosts": 2, "vms": 3, "verify_fragments": True, "guests": False}


def role(administrator, moid, name):
    """Grant a role on one object, and on what is below it."""
    content = administrator.content
    number = next(item.roleId for item in content.authorizationManager.roleList if item.name == name)
    permission = vim.AuthorizationManager.Permission(
        principal="VSPHERE.LOCAL\\op", group=False, roleId=number, propagate=True
    )
    target = vim.ManagedEntity(moid, administrator._stub)
    content.authorizationManager.SetEntityPermissions(target, [permission])


def names(content, kind):
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    try:
        return sorted(item.name for item in view.view)
    finally:
        view.Destroy()


async def test_views_searches_and_walks_leave_out_what_is_hidden(vcenter):
    vcenter.world.service(Accounts).add(Account("op@vsphere.local", "secret", by_permissions=True))
    one, other = vcenter.scenario.vm("vm-0000"), vcenter.scenario.vm("vm-0001")

    def work():
        root, service = connect(vcenter.ready), connect(vcenter.ready, "op@vsphere.local", "secret")
        role(root, one.moid, "ReadOnly")
        content = service.content
        assert names(content, vim.VirtualMachine) == ["vm-0000"]
        assert names(content, vim.HostSystem) == []
        assert "nfs-shared" not in names(content, vim.ManagedEntity)
        assert content.searchIndex.FindByUuid(None, one.instance_uuid, True, True)._moId == one.moid
        assert content.searchIndex.FindByUuid(None, other.instance_uuid, True, True) is None
        assert content.searchIndex.FindByInventoryPath("DC0/vm/vm-0000") is not None
        assert content.searchIndex.FindByInventoryPath("DC0/vm/vm-0001") is None
        hidden = vim.VirtualMachine(other.moid, service._stub)
        with pytest.raises((vim.fault.NoPermission, vmodl.fault.ManagedObjectNotFound)):
            _ = hidden.name
        with pytest.raises(vim.fault.NoPermission):
            hidden.PowerOff()
        folder = vim.Folder(one.parent.moid, service._stub)
        step = PC.TraversalSpec(name="c", type=vim.Folder, path="childEntity", skip=False)
        spec = PC.FilterSpec(
            propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])],
            objectSet=[PC.ObjectSpec(obj=folder, skip=True, selectSet=[step])],
        )
        found = content.propertyCollector.RetrieveContents([spec])
        assert [item.obj._moId for item in found] == [one.moid]

        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        step = PC.TraversalSpec(name="v", type=vim.view.ContainerView, path="view", skip=False)
        spec.objectSet = [PC.ObjectSpec(obj=view, skip=True, selectSet=[step])]
        content.propertyCollector.CreateFilter(spec, False)
        told = content.propertyCollector.WaitForUpdatesEx("")
        role(root, other.moid, "ReadOnly")
        role(root, one.moid, "NoAccess")
        told = content.propertyCollector.WaitForUpdatesEx(told.version, PC.WaitOptions(maxWaitSeconds=5))
        assert {(item.obj._moId, item.kind) for part in told.filterSet for item in part.objectSet} == {
            (other.moid, "enter"),
            (one.moid, "leave"),
        }

    await run(work)
    assert not vcenter.world.defects
