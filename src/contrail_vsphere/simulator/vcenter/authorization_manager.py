"""AuthorizationManager: roles and permissions as clients see and change them; ``authorization`` asks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter import authorization
from contrail_vsphere.simulator.vcenter.authorization import ADMINISTRATORS, VIEW, Account, Accounts
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, found
from contrail_vsphere.simulator.vcenter.roles import (
    ADMINISTRATOR,
    SYSTEM,
    Permission,
    Role,
    all_privileges,
    chains,
    principal,
    privileges_on,
    system_roles,
)
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World

MOID = "AuthorizationManager"
CHANGE_PERMISSIONS = "Authorization.ModifyPermissions"


@dataclass(slots=True, eq=False, kw_only=True)
class AuthorizationManager(Entity):
    """Roles by id; permissions by the object they are defined on. Administrators have the root folder at first."""

    wsdl: ClassVar[str] = "AuthorizationManager"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"roles": ("roleList",)}

    roles: Mapping[int, Role] = field(default_factory=lambda: dict(system_roles()), repr=False)
    granted: Mapping[str, tuple[Permission, ...]] = field(
        default_factory=lambda: {"group-d1": (Permission(ADMINISTRATORS, ADMINISTRATOR, group=True),)}
    )
    last_role: int = 0

    @classmethod
    def of(cls, world: World) -> AuthorizationManager | None:
        """The world's own, when it has one."""
        manager = world.get(MOID)
        return manager if isinstance(manager, cls) else None

    # -- for the simulator --------------------------------------------------------------------------------------

    def privileges(self, account: Account, entity: Entity | None) -> frozenset[str]:
        """What the account holds on an object; objects outside the inventory count as the root folder."""
        if account.privileges is not None:
            return account.privileges
        if not account.by_permissions:
            return frozenset(all_privileges())
        target = entity if isinstance(entity, ManagedEntity) else self.world.get("group-d1")
        if target is None:
            return frozenset()
        names = frozenset({principal(account.name).lower(), account.name.lower(), *map(str.lower, account.groups)})
        return privileges_on(target, names, roles=self.roles, granted=self.granted)

    def leading_to(self, account: Account) -> set[str]:
        """Ids of what lies above the objects on which the account has a permission that lets it see them."""
        found: set[str] = set()
        for moid in self.granted:
            entity = self.world.get(moid)
            if isinstance(entity, ManagedEntity) and VIEW in self.privileges(account, entity):
                found.update(above.moid for chain in chains(entity) for above in chain)
        return found

    # -- properties ---------------------------------------------------------------------------------------------

    @managed_property("privilegeList")
    def _privilege_list(self) -> list[Any]:
        return [
            data_object(
                vim.AuthorizationManager.Privilege,
                privId=name,
                onParent=False,
                name=name.rpartition(".")[2],
                privGroupName=name.rpartition(".")[0],
            )
            for name in all_privileges()
        ]

    @managed_property("roleList")
    def _role_list(self) -> list[Any]:
        return [role.value() for role in self.roles.values()]

    @managed_property("description")
    def _description(self) -> Any:
        groups = sorted({name.rpartition(".")[0] for name in all_privileges()})
        return data_object(
            vim.AuthorizationDescription,
            privilege=[_element(name) for name in all_privileges()],
            privilegeGroup=[_element(name) for name in groups],
        )

    # -- roles --------------------------------------------------------------------------------------------------

    @operation("AddAuthorizationRole")
    def add_role(self, call: Call, name: str, privIds: list[str] | None = None) -> int:
        """The new role's id; the System privileges are always in it."""
        self._check_name(name)
        role = Role(self.last_role + 1, name, self._checked(privIds))
        with self.world.commit(call.user) as tx:
            tx.set(self, roles={**self.roles, role.id: role}, last_role=role.id)
            self._tell(tx, vim.event.RoleAddedEvent, role=role.argument(), privilegeList=sorted(role.privileges))
        return role.id

    @operation("UpdateAuthorizationRole")
    def update_role(self, call: Call, roleId: int, newName: str, privIds: list[str] | None = None) -> None:
        """Name and privileges are replaced."""
        old = self._own_role(roleId)
        if newName != old.name:
            self._check_name(newName)
        role = Role(roleId, newName, self._checked(privIds))
        with self.world.commit(call.user) as tx:
            tx.set(self, roles={**self.roles, roleId: role})
            self._tell(tx, vim.event.RoleUpdatedEvent, role=role.argument(), privilegeList=sorted(role.privileges))

    @operation("RemoveAuthorizationRole")
    def remove_role(self, call: Call, roleId: int, failIfUsed: bool) -> None:
        """Permissions with the role go with it, unless that is to be an error."""
        role = self._own_role(roleId)
        users = [moid for moid, items in self.granted.items() if any(item.role == roleId for item in items)]
        if users and failIfUsed:
            raise fault(vim.fault.RemoveFailed, f"Role {role.name} is in use.")
        with self.world.commit(call.user) as tx:
            for moid in users:
                entity = self.world.get(moid)
                if isinstance(entity, ManagedEntity):
                    self._define(tx, entity, tuple(item for item in self.granted[moid] if item.role != roleId))
            tx.set(self, roles={number: item for number, item in self.roles.items() if number != roleId})
            self._tell(tx, vim.event.RoleRemovedEvent, role=role.argument())

    # -- permissions --------------------------------------------------------------------------------------------

    @operation("RetrieveAllPermissions")
    def retrieve_all(self, call: Call) -> list[Any]:
        return [
            item.value(entity)
            for moid in self.granted
            if (entity := self.world.get(moid))
            for item in self.granted[moid]
        ]

    @operation("RetrieveRolePermissions")
    def retrieve_role(self, call: Call, roleId: int) -> list[Any]:
        if roleId not in self.roles:
            raise fault(vim.fault.NotFound, f"There is no role {roleId}.")
        return [item for item in self.retrieve_all(call) if item.roleId == roleId]

    @operation("RetrieveEntityPermissions", privilege="System.View")
    def retrieve_entity(self, call: Call, entity: Any, inherited: bool) -> list[Any]:
        """Those defined on the object, and with ``inherited`` those that reach it from above."""
        target = found(self, entity, ManagedEntity)
        seen: dict[tuple[str, bool], Any] = {}
        for above in (target, *target.ancestors()) if inherited else (target,):
            for item in self.granted.get(above.moid, ()):
                if above is target or item.propagate:
                    seen.setdefault(item.key, item.value(above))
        return list(seen.values())

    @operation("SetEntityPermissions", privilege=authorization.VIEW)
    def set_entity(self, call: Call, entity: Any, permission: list[Any] | None = None) -> None:
        """Adds these permissions, or replaces those of the same principals."""
        target = self._changeable(call, entity)
        new = {item.key: item for item in self._read(permission)}
        kept = {item.key: item for item in self.granted.get(target.moid, ())}
        self._replace(call, target, tuple({**kept, **new}.values()))

    @operation("ResetEntityPermissions", privilege=authorization.VIEW)
    def reset_entity(self, call: Call, entity: Any, permission: list[Any] | None = None) -> None:
        """Replaces all permissions of the object."""
        target = self._changeable(call, entity)
        self._replace(call, target, tuple(self._read(permission)))

    @operation("RemoveEntityPermission", privilege=authorization.VIEW)
    def remove_entity(self, call: Call, entity: Any, user: str, isGroup: bool) -> None:
        """NotFound when the object has none for that principal."""
        target = self._changeable(call, entity)
        key = (user.lower(), bool(isGroup))
        before = self.granted.get(target.moid, ())
        left = tuple(item for item in before if item.key != key)
        if len(left) == len(before):
            raise fault(vim.fault.NotFound, f"There is no permission for {user}.")
        self._replace(call, target, left)

    # -- questions ----------------------------------------------------------------------------------------------

    @operation("HasPrivilegeOnEntities")
    def has_on_entities(
        self, call: Call, entity: list[Any], sessionId: str, privId: list[str] | None = None
    ) -> list[Any]:
        """For the user of a session."""
        from contrail_vsphere.simulator.vcenter.session_manager import SessionManager

        session = self.world.service(SessionManager).sessions.get(sessionId)
        if session is None:
            raise fault(vmodl.fault.InvalidArgument, "There is no such session.", invalidProperty="sessionId")
        account = Account(session.user, "") if session.extension else self._account(session.user)
        return self._answers(entity, account, privId or [])

    @operation("HasPrivilegeOnEntity")
    def has_on_entity(self, call: Call, entity: Any, sessionId: str, privId: list[str] | None = None) -> list[bool]:
        """The old form, for one object."""
        (answer,) = self.has_on_entities(call, [entity], sessionId, privId)
        return [bool(item.isGranted) for item in answer.privAvailability]

    @operation("HasUserPrivilegeOnEntities", privilege=CHANGE_PERMISSIONS)
    def has_user_on_entities(
        self, call: Call, entities: list[Any], userName: str, privId: list[str] | None = None
    ) -> list[Any]:
        """For a user, logged in or not."""
        return self._answers(entities, self._account(userName), privId or [])

    @operation("FetchUserPrivilegeOnEntities", privilege=CHANGE_PERMISSIONS)
    def fetch_user(self, call: Call, entities: list[Any], userName: str) -> list[Any]:
        """All privileges of a user on these objects."""
        account = self._account(userName)
        targets = [found(self, ref, ManagedEntity) for ref in entities]
        return [
            data_object(
                vim.AuthorizationManager.UserPrivilegeResult,
                entity=target,
                privileges=sorted(self.privileges(account, target)),
            )
            for target in targets
        ]

    def _answers(self, references: list[Any], account: Account, names: list[str]) -> list[Any]:
        answers = []
        for reference in references:
            target = found(self, reference, ManagedEntity)
            held = self.privileges(account, target)
            availability = [
                data_object(vim.AuthorizationManager.PrivilegeAvailability, privId=name, isGranted=name in held)
                for name in names
            ]
            answers.append(
                data_object(vim.AuthorizationManager.EntityPrivilege, entity=target, privAvailability=availability)
            )
        return answers

    # -- inside -------------------------------------------------------------------------------------------------

    def _account(self, name: str) -> Account:
        account: Account | None = self.world.service(Accounts).find(name)
        if account is None:
            raise fault(vim.fault.UserNotFound, f"There is no user {name}.", principal=name, unresolved=True)
        return account

    def _changeable(self, call: Call, entity: Any) -> ManagedEntity:
        target = found(self, entity, ManagedEntity)
        authorization.check(call, CHANGE_PERMISSIONS, target)
        return target

    def _read(self, permissions: list[Any] | None) -> Iterator[Permission]:
        accounts: Accounts = self.world.service(Accounts)
        for item in permissions or ():
            if item.roleId not in self.roles:
                raise fault(vim.fault.NotFound, f"There is no role {item.roleId}.")
            known = accounts.has_group(item.principal) if item.group else accounts.find(item.principal) is not None
            if not known:
                message = f"There is no user or group {item.principal}."
                raise fault(vim.fault.UserNotFound, message, principal=item.principal, unresolved=True)
            name = item.principal if item.group else principal(item.principal)
            yield Permission(name, item.roleId, group=bool(item.group), propagate=bool(item.propagate))

    def _replace(self, call: Call, target: ManagedEntity, items: tuple[Permission, ...]) -> None:
        after = {**self.granted, target.moid: items}
        if not any(item.role == ADMINISTRATOR and item.propagate for item in after.get("group-d1", ())):
            raise fault(vim.fault.AuthMinimumAdminPermission, "Somebody must remain the administrator.")
        with self.world.commit(call.user) as tx:
            self._define(tx, target, items)

    def _define(self, tx: Transaction, target: ManagedEntity, items: tuple[Permission, ...]) -> None:
        """Inside a commit: these and no others are defined on the object; tells of each that came, changed or went."""
        before = {item.key: item for item in self.granted.get(target.moid, ())}
        after = {item.key: item for item in items}
        where = data_object(vim.event.ManagedEntityEventArgument, name=target.name, entity=target)
        for key, item in after.items():
            if before.get(key) == item:
                continue
            cls = vim.event.PermissionUpdatedEvent if key in before else vim.event.PermissionAddedEvent
            role = self.roles[item.role].argument()
            self._tell(
                tx, cls, entity=where, principal=item.principal, group=item.group, role=role, propagate=item.propagate
            )
        for key in before.keys() - after.keys():
            gone = before[key]
            self._tell(tx, vim.event.PermissionRemovedEvent, entity=where, principal=gone.principal, group=gone.group)
        tx.set(self, granted={**self.granted, target.moid: items})
        tx.touch(target, "permission")

    @staticmethod
    def _tell(tx: Transaction, cls: Any, **fields: Any) -> None:
        words = cls.__name__.rpartition(".")[2].removesuffix("Event")
        tx.event(data_object(cls, userName="", fullFormattedMessage=words, **fields))

    def _own_role(self, number: int) -> Role:
        if number not in self.roles:
            raise fault(vim.fault.NotFound, f"There is no role {number}.")
        if number < 0:
            raise fault(vmodl.fault.InvalidArgument, "A system role cannot be changed.", invalidProperty="roleId")
        return self.roles[number]

    def _check_name(self, name: str) -> None:
        if not name:
            raise fault(vim.fault.InvalidName, "A role needs a name.", name=name)
        if any(role.name == name for role in self.roles.values()):
            raise fault(vim.fault.AlreadyExists, f"There is a role {name}.", name=name)

    @staticmethod
    def _checked(names: list[str] | None) -> frozenset[str]:
        unknown = set(names or ()) - set(all_privileges())
        if unknown:
            message = f"There is no privilege {min(unknown)}."
            raise fault(vmodl.fault.InvalidArgument, message, invalidProperty="privIds")
        return frozenset(names or ()) | frozenset(SYSTEM)


def _element(name: str) -> Any:
    return data_object(vim.ElementDescription, key=name, label=name, summary=name)
