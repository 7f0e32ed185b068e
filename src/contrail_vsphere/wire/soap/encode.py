"""Calls, answers, faults and single properties as XML; the writers behind them are in ``writers``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from contrail_vsphere.wire.soap import scalars
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import VIM, Method, namespace_of
from contrail_vsphere.wire.soap.values import Raw
from contrail_vsphere.wire.soap.versions import includes
from contrail_vsphere.wire.soap.writers import (
    DataObject,
    ManagedObject,
    MethodFault,
    Writer,
    compatible,
    field_writer,
    fields_of,
    reference_type,
    typed_any,
    write_fields,
)

__all__ = ["Raw", "encode_fault", "encode_property", "encode_request", "encode_response", "escape"]

escape = scalars.escape

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
)
_TAIL = "</soapenv:Body></soapenv:Envelope>"


def encode_request(
    method: Method, this: Any, args: Mapping[str, Any], *, version: str, operation_id: str = ""
) -> bytes:
    """A call. ``this`` is a reference (or has one as ``.ref``); arguments that are None are left out.

    Raises TypeError for an argument the method does not have or of another type, and for a required one left out.
    """
    unknown = args.keys() - method.by_name.keys()
    if unknown:
        raise TypeError(f"{method.name} has no parameter {', '.join(sorted(unknown))}")
    parts = [_HEAD]
    if operation_id:
        parts.append(f"<soapenv:Header><operationID>{escape(operation_id)}</operationID></soapenv:Header>")
    parts.append(f'<soapenv:Body><{method.name} xmlns="{method.namespace}">')
    ref = this if isinstance(this, ManagedObject) else this.ref
    parts.append(f'<_this type="{reference_type(ref)}">{escape(ref._moId)}</_this>')
    for name, write, required in _parameters(method, version):
        value = args.get(name)
        if value is not None:
            write(parts.append, value)
        elif required:
            raise TypeError(f"{method.name} requires {name}")
    parts.append(f"</{method.name}>{_TAIL}")
    return "".join(parts).encode()


def encode_response(method: Method, result: Any, *, version: str) -> bytes:
    """The answer to a call; TypeError when the method must return something and there is nothing."""
    parts = [_HEAD, f'<soapenv:Body><{method.name}Response xmlns="{method.namespace}">']
    if result is not None:
        _returnval(method, version)(parts.append, result)
    elif not method.result_optional and method.result is not type(None) and not issubclass(method.result, list):
        raise TypeError(f"{method.name} must return {method.result.__name__}")
    parts.append(f"</{method.name}Response>{_TAIL}")
    return "".join(parts).encode()


def encode_fault(fault: SoapFault, *, version: str, namespace: str = VIM) -> bytes:
    """The body of an HTTP 500. The detail's namespace is that of the fault's own type, not of the endpoint."""
    value = fault.fault
    kind: Any = type(value)
    cls = compatible(kind, version)
    if not issubclass(cls, DataObject):
        cls = MethodFault
    name = value.__dict__.get("_unknown_type") or cls._wsdlName
    home = namespace if "_unknown_type" in value.__dict__ else namespace_of(cls._version)
    message = escape(fault.message or name)
    parts = [
        f"{_HEAD}<soapenv:Body><soapenv:Fault><faultcode>ServerFaultCode</faultcode>"
        f'<faultstring>{message}</faultstring><detail><{name}Fault xmlns="{home}" xsi:type="{name}">'
    ]
    # The message travels as faultstring; pyVmomi and vCenter leave it out of the detail.
    write_fields(fields_of(cls, version, home), parts.append, {**value.__dict__, "msg": None}, cls)
    parts.append(f"</{name}Fault></detail></soapenv:Fault>{_TAIL}")
    return "".join(parts).encode()


def encode_property(path_type: Any, value: Any, *, version: str, name: str = "val", namespace: str = VIM) -> str:
    """One ``<val xsi:type="...">`` element, of the type the property path is declared with.

    That type decides: a plain list travels as its ArrayOf, a plain string as its enum, an int as its long. None is a
    TypeError: an unset property is not sent at all.
    """
    if value is None:
        raise TypeError("an unset property has no value to send")
    parts: list[str] = []
    typed_any(name, path_type, version, namespace)(parts.append, value)
    return "".join(parts)


@functools.lru_cache(maxsize=8192)
def _parameters(method: Method, version: str) -> tuple[tuple[str, Writer, bool], ...]:
    return tuple(
        (
            param.name,
            field_writer(param.name, param.type, version, method.namespace, ""),
            not param.optional and not param.many,
        )
        for param in method.params
        if includes(version, param.version)
    )


@functools.lru_cache(maxsize=8192)
def _returnval(method: Method, version: str) -> Writer:
    if method.fetch:
        return typed_any("returnval", method.result, version, method.namespace)
    return field_writer("returnval", method.result, version, method.namespace, "")
