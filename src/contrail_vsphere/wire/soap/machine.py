"""The stack machine between expat and values, driven by the tables of ``shapes``.

A stack holds the objects being filled. What the tables do not know is skipped (elements) or kept by name in the
declared type (xsi:types), so a newer peer never breaks us. Its four entry points are expat's handlers; the bulk reader
lends it the parser for single values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.wire.soap.metadata import VIM
from contrail_vsphere.wire.soap.shapes import (
    ANY,
    UNKNOWN,
    DataObject,
    Field,
    Level,
    LocalizedMethodFault,
    ManagedObject,
    MethodFault,
    Shape,
    Table,
    Wrapped,
    array_shape,
    bare_shape,
    class_named,
    shape_of,
    table_of,
)
from contrail_vsphere.wire.soap.types import managed_class
from contrail_vsphere.wire.soap.values import defaults_of, reference

XSI_TYPE = f"{VmomiSupport.XMLNS_XSI} type"
XSI_NIL = f"{VmomiSupport.XMLNS_XSI} nil"
MAX_DEPTH = 256


class Machine:
    """Takes expat's events and fills values; what the outermost table has ends in ``found``."""

    def __init__(self, outermost: Table, *, home: str = VIM) -> None:
        self.found: dict[str, Any] = {}
        self.home = home
        """Namespace that unqualified references and types are looked up in first."""
        self._skip = 0
        self._fields: Table = outermost
        self._target: dict[str, Any] = self.found
        self._stack: list[tuple[Table, dict[str, Any], Field, Shape | None, Any]] = []
        self._convert: Callable[[str], Any] | None = None
        self.prefixes: dict[str | None, list[str]] = {}
        self._references: dict[tuple[str | None, Any], Callable[[str], Any]] = {}
        self.chars: list[str] = []
        """Text so far; its ``append`` is expat's CharacterDataHandler."""

    @property
    def idle(self) -> bool:
        """Whether everything that began has ended."""
        return not self._stack and self._convert is None and not self._skip

    def declare(self, prefix: str | None, uri: str | None) -> None:
        """StartNamespaceDeclHandler."""
        self.prefixes.setdefault(prefix, []).append(uri or "")

    def undeclare(self, prefix: str | None) -> None:
        """EndNamespaceDeclHandler."""
        self.prefixes[prefix].pop()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """StartElementHandler."""
        if self._skip:
            self._skip += 1
            if self._skip > MAX_DEPTH:
                raise ProtocolError(f"the message nests deeper than {MAX_DEPTH} elements")
            return
        found = self._fields[tag]
        if found is None or self._convert is not None:
            self._skip = 1
            return
        self.chars.clear()
        shape = found.shape
        unknown = None
        convert = shape.convert
        if attributes:
            if attributes.get(XSI_NIL) in ("true", "1"):
                convert = _nothing
            elif convert is None:
                kind = attributes.get(XSI_TYPE)
                if kind is not None:
                    shape, unknown = self._dynamic(shape, kind)
                    convert = shape.convert
        if convert is None:
            cls = shape.cls
            if cls is object:
                convert = str
            elif shape.table is None and issubclass(cls, ManagedObject):
                convert = self._reference(cls, attributes.get("type"))
        if convert is not None:
            self._convert = convert
            self._leaf = found
            return
        self._open(found, shape, unknown, tag)

    def _open(self, found: Field, shape: Shape, unknown: str | None, tag: str) -> None:
        """Begin an object: what follows goes into it until its end tag."""
        if len(self._stack) > MAX_DEPTH:
            raise ProtocolError(f"the message nests deeper than {MAX_DEPTH} elements")
        self._stack.append((self._fields, self._target, found, shape, None))
        if shape.array is not None:
            value: Any = shape.array()
            self._target = {"items": value}
        elif shape.bare or shape is UNKNOWN:
            cls = shape.cls
            scalars_, arrays = defaults_of(cls)
            value = cls.__new__(cls)
            self._target = value.__dict__
            self._target.update(scalars_)
            for name, array in arrays:
                self._target[name] = array()
        else:
            value = shape.cls()
            self._target = value.__dict__
        if unknown is not None:
            self._target["_unknown_type"] = unknown
        self._stack[-1] = (*self._stack[-1][:4], value)
        self._fields = shape.table or table_of(shape)
        if shape.cls is Level:
            self._enter(found.name, tag)

    def _enter(self, name: str, tag: str) -> None:
        """A level of the envelope began."""

    def end(self, _tag: str) -> None:
        """EndElementHandler."""
        chars = self.chars
        if self._skip:
            self._skip -= 1
            if not self._skip and self._convert is None:
                chars.clear()
            return
        convert = self._convert
        if convert is not None:
            self._convert = None
            value = convert(chars[0] if len(chars) == 1 else "".join(chars))
            found = self._leaf
            chars.clear()
        else:
            self._fields, self._target, found, shape, value = self._stack.pop()
            if shape is not None and shape.finish is not None:
                value = shape.finish(value, "".join(chars))
        if found.many:
            if found.shape is not ANY and isinstance(value, VmomiSupport.Array):
                self._target[found.name].extend(value)
            elif value is not None:
                self._target[found.name].append(value)
        else:
            self._target[found.name] = value

    def _dynamic(self, shape: Shape, kind: str) -> tuple[Shape, str | None]:
        """The shape an xsi:type asks for, and the type's name if nobody knows it."""
        prefix, _, name = kind.rpartition(":")
        bound = self.prefixes.get(prefix or None)
        namespace = bound[-1] if bound else self.home
        cls = class_named(namespace, name, self.home)
        declared = shape.cls
        if cls is None:
            return (UNKNOWN if declared is object else shape), name
        if declared is object:
            if issubclass(cls, list):
                return array_shape(cls), None
            return (bare_shape(cls) if issubclass(cls, DataObject) else shape_of(cls)), None
        if issubclass(cls, list):
            return array_shape(cls), None
        if issubclass(declared, ManagedObject):
            return shape, None
        if cls is LocalizedMethodFault and declared is Wrapped:
            return shape, None
        expected = MethodFault if declared is Wrapped or issubclass(declared, MethodFault) else declared
        if not issubclass(cls, expected):
            raise ProtocolError(f"{name} where a {expected.__name__} belongs")
        return bare_shape(cls), None

    def _reference(self, declared: Any, name: str | None) -> Callable[[str], Any]:
        made = self._references.get((name, declared))
        if made is None:
            made = _reference_maker(declared, (name or "").rpartition(":")[2], self.home)
            if len(self._references) < 1024:
                self._references[name, declared] = made
        return made


def _nothing(_text: str) -> None:
    return None


def _reference_maker(declared: Any, name: str, home: str) -> Callable[[str], Any]:
    cls = managed_class(name, home) if name else declared
    unknown = name if name and cls is ManagedObject and name != "ManagedObject" else ""

    def make(text: str) -> Any:
        ref = reference(cls, text.strip())
        if unknown:
            ref.__dict__["_unknown_type"] = unknown
        return ref

    return make
