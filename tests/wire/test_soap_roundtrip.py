"""Our codec against pyVmomi's own serializer and deserializer, over random values of all types of the API."""

from __future__ import annotations

import dataclasses
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyVmomi import SoapAdapter, VmomiSupport, vim, vmodl

from contrail_vsphere.wire.soap.decode import RequestDecoder, ResponseDecoder
from contrail_vsphere.wire.soap.encode import encode_fault, encode_request, encode_response
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import find_method, is_optional, method_of
from contrail_vsphere.wire.soap.versions import EAM, VERSIONS, VIM

NEWEST = {"vim": VERSIONS[VIM].newest, "eam": VERSIONS[EAM].newest}
SOURCES = ("vim.", "vmodl.", "eam.")


def foreign(prop: Any) -> bool:
    """VSAN adds types and properties of its own to those of vim; it is not a service of ours."""
    kind = getattr(prop.type, "Item", prop.type)
    return not prop.version.startswith(SOURCES) or not getattr(kind, "_version", "vim.").startswith(SOURCES)


def data_types() -> list[Any]:
    names = [name for name in VmomiSupport.ListDataTypes() if name.startswith(SOURCES)]
    skipped = {"vmodl.DataObject", "DataObject", "vmodl.LocalizedMethodFault"}
    kinds = [VmomiSupport.GetVmodlType(name) for name in sorted(names) if name not in skipped]
    ours = [kind for kind in kinds if kind._version.startswith(SOURCES)]
    return [kind for kind in ours if not any(foreign(prop) for prop in kind._GetPropertyList())]


TYPES = data_types()
FAULTS = [kind for kind in TYPES if issubclass(kind, vmodl.MethodFault)]
VIM_FAULTS = [kind for kind in FAULTS if not kind.__name__.startswith("eam.")]
REFERENCES = [
    kind
    for kind in map(VmomiSupport.GetVmodlType, sorted(VmomiSupport.ListManagedTypes()))
    if kind.__name__.startswith(("vim.", "eam.")) and kind._version.startswith(SOURCES)
]
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=6)


def references(declared: Any) -> st.SearchStrategy[Any]:
    fitting = [kind for kind in REFERENCES if issubclass(kind, declared)]
    return st.builds(lambda kind, n: kind(f"id-{n}"), st.sampled_from(fitting or [declared]), st.integers(1, 99))


def values(declared: Any, depth: int) -> st.SearchStrategy[Any]:
    if declared is object:
        return st.one_of(TEXT, st.booleans(), st.integers(-9, 9), references(VmomiSupport.ManagedObject))
    if issubclass(declared, list):
        return st.lists(values(declared.Item, depth), min_size=1, max_size=2)
    if declared is bool:
        return st.booleans()
    if issubclass(declared, VmomiSupport.Enum):
        return st.sampled_from(declared.values)
    if declared is type:
        return st.sampled_from([vim.VirtualMachine, vim.HostSystem])
    if declared is VmomiSupport.ManagedMethod:
        return st.just(vim.VirtualMachine.PowerOn)
    if issubclass(declared, VmomiSupport.byte):
        return st.integers(-128, 127).map(declared)
    if issubclass(declared, int):
        return st.integers(-(2**31), 2**31 - 1).map(declared)
    if issubclass(declared, float):
        return st.floats(-1e6, 1e6, width=32).map(declared)
    if issubclass(declared, bytes):
        return st.binary(max_size=5).map(declared)
    if issubclass(declared, datetime):
        return st.integers(0, 10**9).map(lambda s: datetime(2001, 2, 3, tzinfo=UTC) + timedelta(seconds=s))
    if issubclass(declared, str):
        return TEXT.map(declared)
    if issubclass(declared, VmomiSupport.ManagedObject):
        return references(declared)
    if issubclass(declared, vmodl.MethodFault):
        return st.sampled_from(VIM_FAULTS).flatmap(lambda kind: objects(kind, depth - 1))
    return objects(declared, depth - 1)


@st.composite
def objects(draw: st.DrawFn, kind: Any, depth: int = 3) -> Any:
    fields = {}
    for prop in kind._GetPropertyList():
        if prop.name in ("dynamicProperty", "dynamicType", "faultCause", "faultMessage") or prop.flags & 1:
            continue
        required = not is_optional(prop.flags)
        if prop.name == "self" or (foreign(prop) and not required):  # the bindings cannot take "self"
            continue
        if prop.name == "msg" or not (required or (depth > 0 and draw(st.integers(0, 3)) == 0)):
            continue
        if required and depth < -8:
            continue
        fields[prop.name] = draw(values(prop.type, depth))
    return kind(**fields)


def service(kind: Any) -> str:
    return "eam" if kind.__name__.startswith("eam.") else "vim"


def answering(kind: Any, declared: Any) -> Any:
    base = find_method("urn:eam" if service(kind) == "eam" else "urn:vim25", "QueryIssue") or method_of(
        vim.ServiceInstance, "RetrieveContent"
    )
    return dataclasses.replace(base, result=declared)


def pyvmomi_answer(method: Any, value: Any, version: str) -> bytes:
    writer = io.StringIO()
    names = {**SoapAdapter.SOAP_NSMAP, method.namespace: ""}
    serializer = SoapAdapter.SoapSerializer(writer, version, names)
    serializer.outermostAttrs = ""
    info = VmomiSupport.Object(name="returnval", type=method.result, version=method.version, flags=0)
    serializer.Serialize(value, info)
    head = f'{SoapAdapter.SOAP_START}<{method.name}Response xmlns="{method.namespace}">'
    return f"{head}{writer.getvalue()}</{method.name}Response>{SoapAdapter.SOAP_END}".encode()


def pyvmomi_reads(data: bytes, declared: Any) -> Any:
    return SoapAdapter.SoapResponseDeserializer(None).Deserialize(data, declared)


def we_read(data: bytes, method: Any, *, piece: int = 0) -> Any:
    decoder = ResponseDecoder(method)
    for at in range(0, len(data), piece or len(data)):
        decoder.feed(data[at : at + (piece or len(data))])
    return decoder.close()


RELAXED = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@RELAXED
@given(data=st.data())
def test_any_data_object_travels_as_pyvmomi_would_have_it(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(TYPES))
    value = data.draw(objects(kind))
    version = NEWEST[service(kind)]
    declared = data.draw(st.sampled_from([kind, object]))
    method = answering(kind, declared)
    theirs = pyvmomi_answer(method, value, version)
    ours = encode_response(method, value, version=version)
    wanted = str(pyvmomi_reads(theirs, declared))
    assert str(pyvmomi_reads(ours, declared)) == wanted
    assert str(we_read(ours, method)) == wanted
    assert str(we_read(theirs, method, piece=data.draw(st.integers(1, 200)))) == wanted


@RELAXED
@given(data=st.data())
def test_every_version_drops_what_pyvmomi_drops(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([kind for kind in TYPES if not issubclass(kind, vmodl.MethodFault)]))
    value = data.draw(objects(kind, 2))
    namespace = EAM if service(kind) == "eam" else VIM
    version = data.draw(st.sampled_from(sorted(VERSIONS[namespace].by_id.values())))
    method = answering(kind, object)
    ours = encode_response(method, value, version=version)
    theirs = pyvmomi_answer(method, value, version)
    assert str(pyvmomi_reads(ours, object)) == str(pyvmomi_reads(theirs, object))


@RELAXED
@given(data=st.data())
def test_any_fault_arrives_at_pyvmomi_and_at_us(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(FAULTS))
    fault = data.draw(objects(kind))
    method = method_of(vim.ServiceInstance, "RetrieveContent")
    sent = encode_fault(SoapFault(fault, "because"), version=NEWEST[service(kind)], namespace=method.namespace)
    wanted = pyvmomi_reads(sent, object)
    assert type(wanted) is kind
    assert wanted.msg == "because"
    with pytest.raises(SoapFault) as caught:
        we_read(sent, method)
    assert str(caught.value.fault) == str(wanted)
    assert caught.value.message == "because"


METHODS = [
    method
    for namespace, name in sorted(VmomiSupport._wsdlMethodMap)
    if namespace in (VIM, EAM)
    and (method := find_method(namespace, name)) is not None
    and method.version.startswith(SOURCES)
    and not any(foreign(param) for param in method.params)
]


@RELAXED
@given(data=st.data())
def test_any_call_is_read_back_as_it_was_made(data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(METHODS))
    version = NEWEST["eam" if method.namespace == EAM else "vim"]
    args = {
        param.name: data.draw(values(param.type, 2))
        for param in method.params
        if not param.optional or data.draw(st.booleans())
    }
    this = method.info.type("object-1")
    body = encode_request(method, this, args, version=version, operation_id="op-1")
    decoder = RequestDecoder()
    decoder.feed(body)
    request = decoder.close()
    assert request.method is method
    assert request.this_id == "object-1"
    assert request.operation_id == "op-1"
    assert not request.missing
    for param in method.params:
        if param.name in args:
            info = VmomiSupport.Object(name="", type=param.type, flags=param.flags)
            shown = VmomiSupport.FormatObject(request.args[param.name], info)
            assert shown == VmomiSupport.FormatObject(args[param.name], info)
        else:
            assert not request.args[param.name]


def pyvmomi_request(method: Any, this: Any, args: list[Any], version: str) -> bytes:
    stub = SoapAdapter.SoapStubAdapter(host="nowhere", version=version)
    return stub.SerializeRequest(this, method.info, args)


@RELAXED
@given(data=st.data())
def test_calls_of_pyvmomi_are_understood(data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(METHODS))
    version = NEWEST["eam" if method.namespace == EAM else "vim"]
    args = [None if p.optional and data.draw(st.booleans()) else data.draw(values(p.type, 2)) for p in method.params]
    body = pyvmomi_request(method, method.info.type("object-1"), args, version)
    decoder = RequestDecoder()
    decoder.feed(body if isinstance(body, bytes) else body.encode())
    request = decoder.close()
    assert request.method is method
    for param, value in zip(method.params, args, strict=True):
        if value is not None:
            info = VmomiSupport.Object(name="", type=param.type, flags=param.flags)
            assert VmomiSupport.FormatObject(request.args[param.name], info) == VmomiSupport.FormatObject(value, info)
