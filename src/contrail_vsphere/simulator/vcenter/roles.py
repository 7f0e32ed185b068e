"""Roles, permissions, and what they come to: which privileges a user holds on an object.

A permission gives a user or group a role on an object and, when it propagates, on everything below. The nearest
permission along a chain of parents wins; a virtual machine has two chains (folder and resource pool), and what either
grants it holds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.vcenter.authorization import DESTROY, RENAME
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import managed_class, vim

SYSTEM = ("System.Anonymous", "System.View", "System.Read")
"""In every role that users make."""
ADMINISTRATOR, READ_ONLY, VIEW_ONLY, ANONYMOUS, NO_ACCESS = -1, -2, -3, -4, -5

NOT_IN_METADATA = frozenset(
    {
        "Network.Assign",
        "Datastore.AllocateSpace",
        "Datastore.Browse",
        "Datacenter.IpPoolConfig",
        "EAM.View",
        "EAM.Modify",
        "EAM.Config",
        "Extension.Register",
        "Extension.Update",
        "Extension.Unregister",
        "Global.SetCustomField",
        "Global.Settings",
        "Resource.AssignVMToPool",
        "VApp.Import",
        "VirtualMachine.Config.AddExistingDisk",
        "VirtualMachine.Config.AddNewDisk",
        "VirtualMachine.Config.AddRemoveDevice",
        "VirtualMachine.Config.AdvancedConfig",
        "VirtualMachine.Config.EditDevice",
        "VirtualMachine.Config.Rename",
        "VirtualMachine.Config.Settings",
        "VirtualMachine.Inventory.Create",
        "VirtualMachine.Inventory.CreateFromExisting",
        "VirtualMachine.Inventory.Register",
        "VirtualMachine.Inventory.Unregister",
    }
)
"""Privileges that vCenter checks inside its methods, so that no method's metadata names them."""


@functools.lru_cache(maxsize=1)
def all_privileges() -> tuple[str, ...]:
    """Every privilege there is: what the API's methods name, what the simulator asks for, and the known others."""
    names = set(SYSTEM) | NOT_IN_METADATA | set(DESTROY.values()) | set(RENAME.values())
    waiting: list[type[Entity]] = list(Entity.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        names.update(operation.privilege for operation in kind.operations.values() if operation.privilege)
        names.update(_of_methods(kind.wsdl, kind.namespace))
    return tuple(sorted(names))


def _of_methods(wsdl: str, namespace: str) -> Iterator[str]:
    kind: Any = managed_class(wsdl, namespace)
    for base in kind.__mro__:
        for info in vars(base).get("_methodInfo", {}).values():
            if isinstance(base, type) and issubclass(base, VmomiSupport.ManagedObject) and info.privId:
                yield str(info.privId)


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of privileges; negative ids are vCenter's own and cannot be changed."""

    id: int
    name: str
    privileges: frozenset[str]
    label: str = ""

    def value(self) -> Any:
        """AuthorizationRole."""
        info = data_object(vim.Description, label=self.label or self.name, summary=self.label or self.name)
        return data_object(
            vim.AuthorizationManager.Role,
            roleId=self.id,
            system=self.id < 0,
            name=self.name,
            info=info,
            privilege=sorted(self.privileges),
        )

    def argument(self) -> Any:
        """How events name it."""
        return data_object(vim.event.RoleEventArgument, roleId=self.id, name=self.name)


@dataclass(frozen=True, slots=True)
class Permission:
    r"""A role for a principal (``DOMAIN\user`` or ``DOMAIN\group``) on an object."""

    principal: str
    role: int
    group: bool = False
    propagate: bool = True

    @property
    def key(self) -> tuple[str, bool]:
        """One permission per principal and object."""
        return self.principal.lower(), self.group

    def value(self, entity: Entity) -> Any:
        """AuthorizationManager.Permission."""
        return data_object(
            vim.AuthorizationManager.Permission,
            entity=entity,
            principal=self.principal,
            group=self.group,
            roleId=self.role,
            propagate=self.propagate,
        )


Granted = Mapping[str, tuple[Permission, ...]]
"""Object id -> permissions defined on it."""


def system_roles() -> Mapping[int, Role]:
    """The roles that every vCenter has."""
    roles = (
        Role(NO_ACCESS, "NoAccess", frozenset(), "No access"),
        Role(ANONYMOUS, "Anonymous", frozenset(SYSTEM[:1]), "Anonymous"),
        Role(VIEW_ONLY, "View", frozenset(SYSTEM[:2]), "View"),
        Role(READ_ONLY, "ReadOnly", frozenset(SYSTEM), "Read-only"),
        Role(ADMINISTRATOR, "Admin", frozenset(all_privileges()), "Administrator"),
    )
    return MappingProxyType({role.id: role for role in roles})


def principal(name: str) -> str:
    r"""``user@vsphere.local`` as permissions write it: ``VSPHERE.LOCAL\user``."""
    user, separator, domain = name.partition("@")
    return f"{domain.upper()}\\{user}" if separator else name


def chains(entity: Entity) -> Iterator[Iterable[Entity]]:
    """The object with its parents, nearest first; a VM has a second chain, through its resource pool."""
    yield _chain(entity, getattr(entity, "parent", None))
    pool = getattr(entity, "resource_pool", None)
    if isinstance(pool, Entity):
        yield _chain(entity, pool)


def _chain(entity: Entity, above: Any) -> Iterator[Entity]:
    yield entity
    while isinstance(above, Entity):
        yield above
        above = getattr(above, "parent", None)


def privileges_on(
    entity: Entity, names: frozenset[str], *, roles: Mapping[int, Role], granted: Granted
) -> frozenset[str]:
    """What the user holds there. ``names``: the user's principal and those of its groups, in lower case.

    A permission for the user itself goes before those of its groups; those of several groups add up.
    """
    held: set[str] = set()
    for chain in chains(entity):
        for above in chain:
            here = [
                item
                for item in granted.get(above.moid, ())
                if item.principal.lower() in names and (item.propagate or above is entity)
            ]
            if here:
                own = [item for item in here if not item.group] or here
                held.update(*(roles[item.role].privileges for item in own))
                break
    return frozenset(held)
