"""Writers: the compiled pieces of ``encode``, cached per (name, type, version, namespace).

A writer knows its tag, its declared type and the version it writes for; what is newer than that version is left out, a
value of a type newer than it is narrowed to its nearest older base, and a required property that is unset is a
TypeError (so the metadata tests whatever makes the values). Facts: "Pitfalls found" of the vSphere and EAM reports.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.wire.soap import scalars
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import VIM, namespace_of, properties_of
from contrail_vsphere.wire.soap.types import vmodl
from contrail_vsphere.wire.soap.values import Raw
from contrail_vsphere.wire.soap.versions import includes

Out = Callable[[str], None]
Writer = Callable[[Out, Any], None]
"""Appends whole elements, tags included."""

XSD = VmomiSupport.XMLNS_XSD
ManagedObject = VmomiSupport.ManagedObject
DataObject = VmomiSupport.DataObject
MethodFault = vmodl.MethodFault
LocalizedMethodFault = vmodl.LocalizedMethodFault
escape = scalars.escape

Fields = tuple[tuple[str, Writer, bool], ...]


@functools.lru_cache(maxsize=32768)
def fields_of(cls: Any, version: str, namespace: str) -> Fields:
    """What of a data object travels: (property, writer, required), in the order of the metadata."""
    made: list[tuple[str, Writer, bool]] = []
    for prop in properties_of(cls):
        if not includes(version, prop.version):
            continue
        home = namespace_of(prop.version)
        attribute = "" if home == namespace else f' xmlns="{home}"'
        if cls is LocalizedMethodFault and prop.name == "fault":
            write: Writer = _bare_fault(version, home, attribute)
        else:
            write = field_writer(prop.name, prop.type, version, home, attribute)
        made.append((prop.name, write, not prop.optional))
    return tuple(made)


def write_fields(fields: Fields, out: Out, state: Mapping[str, Any], cls: Any) -> None:
    """Write what ``state`` has of the fields; TypeError for a required one that is unset."""
    for name, write, required in fields:
        value = state.get(name)
        if value is not None:
            write(out, value)
        elif required:
            raise TypeError(f'Field "{name}" of {cls.__name__} is not optional')


@functools.lru_cache(maxsize=65536)
def field_writer(name: str, declared: Any, version: str, namespace: str, attribute: str) -> Writer:
    """Writer of one property; ``namespace`` is the default one inside its tag, ``attribute`` declares it if need be."""
    if declared is object:
        return _any(name, version, namespace, attribute)
    if issubclass(declared, list):
        write_item = field_writer(name, declared.Item, version, namespace, attribute)

        def write_list(out: Out, value: Any) -> None:
            if value.__class__ is Raw:
                out(value)
                return
            if isinstance(value, str | bytes):
                raise TypeError(f"{name}: expected a list, got {value!r}")
            for item in value:
                write_item(out, item)

        return write_list
    if issubclass(declared, ManagedObject):
        return _reference(name, attribute)
    if issubclass(declared, MethodFault) and declared is not LocalizedMethodFault:
        return _localized(name, declared, version, namespace, attribute)
    if issubclass(declared, DataObject):
        return _object(name, declared, version, namespace, attribute)
    return _scalar(name, declared, attribute)


def _scalar(name: str, declared: Any, attribute: str) -> Writer:
    text = scalars.writer(declared)
    head, tail = f"<{name}{attribute}>", f"</{name}>"

    def write(out: Out, value: Any) -> None:
        try:
            out(f"{head}{text(value)}{tail}")
        except (TypeError, AttributeError) as error:
            raise TypeError(f"{name}: expected {declared.__name__}, got {value!r}: {error}") from error

    return write


def _reference(name: str, attribute: str) -> Writer:
    heads: dict[Any, str] = {}

    def write(out: Out, value: Any) -> None:
        if value.__class__ is Raw:
            out(value)
            return
        ref = value if isinstance(value, ManagedObject) else getattr(value, "ref", None)
        if ref is None:
            raise TypeError(f"{name}: expected a reference, got {value!r}")
        state = ref.__dict__
        if "_unknown_type" in state or state.get("_serverGuid") is not None:
            guid = f' serverGuid="{escape(ref._serverGuid)}"' if ref._serverGuid is not None else ""
            out(f'<{name}{attribute}{guid} type="{reference_type(ref)}">{escape(ref._moId)}</{name}>')
            return
        cls = ref.__class__
        head = heads.get(cls)
        if head is None:
            head = heads[cls] = f'<{name}{attribute} type="{reference_type(ref)}">'
        out(f"{head}{escape(state['_moId'])}</{name}>")

    return write


def _object(name: str, declared: Any, version: str, namespace: str, attribute: str) -> Writer:
    """Writer of a data object whose class may be narrower than declared (``declared`` is ``object`` for Any)."""
    variants: dict[Any, tuple[str, Fields]] = {}
    tail = f"</{name}>"

    def variant(cls: Any) -> tuple[str, Fields]:
        if not isinstance(cls, type) or not issubclass(cls, DataObject) or not issubclass(cls, declared):
            raise TypeError(f"{name}: expected {declared.__name__}, got {cls.__name__}")
        narrowed = compatible(cls, version)
        kind = "" if narrowed is declared else _xsi_type(*_qualified(narrowed), namespace)
        return f"<{name}{attribute}{kind}>", fields_of(narrowed, version, namespace)

    def write(out: Out, value: Any) -> None:
        cls = value.__class__
        if cls is Raw:
            out(value)
            return
        found = variants.get(cls)
        if found is None:
            found = variants[cls] = variant(cls)
        head, fields = found
        state = value.__dict__
        if "_unknown_type" in state:
            head = f'<{name}{attribute} xsi:type="{state["_unknown_type"]}">'
        out(head)
        for key, write_field, required in fields:
            item = state.get(key)
            if item is not None:
                write_field(out, item)
            elif required:
                raise TypeError(f'Field "{key}" of {cls.__name__} is not optional')
        out(tail)

    return write


def _bare_fault(version: str, namespace: str, attribute: str) -> Writer:
    """``fault`` inside LocalizedMethodFault: the fault itself, without its message."""
    write_object = _object("fault", MethodFault, version, namespace, attribute)

    def write(out: Out, value: Any) -> None:
        message, value.__dict__["msg"] = value.__dict__.get("msg"), None
        try:
            write_object(out, value)
        finally:
            value.__dict__["msg"] = message

    return write


def _localized(name: str, declared: Any, version: str, namespace: str, attribute: str) -> Writer:
    """A fault inside data travels wrapped as LocalizedMethodFault, whatever the metadata calls its type."""
    kind = _xsi_type(VIM, "LocalizedMethodFault", namespace) if declared is object else ""
    attribute += kind
    inner = "" if namespace == VIM else f' xmlns="{VIM}"'
    write_fault = _bare_fault(version, VIM, inner)

    def write(out: Out, value: Any) -> None:
        if value.__class__ is Raw:
            out(value)
            return
        if isinstance(value, SoapFault):
            message, value = value.message, value.fault
        else:
            message = value.__dict__.get("msg") or ""
        if not isinstance(value, MethodFault):
            raise TypeError(f"{name}: expected a fault, got {value.__class__.__name__}")
        out(f"<{name}{attribute}>")
        write_fault(out, value)
        if message:
            out(f"<localizedMessage{inner}>{escape(message)}</localizedMessage>")
        out(f"</{name}>")

    return write


@functools.lru_cache(maxsize=8192)
def _any(name: str, version: str, namespace: str, attribute: str) -> Writer:
    """Writer of an Any: the value's own class decides the type that travels."""
    variants: dict[Any, Writer] = {}

    def variant(cls: Any, value: Any) -> Writer:
        if issubclass(cls, list):
            kind = getattr(cls, "Item", None)
            if kind is None:
                if not value:
                    raise TypeError(f"{name}: an empty list says no type; give an Array")
                first = value[0]
                kind = ManagedObject if hasattr(first, "ref") else type(first)
                return _array(name, kind, version, namespace, attribute)
            return _array(name, kind, version, namespace, attribute)
        return typed_any(name, _class_for_any(cls), version, namespace, attribute)

    def write(out: Out, value: Any) -> None:
        cls = value.__class__
        if cls is Raw:
            out(value)
            return
        if cls is int and not -0x80000000 <= value <= 0x7FFFFFFF:
            cls = VmomiSupport.long
        found = variants.get(cls)
        if found is None:
            found = variant(cls, value)
            if cls is not list:
                variants[cls] = found
        found(out, value)

    return write


def _class_for_any(cls: Any) -> Any:
    if issubclass(cls, DataObject | ManagedObject):
        return cls
    if isinstance(getattr(cls, "ref", None), property) or issubclass(cls, SoapFault):
        return MethodFault if issubclass(cls, SoapFault) else ManagedObject
    if issubclass(cls, type):
        return type
    if issubclass(cls, bool | VmomiSupport.Enum | VmomiSupport.ManagedMethod):
        return VmomiSupport.ManagedMethod if issubclass(cls, VmomiSupport.ManagedMethod) else cls
    for kind in (VmomiSupport.long, VmomiSupport.short, VmomiSupport.byte, VmomiSupport.double, VmomiSupport.URI):
        if issubclass(cls, kind):
            return kind
    for kind, plain in ((int, int), (float, float), (datetime, datetime), (bytes, VmomiSupport.binary)):
        if issubclass(cls, kind):
            return plain
    if issubclass(cls, str):
        return str
    raise TypeError(f"{cls.__name__} is no type of the API")


@functools.lru_cache(maxsize=32768)
def typed_any(name: str, declared: Any, version: str, namespace: str, attribute: str = "") -> Writer:
    """Writer of an Any whose type is known beforehand; plain values are made to fit it."""
    if declared is object:
        return _any(name, version, namespace, attribute)
    if issubclass(declared, list):
        return _array(name, declared.Item, version, namespace, attribute)
    if issubclass(declared, ManagedObject):
        return _reference(name, attribute + _xsi_type(VIM, "ManagedObjectReference", namespace))
    if issubclass(declared, MethodFault):
        return _localized(name, object, version, namespace, attribute)
    if issubclass(declared, DataObject):
        return _object_as_any(name, declared, version, namespace, attribute)
    if scalars.is_dynamic(declared):
        kind = _xsi_type(XSD, "string", namespace)
    else:
        kind = _xsi_type(*_qualified(declared), namespace)
    return _scalar(name, declared, attribute + kind)


def _object_as_any(name: str, declared: Any, version: str, namespace: str, attribute: str) -> Writer:
    """Like ``_object``, always with the type; ``declared`` only checks the value."""
    write_object = _object(name, object, version, namespace, attribute)

    def write(out: Out, value: Any) -> None:
        if value.__class__ is not Raw and not isinstance(value, declared):
            raise TypeError(f"{name}: expected {declared.__name__}, got {value.__class__.__name__}")
        write_object(out, value)

    return write


def _array(name: str, item: Any, version: str, namespace: str, attribute: str) -> Writer:
    """``<val xsi:type="ArrayOfX"><X>..</X></val>``: items are named by the item type."""
    if scalars.is_dynamic(item):
        home, tag, kind = VIM, "string", "ArrayOfString"
    elif item is object:
        home, tag, kind = VIM, "anyType", "ArrayOfAnyType"
    elif issubclass(item, ManagedObject):
        home, tag, kind = VIM, "ManagedObjectReference", "ArrayOfManagedObjectReference"
    else:
        item = compatible(item, version)
        tag = _qualified(item)[1]
        home, kind = (
            VmomiSupport.GetQualifiedWsdlName(item.Array)
            if hasattr(item, "Array")
            else (VIM, "ArrayOf" + VmomiSupport.Capitalize(tag))
        )
    head = f"<{name}{attribute}{_xsi_type(home, kind, namespace)}>"
    write_item = field_writer(tag, item, version, namespace, "")
    tail = f"</{name}>"

    def write(out: Out, value: Any) -> None:
        if value.__class__ is Raw:
            out(value)
            return
        if isinstance(value, str | bytes):
            raise TypeError(f"{name}: expected a list, got {value!r}")
        out(head)
        for each in value:
            write_item(out, each)
        out(tail)

    return write


# -- names ----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=16384)
def _qualified(cls: Any) -> tuple[str, str]:
    found: tuple[str, str] = VmomiSupport.GetQualifiedWsdlName(cls)
    return found


def _xsi_type(home: str, name: str, namespace: str) -> str:
    """The attribute, with a prefix when the type lives in another namespace than the tag's content."""
    if home == namespace:
        return f' xsi:type="{name}"'
    if home == XSD:
        return f' xsi:type="xsd:{name}"'
    prefix = home.partition(":")[2]
    return f' xmlns:{prefix}="{home}" xsi:type="{prefix}:{name}"'


@functools.lru_cache(maxsize=32768)
def compatible(cls: Any, version: str) -> Any:
    """The nearest base that a peer of that version knows."""
    return VmomiSupport.GetCompatibleType(cls, version)


def reference_type(ref: Any) -> str:
    """The ``type`` attribute of a reference; that of a decoded one of unknown type is the one it came with."""
    return str(ref.__dict__.get("_unknown_type") or _qualified(ref.__class__)[1])
