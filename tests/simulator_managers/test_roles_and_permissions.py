"""Roles and permissions as an administrator keeps them, and what they let others do."""

import pytest
from foreign import connect, run
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts

OPERATOR = "VSPHERE.LOCAL\\op"
POWER = "VirtualMachine.Interact.PowerOff"


@pytest.fixture
def accounts(vcenter):
    vcenter.world.service(Accounts).add(
        Account("op@vsphere.local", "secret", by_permissions=True, groups=("VSPHERE.LOCAL\\Operators",))
    )
    return vcenter


def permission(role, *, principal=OPERATOR, group=False, propagate=True):
    return vim.AuthorizationManager.Permission(principal=principal, group=group, roleId=role, propagate=propagate)


async def test_a_role_is_made_changed_granted_and_removed(accounts):
    def work():
        content = connect(accounts.ready).content
        manager = content.authorizationManager
        assert POWER in {item.privId for item in manager.privilegeList}
        assert {"System", "VirtualMachine.Interact"} <= {item.key for item in manager.description.privilegeGroup}
        role = manager.AddRole("operators", [POWER])
        assert POWER in next(item for item in manager.roleList if item.roleId == role).privilege
        with pytest.raises(vim.fault.AlreadyExists):
            manager.AddRole("operators", [])
        with pytest.raises(vmodl.fault.InvalidArgument):
            manager.AddRole("others", ["No.Such"])
        manager.UpdateRole(role, "power users", [POWER, "VirtualMachine.Interact.PowerOn"])
        assert next(item for item in manager.roleList if item.roleId == role).name == "power users"

        folder = content.rootFolder.childEntity[0].vmFolder
        manager.SetEntityPermissions(folder, [permission(role)])
        assert [item.principal for item in manager.RetrieveEntityPermissions(folder, False)] == [OPERATOR]
        vm = folder.childEntity[0]
        inherited = manager.RetrieveEntityPermissions(vm, True)
        assert {(item.principal, item.entity._moId) for item in inherited} >= {(OPERATOR, folder._moId)}
        assert not manager.RetrieveEntityPermissions(vm, False)
        assert [item.entity for item in manager.RetrieveRolePermissions(role)] == [folder]
        assert OPERATOR in {item.principal for item in manager.RetrieveAllPermissions()}
        with pytest.raises(vim.fault.UserNotFound):
            manager.SetEntityPermissions(folder, [permission(role, principal="VSPHERE.LOCAL\\nobody")])
        with pytest.raises(vim.fault.RemoveFailed):
            manager.RemoveRole(role, True)
        manager.ResetEntityPermissions(folder, [permission(role, principal="VSPHERE.LOCAL\\Operators", group=True)])
        assert [(item.principal, item.group) for item in manager.RetrieveEntityPermissions(folder, False)] == [
            ("VSPHERE.LOCAL\\Operators", True)
        ]
        manager.RemoveEntityPermission(folder, "VSPHERE.LOCAL\\Operators", True)
        with pytest.raises(vim.fault.NotFound):
            manager.RemoveEntityPermission(folder, "VSPHERE.LOCAL\\Operators", True)
        manager.RemoveRole(role, True)
        with pytest.raises(vim.fault.NotFound):
            manager.RetrieveRolePermissions(role)
        with pytest.raises(vim.fault.AuthMinimumAdminPermission):
            manager.ResetEntityPermissions(content.rootFolder, [])

    await run(work)
    told = [type(item.event).__name__.rpartition(".")[2] for item in accounts.events._events]
    assert [name for name in told if name.startswith(("Role", "Permission"))] == [
        "RoleAddedEvent",
        "RoleUpdatedEvent",
        "PermissionAddedEvent",
        "PermissionAddedEvent",
        "PermissionRemovedEvent",
        "PermissionRemovedEvent",
        "RoleRemovedEvent",
    ]


async def test_permissions_decide_what_an_operator_may_do(accounts):
    def work():
        content = connect(accounts.ready).content
        manager = content.authorizationManager
        role = manager.AddRole("power", [POWER])
        vms = content.rootFolder.childEntity[0].vmFolder.childEntity
        manager.SetEntityPermissions(vms[0], [permission(role)])

        service = connect(accounts.ready, "op@vsphere.local", "secret")
        mine = vim.VirtualMachine(vms[0]._moId, service._stub)
        WaitForTask(mine.PowerOff())
        with pytest.raises(vim.fault.NoPermission) as refused:
            mine.PowerOn()
        assert refused.value.privilegeId == "VirtualMachine.Interact.PowerOn"
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            vim.VirtualMachine("vm-99999", service._stub).PowerOff()
        with pytest.raises(vim.fault.NoPermission):
            vim.VirtualMachine(vms[1]._moId, service._stub).PowerOff()

        session = service.content.sessionManager.currentSession.key
        asked = [POWER, "VirtualMachine.Interact.PowerOn"]
        answers = manager.HasPrivilegeOnEntities([vms[0], vms[1]], session, asked)
        assert [[item.isGranted for item in answer.privAvailability] for answer in answers] == [
            [True, False],
            [False, False],
        ]
        assert manager.HasPrivilegeOnEntity(vms[0], session, asked) == [True, False]
        by_name = manager.HasUserPrivilegeOnEntities([vms[0]], "op@vsphere.local", asked)
        assert [item.isGranted for item in by_name[0].privAvailability] == [True, False]
        held = manager.FetchUserPrivilegeOnEntities([vms[0], vms[1]], "op@vsphere.local")
        assert POWER in held[0].privileges
        assert POWER not in held[1].privileges
        with pytest.raises(vim.fault.UserNotFound):
            manager.FetchUserPrivilegeOnEntities([vms[0]], "nobody@vsphere.local")
        with pytest.raises(vmodl.fault.InvalidArgument):
            manager.HasPrivilegeOnEntities([vms[0]], "no-session", asked)
        manager.RemoveEntityPermission(vms[0], OPERATOR, False)
        with pytest.raises(vim.fault.NoPermission):
            mine.PowerOff()

    await run(work)


async def test_who_may_not_change_permissions_changes_none(accounts):
    def work():
        content = connect(accounts.ready).content
        role = content.authorizationManager.AddRole("readers", [])
        vm = content.rootFolder.childEntity[0].vmFolder.childEntity[0]
        content.authorizationManager.SetEntityPermissions(content.rootFolder, [permission(role)])
        manager = connect(accounts.ready, "op@vsphere.local", "secret").content.authorizationManager
        for change in (
            lambda: manager.AddRole("mine", []),
            lambda: manager.RemoveRole(role, False),
            lambda: manager.SetEntityPermissions(vm, [permission(role)]),
            lambda: manager.FetchUserPrivilegeOnEntities([vm], "op@vsphere.local"),
        ):
            with pytest.raises(vim.fault.NoPermission):
                change()

    await run(work)
