"""How to read a value of each type: tables from tag to property, compiled from the type metadata and cached."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.wire.soap import scalars
from contrail_vsphere.wire.soap.metadata import VIM, Parameter, properties_of
from contrail_vsphere.wire.soap.types import vmodl
from contrail_vsphere.wire.soap.values import new

ManagedObject = VmomiSupport.ManagedObject
DataObject = VmomiSupport.DataObject
MethodFault = vmodl.MethodFault
LocalizedMethodFault = vmodl.LocalizedMethodFault


class Shape:
    """How to read a value of one type; exactly one of ``convert``, ``cls`` kinds applies (see ``_Tree._start``)."""

    __slots__ = ("array", "bare", "cls", "convert", "finish", "table")

    def __init__(
        self,
        cls: Any,
        *,
        convert: Callable[[str], Any] | None = None,
        array: Any = None,
        finish: Callable[[Any, str], Any] | None = None,
        bare: bool = False,
    ) -> None:
        self.cls = cls
        self.convert = convert
        self.array = array
        self.finish = finish
        self.bare = bare
        self.table: Table | None = None


class Field:
    """One tag in a table: where its value goes and how it is read."""

    __slots__ = ("many", "name", "shape")

    def __init__(self, name: str, shape: Shape, *, many: bool = False) -> None:
        self.name = name
        self.shape = shape
        self.many = many


class Table(dict[str, Field | None]):
    """Tag as expat reports it (``namespace name``) -> field. Names are matched without their namespace."""

    __slots__ = ("_by_name", "_fallback")

    def __init__(self, fields: Mapping[str, Field], fallback: Field | None = None) -> None:
        super().__init__()
        self._by_name = fields
        self._fallback = fallback

    def __missing__(self, tag: str) -> Field | None:
        found = self._by_name.get(tag.rpartition(" ")[2], self._fallback)
        if found is not None and len(self) < 1024:
            self[tag] = found
        return found


NOTHING = Table({})


@functools.lru_cache(maxsize=16384)
def shape_of(declared: Any) -> Shape:
    """Shape of a declared type; for arrays that of their items."""
    if declared is object:
        return ANY
    if issubclass(declared, list):
        return shape_of(declared.Item)
    if issubclass(declared, ManagedObject):
        return Shape(declared)
    if issubclass(declared, MethodFault):
        return LOCALIZED
    if issubclass(declared, DataObject):
        return Shape(declared, bare=True)
    return Shape(declared, convert=scalars.reader(declared))


@functools.lru_cache(maxsize=8192)
def bare_shape(cls: Any) -> Shape:
    """Of a concrete data object type; a fault as itself, not wrapped."""
    return LOCALIZED if cls is LocalizedMethodFault else Shape(cls, bare=True)


@functools.lru_cache(maxsize=8192)
def array_shape(array: Any) -> Shape:
    """Of an ArrayOfX inside an Any: a list whose items come under any tag."""
    shape = Shape(list, array=array)
    shape.table = Table({}, Field("items", shape_of(array.Item), many=True))
    return shape


def table_of(shape: Shape) -> Table:
    """The table of a data object's shape, made when it is first needed."""
    if shape.table is None:
        shape.table = Table({prop.name: field_for(prop) for prop in properties_of(shape.cls)})
    return shape.table


def field_for(prop: Parameter) -> Field:
    """The field of a property or parameter."""
    return Field(prop.name, shape_of(prop.type), many=prop.many)


class Wrapped:
    """The object a LocalizedMethodFault is read into; what remains of it is the fault, with the message set."""

    fault: Any = None
    localizedMessage: str = ""  # noqa: N815 the property's name


def _unwrap(value: Any, _text: str) -> Any:
    fault = value.__dict__.get("fault")
    if fault is None:
        fault = new(MethodFault)
    fault.__dict__["msg"] = value.__dict__.get("localizedMessage")
    return fault


def _text_or_object(value: Any, text: str) -> Any:
    """An Any of a type nobody knows: its text if that is all it has, else an object that knows its type's name."""
    return text if text.strip() else value


ANY = Shape(object)
TEXT = Shape(str, convert=str)
LOCALIZED = Shape(Wrapped, finish=_unwrap)
LOCALIZED.table = Table(
    {"fault": Field("fault", Shape(MethodFault, bare=True)), "localizedMessage": Field("localizedMessage", TEXT)}
)
UNKNOWN = Shape(vmodl.DynamicData, finish=_text_or_object)
UNKNOWN.table = NOTHING


@functools.lru_cache(maxsize=16384)
def class_named(namespace: str, name: str, home: str) -> Any:
    """The class an xsi:type names, or None. Servers do not always qualify types of other namespaces."""
    if name.endswith("ManagedObjectReference"):
        name = name.removesuffix("Reference")
    for candidate in (namespace, home, VIM, VmomiSupport.XMLNS_XSD):
        try:
            return VmomiSupport.GetWsdlType(candidate, name)
        except KeyError:
            continue
    return None


class Level:
    """A level of the envelope while it is being read; its attributes are what was found below it."""


def level(fields: Mapping[str, Field], fallback: Field | None = None) -> Shape:
    """The shape of a level of the envelope."""
    shape = Shape(Level)
    shape.table = Table(fields, fallback)
    return shape
