"""Which inventory objects a user sees: those on which it has System.View, and what lies above them.

vCenter hides the others: they are in no view, no search finds them, no traversal reaches them, and calls on them are
denied. What lies above an object that somebody may see must be there too, or the way to it would be missing; there it
has no more than the name. Lists of references inside properties (``vm`` of a host) are not cut down here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.vcenter import authorization
from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.session import Session
    from contrail_vsphere.simulator.core.world import World

Sees = Callable[[Entity], bool]


def _everything(_entity: Entity) -> bool:
    return True


def sight(world: World, session: Session | None) -> Sees:
    """How the session's user sees objects, as permissions are now; users who have no permissions to ask see all."""
    account = _restricted(world, session)
    return _everything if account is None else lambda entity: sees(account, entity)


def restricted(world: World, session: Session | None) -> bool:
    """Whether anything may be hidden from the session."""
    return _restricted(world, session) is not None


def _restricted(world: World, session: Session | None) -> Account | None:
    if session is None or session.extension or Accounts not in world.services:
        return None
    account: Account | None = world.service(Accounts).find(session.user)
    return account if account is not None and account.by_permissions and account.privileges is None else None


def sees(account: Account, entity: Entity) -> bool:
    """Whether the user sees an object. Objects outside the inventory are nobody's secret; a snapshot is its VM's."""
    from contrail_vsphere.simulator.vcenter.authorization_manager import AuthorizationManager

    owner: Any = entity if isinstance(entity, ManagedEntity) else getattr(entity, "vm", None)
    manager = AuthorizationManager.of(entity.world)
    if not isinstance(owner, ManagedEntity) or manager is None:
        return True
    if authorization.VIEW in manager.privileges(account, owner):
        return True
    return owner.moid in manager.leading_to(account)
