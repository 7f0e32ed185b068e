"""XML to values: one expat pass, driven by tables compiled from the type metadata.

Every data object type has a table from tag to what to do with it; a stack holds the objects being filled. What the
tables do not know is skipped (elements) or kept by name in the declared type (xsi:types), so a newer peer never breaks
us. DTDs are refused, depth and size bounded: nobody's XML may cost more than its bytes.
"""

from __future__ import annotations

import functools
import xml.parsers.expat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.model.errors import MalformedXml, ProtocolError
from contrail_vsphere.wire.soap import scalars
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import VIM, Method, Parameter, fetch_method, find_method, properties_of
from contrail_vsphere.wire.soap.types import managed_class, vmodl
from contrail_vsphere.wire.soap.values import defaults_of, new, reference

__all__ = ["Request", "RequestDecoder", "ResponseDecoder"]

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XSI_TYPE = f"{VmomiSupport.XMLNS_XSI} type"
XSI_NIL = f"{VmomiSupport.XMLNS_XSI} nil"
MAX_DEPTH = 256
MAX_REQUEST = 64 << 20
MAX_RESPONSE = 1 << 30

ManagedObject = VmomiSupport.ManagedObject
DataObject = VmomiSupport.DataObject
MethodFault = vmodl.MethodFault
LocalizedMethodFault = vmodl.LocalizedMethodFault


class _Shape:
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
        self.table: _Table | None = None


class _Field:
    """One tag in a table: where its value goes and how it is read."""

    __slots__ = ("many", "name", "shape")

    def __init__(self, name: str, shape: _Shape, *, many: bool = False) -> None:
        self.name = name
        self.shape = shape
        self.many = many


class _Table(dict[str, _Field | None]):
    """Tag as expat reports it (``namespace name``) -> field. Names are matched without their namespace."""

    __slots__ = ("_by_name", "_fallback")

    def __init__(self, fields: Mapping[str, _Field], fallback: _Field | None = None) -> None:
        super().__init__()
        self._by_name = fields
        self._fallback = fallback

    def __missing__(self, tag: str) -> _Field | None:
        found = self._by_name.get(tag.rpartition(" ")[2], self._fallback)
        if found is not None and len(self) < 1024:
            self[tag] = found
        return found


_NOTHING = _Table({})


@functools.lru_cache(maxsize=16384)
def _shape_of(declared: Any) -> _Shape:
    """Shape of a declared type; for arrays that of their items."""
    if declared is object:
        return _ANY
    if issubclass(declared, list):
        return _shape_of(declared.Item)
    if issubclass(declared, ManagedObject):
        return _Shape(declared)
    if issubclass(declared, MethodFault):
        return _LOCALIZED
    if issubclass(declared, DataObject):
        return _Shape(declared, bare=True)
    return _Shape(declared, convert=scalars.reader(declared))


@functools.lru_cache(maxsize=8192)
def _bare_shape(cls: Any) -> _Shape:
    """Of a concrete data object type; a fault as itself, not wrapped."""
    return _LOCALIZED if cls is LocalizedMethodFault else _Shape(cls, bare=True)


@functools.lru_cache(maxsize=8192)
def _array_shape(array: Any) -> _Shape:
    """Of an ArrayOfX inside an Any: a list whose items come under any tag."""
    shape = _Shape(list, array=array)
    shape.table = _Table({}, _Field("items", _shape_of(array.Item), many=True))
    return shape


def _table(shape: _Shape) -> _Table:
    if shape.table is None:
        shape.table = _Table({prop.name: _field(prop) for prop in properties_of(shape.cls)})
    return shape.table


def _field(prop: Parameter) -> _Field:
    return _Field(prop.name, _shape_of(prop.type), many=prop.many)


class _Wrapped:
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


_ANY = _Shape(object)
_TEXT = _Shape(str, convert=str)
_LOCALIZED = _Shape(_Wrapped, finish=_unwrap)
_LOCALIZED.table = _Table(
    {"fault": _Field("fault", _Shape(MethodFault, bare=True)), "localizedMessage": _Field("localizedMessage", _TEXT)}
)
_UNKNOWN = _Shape(vmodl.DynamicData, finish=_text_or_object)
_UNKNOWN.table = _NOTHING


@functools.lru_cache(maxsize=16384)
def _class_named(namespace: str, name: str, home: str) -> Any:
    """The class an xsi:type names, or None. Servers do not always qualify types of other namespaces."""
    if name.endswith("ManagedObjectReference"):
        name = name.removesuffix("Reference")
    for candidate in (namespace, home, VIM, VmomiSupport.XMLNS_XSD):
        try:
            return VmomiSupport.GetWsdlType(candidate, name)
        except KeyError:
            continue
    return None


class _Tree:
    """The expat driver. Subclasses give the table of the envelope and take what was found."""

    def __init__(self, envelope: _Table, *, limit: int) -> None:
        self.found: dict[str, Any] = {}
        self.home = VIM
        """Namespace that unqualified references and types are looked up in first."""
        self._limit = limit
        self._fed = 0
        self._skip = 0
        self._fields: _Table = envelope
        self._target: dict[str, Any] = self.found
        self._stack: list[tuple[_Table, dict[str, Any], _Field, _Shape | None, Any]] = []
        self._convert: Callable[[str], Any] | None = None
        self._prefixes: dict[str | None, list[str]] = {}
        self._references: dict[tuple[str | None, Any], Callable[[str], Any]] = {}
        self._chars: list[str] = []
        parser = self._parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.buffer_size = 1 << 16
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._chars.append
        parser.StartNamespaceDeclHandler = self._declare
        parser.EndNamespaceDeclHandler = self._undeclare
        parser.StartDoctypeDeclHandler = self._refuse

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises ProtocolError as soon as they cannot be right."""
        self._fed += len(data)
        if self._fed > self._limit:
            raise ProtocolError(f"the message is larger than {self._limit >> 20} MiB")
        self._parse(data, last=False)

    def _finish(self) -> None:
        self._parse(b"", last=True)

    def _parse(self, data: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except xml.parsers.expat.ExpatError as error:
            raise MalformedXml(f"the message is not XML: {error}") from error

    def _refuse(self, *_: object) -> None:
        raise ProtocolError("the message has a DTD")

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._prefixes.setdefault(prefix, []).append(uri or "")

    def _undeclare(self, prefix: str | None) -> None:
        self._prefixes[prefix].pop()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._skip:
            self._skip += 1
            if self._skip > MAX_DEPTH:
                raise ProtocolError(f"the message nests deeper than {MAX_DEPTH} elements")
            return
        found = self._fields[tag]
        if found is None or self._convert is not None:
            self._skip = 1
            return
        self._chars.clear()
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

    def _open(self, found: _Field, shape: _Shape, unknown: str | None, tag: str) -> None:
        """Begin an object: what follows goes into it until its end tag."""
        if len(self._stack) > MAX_DEPTH:
            raise ProtocolError(f"the message nests deeper than {MAX_DEPTH} elements")
        self._stack.append((self._fields, self._target, found, shape, None))
        if shape.array is not None:
            value: Any = shape.array()
            self._target = {"items": value}
        elif shape.bare or shape is _UNKNOWN:
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
        self._fields = shape.table or _table(shape)
        if shape.cls is _Level:
            self._enter(found.name, tag)

    def _enter(self, name: str, tag: str) -> None:
        """A level of the envelope began."""

    def _end(self, _tag: str) -> None:
        chars = self._chars
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
            if found.shape is not _ANY and isinstance(value, VmomiSupport.Array):
                self._target[found.name].extend(value)
            elif value is not None:
                self._target[found.name].append(value)
        else:
            self._target[found.name] = value

    def _dynamic(self, shape: _Shape, kind: str) -> tuple[_Shape, str | None]:
        """The shape an xsi:type asks for, and the type's name if nobody knows it."""
        prefix, _, name = kind.rpartition(":")
        bound = self._prefixes.get(prefix or None)
        namespace = bound[-1] if bound else self.home
        cls = _class_named(namespace, name, self.home)
        declared = shape.cls
        if cls is None:
            return (_UNKNOWN if declared is object else shape), name
        if declared is object:
            if issubclass(cls, list):
                return _array_shape(cls), None
            return (_bare_shape(cls) if issubclass(cls, DataObject) else _shape_of(cls)), None
        if issubclass(cls, list):
            return _array_shape(cls), None
        if issubclass(declared, ManagedObject):
            return shape, None
        if cls is LocalizedMethodFault and declared is _Wrapped:
            return shape, None
        expected = MethodFault if declared is _Wrapped or issubclass(declared, MethodFault) else declared
        if not issubclass(cls, expected):
            raise ProtocolError(f"{name} where a {expected.__name__} belongs")
        return _bare_shape(cls), None

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


class _Level:
    """A level of the envelope while it is being read; its attributes are what was found below it."""


def _level(fields: Mapping[str, _Field], fallback: _Field | None = None) -> _Shape:
    shape = _Shape(_Level)
    shape.table = _Table(fields, fallback)
    return shape


# -- requests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """A call as it came in. ``method`` is None for a name the API does not have; ``args`` then is empty.

    ``args`` has every parameter of the method: those that did not come are None, or an empty array.
    """

    namespace: str
    name: str
    method: Method | None
    this_type: str
    this_id: str
    args: Mapping[str, Any] = field(default_factory=dict)
    operation_id: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """Required parameters that did not come."""
        if self.method is None:
            return ()
        return tuple(
            param.name
            for param in self.method.params
            if not param.optional and not param.many and self.args.get(param.name) is None
        )


_REQUEST = _Table(
    {
        "Envelope": _Field(
            "Envelope",
            _level(
                {
                    "Header": _Field("Header", _level({"operationID": _Field("operationID", _TEXT)})),
                    "Body": _Field("Body", _level({}, _Field("call", _level({})))),
                }
            ),
        )
    }
)

_THIS = _Field("_this", _shape_of(ManagedObject))
_FETCH = _Table({"_this": _THIS, "prop": _Field("prop", _TEXT)})


@functools.lru_cache(maxsize=4096)
def _call_table(method: Method) -> _Table:
    return _Table({"_this": _THIS, **{param.name: _field(param) for param in method.params}})


class RequestDecoder(_Tree):
    """Feed it the body of a POST, then ``close``."""

    def __init__(self, *, limit: int = MAX_REQUEST) -> None:
        super().__init__(_REQUEST, limit=limit)
        self._name = ""
        self._method: Method | None = None
        self._args: dict[str, Any] | None = None

    def _enter(self, name: str, tag: str) -> None:
        if name != "call":
            return
        if self._args is not None:
            raise ProtocolError("the body has more than one call")
        namespace, _, self._name = tag.rpartition(" ")
        self.home = namespace
        self._args = self._target
        if self._name == "Fetch":
            self._fields = _FETCH
            return
        self._method = find_method(namespace, self._name)
        if self._method is None:
            self._fields = _Table({"_this": _THIS})
            return
        self._fields = _call_table(self._method)
        for param in self._method.params:
            self._target[param.name] = param.type() if param.many else None

    def close(self) -> Request:
        """The call. Raises ProtocolError when the document is not a whole SOAP request."""
        self._finish()
        args = self._args
        if args is None:
            raise ProtocolError("the document has no SOAP call")
        this = args.pop("_this", None)
        if this is None:
            raise ProtocolError(f"the call of {self._name} does not say on which object")
        if self._name == "Fetch":
            self._method = _fetch(type(this), str(args.get("prop", "")))
        header = self.found["Envelope"].__dict__.get("Header")
        return Request(
            namespace=self.home,
            name=self._name,
            method=self._method,
            this_type=this.__dict__.get("_unknown_type") or VmomiSupport.GetWsdlName(type(this)),
            this_id=this._moId,
            args=args,
            operation_id=getattr(header, "operationID", ""),
        )


def _fetch(cls: Any, path: str) -> Method | None:
    """None for a property the type does not have: to be answered as an unknown method is."""
    try:
        return fetch_method(cls, path)
    except KeyError:
        return None


# -- responses ------------------------------------------------------------------------------------------------------


class _Detail(_Table):
    """``<XFault xsi:type="X">``: where the attribute is missing, the element's own name says the type."""

    def __missing__(self, tag: str) -> _Field | None:
        namespace, _, local = tag.rpartition(" ")
        name = local.removesuffix("Fault")
        cls = _class_named(namespace, name, VIM)
        if cls is not None and issubclass(cls, MethodFault):
            return _Field("fault", _Shape(cls, bare=True))

        def keep_name(value: Any, _text: str) -> Any:
            value.__dict__.setdefault("_unknown_type", name)
            return value

        return _Field("fault", _Shape(MethodFault, bare=True, finish=keep_name))


_DETAIL = _Shape(_Level)
_DETAIL.table = _Detail({})
_FAULT = _level(
    {
        "faultcode": _Field("faultcode", _TEXT),
        "faultstring": _Field("faultstring", _TEXT),
        "detail": _Field("detail", _DETAIL),
    }
)


@functools.lru_cache(maxsize=4096)
def _response_table(method: Method) -> _Table:
    result = method.result
    many = result is not object and issubclass(result, list)
    fields = {} if result is type(None) else {"returnval": _Field("returnval", _shape_of(result), many=many)}
    body = _level({"Fault": _Field("Fault", _FAULT)}, _Field("response", _level(fields)))
    return _Table({"Envelope": _Field("Envelope", _level({"Body": _Field("Body", body)}))})


class ResponseDecoder(_Tree):
    """Feed it the body of an answer to ``method``, then ``close``."""

    def __init__(self, method: Method, *, limit: int = MAX_RESPONSE) -> None:
        super().__init__(_response_table(method), limit=limit)
        self._result = method.result
        self.home = method.namespace
        self._seen = False

    def _enter(self, name: str, tag: str) -> None:
        if name == "response":
            if not tag.endswith("Response"):
                raise ProtocolError(f"an answer begins with {tag.rpartition(' ')[2]!r}")
            self._seen = True
            if self._result is not object and issubclass(self._result, list):
                self._target["returnval"] = self._result()

    def close(self) -> Any:
        """The result: a value, an array, or None. Raises SoapFault for a fault, ProtocolError for anything broken."""
        self._finish()
        envelope = self.found.get("Envelope")
        body = getattr(envelope, "Body", None)
        fault = getattr(body, "Fault", None)
        if fault is not None:
            raise self._fault(fault)
        if not self._seen:
            raise ProtocolError("the document has no SOAP answer")
        return getattr(body.response, "returnval", None)  # type: ignore[union-attr]

    @staticmethod
    def _fault(fault: Any) -> SoapFault:
        message = getattr(fault, "faultstring", "") or ""
        value = getattr(getattr(fault, "detail", None), "fault", None)
        if value is None:
            value = new(vmodl.RuntimeFault)
        value.__dict__["msg"] = message
        return SoapFault(value, message)
