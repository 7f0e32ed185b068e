"""XML to calls and answers: one expat pass over a SOAP envelope.

DTDs are refused, depth and size bounded: nobody's XML may cost more than its bytes.
"""

from __future__ import annotations

import functools
import xml.parsers.expat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.model.errors import MalformedXml, ProtocolError
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.machine import Machine
from contrail_vsphere.wire.soap.metadata import VIM, Method, fetch_method, find_method
from contrail_vsphere.wire.soap.shapes import (
    TEXT,
    Field,
    Level,
    ManagedObject,
    MethodFault,
    Shape,
    Table,
    class_named,
    field_for,
    level,
    shape_of,
)
from contrail_vsphere.wire.soap.types import vmodl
from contrail_vsphere.wire.soap.values import new

__all__ = ["EachDecoder", "Request", "RequestDecoder", "ResponseDecoder", "new_parser"]

MAX_REQUEST = 64 << 20
MAX_RESPONSE = 1 << 30


def new_parser() -> Any:
    """An expat parser for messages of strangers: names with their namespace, text in one piece, no DTD."""
    parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.buffer_size = 1 << 16
    parser.StartDoctypeDeclHandler = _refuse
    return parser


def _refuse(*_: object) -> None:
    raise ProtocolError("the message has a DTD")


class _Document(Machine):
    """A machine with a parser of its own. Subclasses give the table of the envelope and take what was found."""

    def __init__(self, envelope: Table, *, limit: int) -> None:
        super().__init__(envelope)
        self._limit = limit
        self._fed = 0
        parser = self._parser = new_parser()
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.chars.append
        parser.StartNamespaceDeclHandler = self.declare
        parser.EndNamespaceDeclHandler = self.undeclare

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises ProtocolError as soon as they cannot be right."""
        self._fed += len(data)
        if self._fed > self._limit:
            raise ProtocolError(f"the message is larger than {self._limit >> 20} MiB")
        self._parse(data, last=False)

    def _finish(self) -> None:
        try:
            self._parse(b"", last=True)
        finally:
            del self._parser  # it and we refer to each other: no need to wait for the garbage collector

    def _parse(self, data: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except xml.parsers.expat.ExpatError as error:
            raise MalformedXml(f"the message is not XML: {error}") from error


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


_REQUEST = Table(
    {
        "Envelope": Field(
            "Envelope",
            level(
                {
                    "Header": Field("Header", level({"operationID": Field("operationID", TEXT)})),
                    "Body": Field("Body", level({}, Field("call", level({})))),
                }
            ),
        )
    }
)

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/ "
_THIS = Field("_this", shape_of(ManagedObject))
_FETCH = Table({"_this": _THIS, "prop": Field("prop", TEXT)})


@functools.lru_cache(maxsize=4096)
def _call_table(method: Method) -> Table:
    return Table({"_this": _THIS, **{param.name: field_for(param) for param in method.params}})


class RequestDecoder(_Document):
    """Feed it the body of a POST, then ``close``."""

    def __init__(self, *, limit: int = MAX_REQUEST) -> None:
        super().__init__(_REQUEST, limit=limit)
        self._name = ""
        self._method: Method | None = None
        self._args: dict[str, Any] | None = None

    def _enter(self, name: str, tag: str) -> None:
        if name == "Envelope" and not tag.startswith(_SOAP):
            raise ProtocolError("the document is no SOAP 1.1 envelope")
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
            self._fields = Table({"_this": _THIS})
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


class _Detail(Table):
    """``<XFault xsi:type="X">``: where the attribute is missing, the element's own name says the type."""

    def __missing__(self, tag: str) -> Field | None:
        namespace, _, local = tag.rpartition(" ")
        name = local.removesuffix("Fault")
        cls = class_named(namespace, name, VIM)
        if cls is not None and issubclass(cls, MethodFault):
            return Field("fault", Shape(cls, bare=True))

        def keep_name(value: Any, _text: str) -> Any:
            value.__dict__.setdefault("_unknown_type", name)
            return value

        return Field("fault", Shape(MethodFault, bare=True, finish=keep_name))


_DETAIL = Shape(Level)
_DETAIL.table = _Detail({})
_FAULT = level(
    {
        "faultcode": Field("faultcode", TEXT),
        "faultstring": Field("faultstring", TEXT),
        "detail": Field("detail", _DETAIL),
    }
)


@functools.lru_cache(maxsize=4096)
def _response_table(method: Method) -> Table:
    result = method.result
    many = result is not object and issubclass(result, list)
    fields = {} if result is type(None) else {"returnval": Field("returnval", shape_of(result), many=many)}
    body = level({"Fault": Field("Fault", _FAULT)}, Field("response", level(fields)))
    return Table({"Envelope": Field("Envelope", level({"Body": Field("Body", body)}))})


class ResponseDecoder(_Document):
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


class EachDecoder(ResponseDecoder):
    """For answers that are long arrays: keeps what ``each`` makes of every element, and never all elements at once."""

    def __init__(self, method: Method, each: Callable[[Any], Any], *, limit: int = MAX_RESPONSE) -> None:
        super().__init__(method, limit=limit)
        self._each = each

    def _enter(self, name: str, tag: str) -> None:
        super()._enter(name, tag)
        if name == "response":
            self._target["returnval"] = _Made(self._each)


class _Made(list[Any]):
    """Takes elements, keeps what is made of them."""

    def __init__(self, each: Callable[[Any], Any]) -> None:
        super().__init__()
        self._each = each

    def append(self, value: Any) -> None:
        super().append(self._each(value))
