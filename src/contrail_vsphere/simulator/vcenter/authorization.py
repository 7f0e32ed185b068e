"""Who may do what: one function decides, every operation and property read goes through it.

Callers are nobody, extensions (they have all privileges), and users: with all privileges, with a given set everywhere,
or with what the permissions on the object and above it grant. Which objects the last kind sees at all is in ``sight``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build

ANONYMOUS = "System.Anonymous"
VIEW = "System.View"
IMPLIED_BY = {"EAM.View": "EAM.Modify"}
BASIC = frozenset({ANONYMOUS, VIEW, "System.Read"})
ADMINISTRATORS = "VSPHERE.LOCAL\\Administrators"
"""The group that has the administrator's role on the root folder from the start."""

DESTROY: Mapping[str, str] = MappingProxyType(
    {
        "ClusterComputeResource": "Host.Inventory.DeleteCluster",
        "ComputeResource": "Host.Inventory.RemoveHostFromCluster",
        "Datacenter": "Datacenter.Delete",
        "Datastore": "Datastore.Delete",
        "DistributedVirtualPortgroup": "DVPortgroup.Delete",
        "Folder": "Folder.Delete",
        "HostSystem": "Host.Inventory.RemoveHostFromCluster",
        "Network": "Network.Delete",
        "ResourcePool": "Resource.DeletePool",
        "VirtualMachine": "VirtualMachine.Inventory.Delete",
        "VmwareDistributedVirtualSwitch": "DVSwitch.Delete",
    }
)
"""What Destroy_Task needs: one method of all inventory objects, with a privilege per type."""
RENAME: Mapping[str, str] = MappingProxyType(
    {
        "ClusterComputeResource": "Host.Inventory.RenameCluster",
        "Datacenter": "Datacenter.Rename",
        "Datastore": "Datastore.Rename",
        "DistributedVirtualPortgroup": "DVPortgroup.Modify",
        "Folder": "Folder.Rename",
        "Network": "Network.Config",
        "ResourcePool": "Resource.RenamePool",
        "VirtualMachine": "VirtualMachine.Config.Rename",
        "VmwareDistributedVirtualSwitch": "DVSwitch.Modify",
    }
)

BY_TYPE: Mapping[str, Mapping[str, str]] = MappingProxyType({"Destroy_Task": DESTROY, "Rename_Task": RENAME})
"""Methods that all inventory objects share and whose privilege depends on the object's type."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the simulated vCenter. ``privileges`` None means all; System.* are always included."""

    name: str
    password: str = field(repr=False)
    full_name: str = ""
    privileges: frozenset[str] | None = None
    by_permissions: bool = False
    """Not all privileges, but those that permissions for it or its groups grant on the object."""
    groups: tuple[str, ...] = ()
    """As permissions name them: ``VSPHERE.LOCAL\\Operators``."""


class Accounts:
    """The users, by lower-case name in the form ``user@domain``; Windows' form of it is understood too."""

    def __init__(self, *accounts: Account) -> None:
        self._accounts = {_key(account.name): account for account in accounts}

    def add(self, account: Account) -> None:
        """Add or replace a user."""
        self._accounts[_key(account.name)] = account

    def find(self, name: str) -> Account | None:
        """The user of that name, in either form."""
        return self._accounts.get(_key(name))

    def has_group(self, name: str) -> bool:
        """Whether there is a group of that name: vCenter's own, or one that some user is in."""
        known = {group.lower() for account in self._accounts.values() for group in account.groups}
        return name.lower() in known | {ADMINISTRATORS.lower()}


def _key(name: str) -> str:
    domain, separator, user = name.lower().partition("\\")
    return f"{user}@{domain}" if separator else name.lower()


def allowed(call: Call, privilege: str, entity: Entity | None) -> bool:
    """Whether the caller holds the privilege on the object."""
    if privilege == ANONYMOUS:
        return True
    if call.session is None:
        return False
    if call.session.extension:
        return True
    account = call.world.service(Accounts).find(call.user)
    if privilege in BASIC and (account is None or not account.by_permissions or entity is None):
        return True
    if account is None:
        return False
    if privilege in BASIC and entity is not None:
        from contrail_vsphere.simulator.vcenter import sight

        return sight.sees(account, entity)
    if account.privileges is None and not account.by_permissions:
        return True
    held = account.privileges
    if held is None:
        from contrail_vsphere.simulator.vcenter.authorization_manager import AuthorizationManager

        manager = AuthorizationManager.of(call.world)
        held = manager.privileges(account, entity) if manager is not None else frozenset()
    return privilege in held or IMPLIED_BY.get(privilege) in held


def check(call: Call, privilege: str, entity: Entity | None) -> None:
    """Raise NotAuthenticated or NoPermission unless the caller may."""
    if allowed(call, privilege, entity):
        return
    kind = vim.fault.NotAuthenticated if call.session is None else vim.fault.NoPermission
    message = (
        "The session is not authenticated."
        if call.session is None
        else f"Permission to perform this operation was denied ({privilege})."
    )
    raise SoapFault(build(kind, object=entity, privilegeId=privilege), message)
