"""Which objects and properties a PropertyFilterSpec selects.

The walk follows TraversalSpecs through property values, named and recursive ones included, and remembers which
properties it read on its way: only a change of one of those can change the selection.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from pyVmomi import VmomiSupport

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.core.types import conforms
from contrail_vsphere.simulator.vcenter.fragments import read
from contrail_vsphere.simulator.vcenter.views import View
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import VIM, property_type
from contrail_vsphere.wire.soap.types import managed_class, vmodl, wsdl_name


class Resolve(Protocol):
    """How the calling session finds objects, and which it sees."""

    def __call__(self, reference: Any) -> Entity | None:
        """Reference -> object; None for one that is not there for this session."""

    def sees(self, entity: Entity) -> bool:
        """Whether an object is there for this session."""


@dataclass(slots=True)
class Selected:
    """Result of a walk."""

    objects: dict[str, Entity] = field(default_factory=dict)
    read: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Object id -> property paths the walk went through."""
    missing: list[Any] = field(default_factory=list)
    """References in the spec's object set that do not exist (any more)."""


class Selection:
    """A checked PropertyFilterSpec; ``keyed_paths``: elements of arrays may be named.

    Raises InvalidProperty and InvalidArgument for what the API does not have.
    """

    def __init__(self, spec: Any, *, keyed_paths: bool = True) -> None:
        self.spec = spec
        keyed = next((path for item in spec.propSet or () for path in item.pathSet or () if "[" in str(path)), None)
        if keyed is not None and not keyed_paths:
            raise SoapFault(vmodl.query.InvalidProperty(name=str(keyed)), f"{keyed} is no property.")
        self.lenient = bool(spec.reportMissingObjectsInResults)
        self._properties = [_PropertySpec(item) for item in spec.propSet or ()]
        self._paths: dict[type[Entity], tuple[str, ...] | None] = {}
        if not self._properties:
            raise _invalid("propSet", "The filter selects no properties.")
        self._roots: list[tuple[Any, dict[str, Any]]] = [(item, _named(item)) for item in spec.objectSet or ()]

    def paths(self, entity: Entity) -> tuple[str, ...] | None:
        """Property paths wanted of an object, None when no property spec is for its type."""
        kind = type(entity)
        if kind not in self._paths:
            specs = [item for item in self._properties if conforms(entity, item.kind)]
            found = [path for item in specs for path in item.paths(entity)]
            self._paths[kind] = tuple(dict.fromkeys(found)) if specs else None
        return self._paths[kind]

    def view(self, resolve: Resolve) -> View | None:
        """The view whose members are exactly what is selected, for the usual shape of a filter; else None."""
        if len(self._roots) != 1:
            return None
        root, _ = self._roots[0]
        found = resolve(root.obj)
        steps: Any = root.selectSet or []
        if not isinstance(found, View) or len(steps) != 1 or not _is_traversal(steps[0]):
            return None
        step = steps[0]
        alone = root.skip or self.paths(found) is None
        plain = step.path == "view" and not step.skip and not step.selectSet and conforms(found, _kind(step.type))
        return found if alone and plain else None

    def walk(self, resolve: Resolve) -> Selected:
        """Collect what is selected now."""
        result = Selected()
        for root, named in self._roots:
            entity = resolve(root.obj)
            if entity is None:
                result.missing.append(root.obj)
                continue
            if not root.skip:
                self._select(entity, result)
            self._visit(entity, root.selectSet or (), named, resolve, result)
        return result

    def _select(self, entity: Entity, result: Selected) -> None:
        if self.paths(entity) is not None:
            result.objects.setdefault(entity.moid, entity)

    def _visit(self, start: Entity, steps: Any, named: dict[str, Any], resolve: Resolve, result: Selected) -> None:
        seen: set[tuple[str, int]] = set()
        waiting = [(start, steps)]
        while waiting:
            entity, selections = waiting.pop()
            for selection in selections:
                step = selection if _is_traversal(selection) else named.get(selection.name)
                if step is None:
                    raise _invalid("selectSet", f"There is no selection named {selection.name}.")
                if (entity.moid, id(step)) in seen or not conforms(entity, _kind(step.type)):
                    continue
                seen.add((entity.moid, id(step)))
                result.read[entity.moid].add(step.path)
                for other in _targets(entity, step.path, resolve):
                    if not step.skip:
                        self._select(other, result)
                    if step.selectSet:
                        waiting.append((other, step.selectSet))


class _PropertySpec:
    def __init__(self, spec: Any) -> None:
        self.kind = _kind(spec.type)
        self._all = bool(spec.all)
        self._paths = tuple(spec.pathSet or ())
        for path in self._paths if not self._all else ():
            check_path(self.kind, path)

    def paths(self, entity: Entity) -> tuple[str, ...]:
        return top_level(type(entity)) if self._all else self._paths


def check_path(kind: Any, path: str) -> None:
    """Raise InvalidProperty unless the managed object class has that property path."""
    try:
        property_type(wsdl_name(kind), path, VIM)
    except KeyError:
        raise SoapFault(vmodl.query.InvalidProperty(name=path), f"{wsdl_name(kind)} has no property {path}") from None


@functools.lru_cache(maxsize=1024)
def _top_level(kind: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path.partition(".")[0] for path in kind.properties))


def top_level(kind: type[Entity]) -> tuple[str, ...]:
    """The whole properties that the simulated class serves."""
    served: Any = kind
    found: tuple[str, ...] = _top_level(served)
    return found


def _kind(declared: Any) -> Any:
    """A spec's type; text is a type that the API does not have."""
    if isinstance(declared, str) or declared is None:
        raise _invalid("type", f"There is no type {declared}.")
    return managed_class(wsdl_name(declared)) if not issubclass(declared, VmomiSupport.ManagedObject) else declared


def _is_traversal(selection: Any) -> bool:
    return isinstance(selection, vmodl.query.PropertyCollector.TraversalSpec)


def _named(root: Any) -> dict[str, Any]:
    """All named traversals of an object spec, however deep; checked on the way."""
    named: dict[str, Any] = {}
    waiting = list(root.selectSet or ())
    while waiting:
        step = waiting.pop()
        if not _is_traversal(step):
            continue
        check_path(_kind(step.type), step.path)
        if step.name:
            named[step.name] = step
        waiting.extend(step.selectSet or ())
    return named


def _targets(entity: Entity, path: str, resolve: Resolve) -> Iterator[Entity]:
    value = read(entity, path)
    for item in value if isinstance(value, list | tuple) else (value,):
        found = item if isinstance(item, Entity) else resolve(item) if hasattr(item, "_moId") else None
        if found is not None and resolve.sees(found):
            yield found


def _invalid(name: str, message: str) -> SoapFault:
    return SoapFault(vmodl.fault.InvalidArgument(invalidProperty=name), message)
