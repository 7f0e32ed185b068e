"""What every simulated managed object is: an id, state in slots, properties projected from it, operations.

State is set only through ``World.commit``. ``shows`` says in which property paths a state attribute can be seen, so
that a commit knows which clients to tell; a property is a function of the state, evaluated when somebody reads it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from contrail_vsphere.wire.soap.types import managed_class

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of the API that we serve: its name on the wire, the privilege it needs, how far it goes."""

    name: str
    privilege: str
    """Empty: what the API's own metadata says."""
    function: Callable[..., Any]
    note: str = ""
    """What it does not do, for the coverage page; empty when it is whole."""


def operation(name: str, *, privilege: str = "", note: str = "") -> Callable[[F], F]:
    """Serve a method of the API; ``privilege`` only where the API's metadata names none or the wrong one.

    The function takes ``(self, call, **parameters)`` with pyVmomi's parameter names, may be a coroutine function, and
    returns what the API returns (for ``*_Task`` a Task entity); it raises ``SoapFault``.
    """

    def mark(function: F) -> F:
        function.__dict__["_operation"] = Operation(name=name, privilege=privilege, function=function, note=note)
        return function

    return mark


def managed_property(path: str) -> Callable[[F], F]:
    """Serve a property. ``path`` is a whole property (``runtime``) or, for hot ones, a path in it (``runtime.host``).

    The function takes ``(self)`` and returns a pyVmomi value, a scalar, an Entity (it travels as a reference), a list
    of these, or None for unset.
    """

    def mark(function: F) -> F:
        function.__dict__["_managed_property"] = path
        return function

    return mark


@dataclass(slots=True, eq=False, kw_only=True)
class Entity:
    """Base of all simulated managed objects; subclasses are slots dataclasses too."""

    wsdl: ClassVar[str] = "ManagedEntity"
    """Type name on the wire."""
    namespace: ClassVar[str] = "urn:vim25"
    prefix: ClassVar[str] = "obj-"
    """Of new managed object ids, as vCenter numbers them (``vm-17``)."""
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """State attribute -> property paths in which it can be seen."""
    volatile: ClassVar[frozenset[str]] = frozenset()
    """Property paths that change without a commit (ages, counters); never served from a cache."""
    properties: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    operations: ClassVar[dict[str, Operation]] = {}

    world: World = field(repr=False)
    moid: str
    _ref: Any = field(default=None, init=False, repr=False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect what the class serves; what it inherits comes first and may be overridden.

        Runs twice per class (``slots=True`` makes a second one), with ``vars(cls)`` complete both times.
        """
        super(Entity, cls).__init_subclass__(**kwargs)
        properties: dict[str, Callable[[Any], Any]] = {}
        operations: dict[str, Operation] = {}
        shows: dict[str, tuple[str, ...]] = {}
        for base in reversed(cls.__mro__):
            shows.update(vars(base).get("shows", {}))
            for value in vars(base).values():
                marks = getattr(value, "__dict__", {})
                if "_managed_property" in marks:
                    properties[marks["_managed_property"]] = value
                if "_operation" in marks:
                    operations[marks["_operation"].name] = marks["_operation"]
        cls.properties, cls.operations, cls.shows = properties, operations, shows
        # dataclasses would write out every field, and with them half the world
        cls.__repr__ = Entity.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return f"<{self.wsdl} {self.moid} {getattr(self, 'name', '')!r}>"

    @property
    def ref(self) -> Any:
        """The pyVmomi reference to this object (without a stub)."""
        if self._ref is None:
            self._ref = managed_class(self.wsdl, self.namespace)(self.moid)
        return self._ref

    def read(self, path: str) -> Any:
        """The value at a property path; ``None`` when unset. Raises KeyError for a path the type does not have.

        Walks ``a.b.c`` through values and ``a.b[key]`` through arrays (int keys by ``key``, strings by ``key`` too).
        """
        for known in _prefixes(path):
            project = self.properties.get(known)
            if project is not None:
                return _walk(project(self), path[len(known) :], path)
        raise KeyError(path)


@functools.lru_cache(maxsize=4096)
def _prefixes(path: str) -> tuple[str, ...]:
    """``a.b[1].c`` -> itself, ``a.b[1]``, ``a.b``, ``a``: longest first."""
    found = [path]
    for position in range(len(path) - 1, 0, -1):
        if path[position] in ".[":
            found.append(path[:position])
    return tuple(found)


def _walk(value: Any, rest: str, path: str) -> Any:
    while rest and value is not None:
        if rest[0] == "[":
            end = rest.index("]")
            wanted = rest[1:end].strip('"')
            value = next((item for item in value if str(getattr(item, "key", "")) == wanted), None)
            rest = rest[end + 1 :]
            continue
        stop = min((i for i in (rest.find(".", 1), rest.find("[", 1)) if i > 0), default=len(rest))
        name = rest[1:stop]
        if isinstance(value, Entity | list) or not hasattr(value, name):
            raise KeyError(path)
        value = getattr(value, name)
        rest = rest[stop:]
    return value
