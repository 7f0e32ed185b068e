"""A session and what lives in it: views, property collectors, filters and history collectors die with their session."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from contrail_vsphere.simulator.core.entity import Entity

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.calls import Call

S = TypeVar("S", bound="SessionObject")


class Part(Protocol):
    """What a managed object that all sessions share keeps of each of them."""

    def end(self) -> None:
        """The session is over."""
        ...


P = TypeVar("P", bound=Part)


@dataclass(slots=True, eq=False, kw_only=True)
class SessionObject(Entity):
    """A managed object that belongs to one session; it is in no inventory and no journal tells of its coming."""

    prefix: ClassVar[str] = ""
    session: Session = field(repr=False)

    def close(self) -> None:
        """The object goes: stop observing whatever it observed."""


@dataclass(slots=True, eq=False, kw_only=True)
class Session:
    """One login. ``key`` is the secret of the cookie and is never shown in logs."""

    key: str = field(repr=False)
    user: str
    full_name: str
    extension: bool
    login_time: datetime
    last_active: datetime
    locale: str = "en_US"
    address: str = ""
    agent: str = ""
    calls: int = 0
    open_calls: int = 0
    """Being served now; a session that waits for updates is not idle."""
    over: bool = False
    objects: dict[str, SessionObject] = field(default_factory=dict, repr=False)
    parts: dict[type, Any] = field(default_factory=dict, repr=False)

    def new_id(self, prefix: str) -> str:
        """Such objects are called ``session[session key]unique``; the key is replaced here, being a secret."""
        return f"session[{uuid.uuid5(uuid.NAMESPACE_OID, self.key)}]{prefix}{uuid.uuid4()}"

    def add(self, made: S) -> S:
        """Keep an object for the life of the session."""
        self.objects[made.moid] = made
        return made

    def drop(self, gone: SessionObject) -> None:
        """Close an object before its session ends."""
        if self.objects.pop(gone.moid, None) is not None:
            gone.close()

    def part(self, kind: type[P]) -> P:
        """The session's own one of that kind; made when it is first asked for."""
        found: P = self.parts[kind] if kind in self.parts else self.parts.setdefault(kind, kind())
        return found

    def end(self) -> None:
        """Close everything."""
        self.over = True
        for part in self.parts.values():
            part.end()
        while self.objects:
            self.objects.popitem()[1].close()


def session_of(call: Call) -> Session:
    """The caller's session; operations that need one are only reached with one."""
    if call.session is None:
        raise RuntimeError(f"{call.method} was dispatched without a session")
    return call.session
