"""Who may do what: one function decides, every operation and property read goes through it.

Today there are three kinds of callers: nobody, users (with all privileges or with a given set) and extensions, which
have all. Roles on objects can replace the body of ``allowed`` without anybody else noticing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build

ANONYMOUS = "System.Anonymous"
VIEW = "System.View"
IMPLIED_BY = {"EAM.View": "EAM.Modify"}
BASIC = frozenset({ANONYMOUS, VIEW, "System.Read"})


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the simulated vCenter. ``privileges`` None means all; System.* are always included."""

    name: str
    password: str = field(repr=False)
    full_name: str = ""
    privileges: frozenset[str] | None = None


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


def _key(name: str) -> str:
    domain, separator, user = name.lower().partition("\\")
    return f"{user}@{domain}" if separator else name.lower()


def allowed(call: Call, privilege: str, entity: Entity | None) -> bool:
    """Whether the caller holds the privilege on the object."""
    if privilege == ANONYMOUS:
        return True
    if call.session is None:
        return False
    if call.session.extension or privilege in BASIC:
        return True
    account = call.world.service(Accounts).find(call.user)
    if account is None or account.privileges is None:
        return account is not None
    return privilege in account.privileges or IMPLIED_BY.get(privilege) in account.privileges


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
