"""What goes wrong on real SOAP wires, one test each (the pitfalls of vSphere and EAM clients and servers)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pyVmomi import SoapAdapter, VmomiSupport, eam, vim, vmodl

from contrail_vsphere.model.errors import MalformedXml, ProtocolError
from contrail_vsphere.wire.soap.decode import Request, RequestDecoder, ResponseDecoder
from contrail_vsphere.wire.soap.encode import (
    Raw,
    encode_fault,
    encode_property,
    encode_request,
    encode_response,
)
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import fetch_method, find_method, method_of, property_type
from contrail_vsphere.wire.soap.types import wsdl_name
from contrail_vsphere.wire.soap.values import build
from contrail_vsphere.wire.soap.versions import (
    EAM,
    VERSIONS,
    VIM,
    eam_version_for,
    newest_common,
    parse_versions,
    render_versions,
    soap_action,
    version_of,
)

V8 = "vim.version.v8_0_3_0"
EAM83 = "eam.version.version8_3"
PC = vmodl.query.PropertyCollector
RETRIEVE = method_of(PC, "RetrievePropertiesEx")
ENVELOPE = (
    '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><e:Body>%s</e:Body></e:Envelope>'
)


class Simulated:
    """Stands for a simulator entity: anything with a ``ref``."""

    @property
    def ref(self) -> Any:
        return vim.HostSystem("host-9")


def read_request(body: str) -> Request:
    decoder = RequestDecoder()
    decoder.feed((ENVELOPE % body).encode())
    return decoder.close()


def read_answer(method: Any, body: str) -> Any:
    decoder = ResponseDecoder(method)
    decoder.feed((ENVELOPE % body).encode())
    return decoder.close()


def retrieved(value: str) -> Any:
    """The value of one property of one object, as RetrievePropertiesEx would bring it."""
    body = (
        '<RetrievePropertiesExResponse xmlns="urn:vim25"><returnval><objects><obj type="VirtualMachine">vm-1</obj>'
        f"<propSet><name>p</name>{value}</propSet></objects></returnval></RetrievePropertiesExResponse>"
    )
    return read_answer(RETRIEVE, body).objects[0].propSet[0].val


def shown(path: str, value: Any, wsdl: str = "VirtualMachine") -> str:
    return encode_property(property_type(wsdl, path), value, version=V8)


# -- values inside Any ------------------------------------------------------------------------------------------------


def test_a_reference_in_any_says_that_it_is_one() -> None:
    wanted = '<val xsi:type="ManagedObjectReference" type="HostSystem">host-9</val>'
    assert shown("runtime.host", vim.HostSystem("host-9")) == wanted
    assert shown("runtime.host", Simulated()) == wanted


def test_arrays_in_any_name_their_items_by_the_item_type() -> None:
    disk = vim.vm.device.VirtualDisk(key=2000, capacityInKB=1)
    text = shown("config.hardware.device", [disk])
    assert text.startswith('<val xsi:type="ArrayOfVirtualDevice"><VirtualDevice xsi:type="VirtualDisk"><key>2000</key>')
    references = shown("datastore", [vim.Datastore("datastore-1"), Simulated()])
    assert references == (
        '<val xsi:type="ArrayOfManagedObjectReference"><ManagedObjectReference type="Datastore">datastore-1'
        '</ManagedObjectReference><ManagedObjectReference type="HostSystem">host-9</ManagedObjectReference></val>'
    )
    assert shown("datastore", []) == '<val xsi:type="ArrayOfManagedObjectReference"></val>'


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("runtime.powerState", "poweredOn", "VirtualMachinePowerState"),
        ("config.hardware.memoryMB", 4, "xsd:int"),
        ("summary.storage.committed", 4, "xsd:long"),
        ("config.template", True, "xsd:boolean"),
        ("name", "x", "xsd:string"),
    ],
)
def test_the_declared_type_decides_what_a_plain_value_is(path: str, value: Any, kind: str) -> None:
    assert f'xsi:type="{kind}"' in shown(path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("runtime.powerState", "on"),
        ("config.hardware.memoryMB", "4"),
        ("config.template", 1),
        ("name", 5),
        ("name", None),
        ("runtime.host", "host-1"),
        ("datastore", "datastore-1"),
        ("config.hardware.device", [vim.AboutInfo()]),
    ],
)
def test_a_value_of_the_wrong_type_is_a_type_error(path: str, value: Any) -> None:
    with pytest.raises(TypeError):
        shown(path, value)


def test_times_are_utc_and_naive_ones_are_refused() -> None:
    east = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert "2026-01-01T00:00:00Z" in shown("runtime.bootTime", east)
    with pytest.raises(TypeError, match="time zone"):
        shown("runtime.bootTime", east.replace(tzinfo=None))
    assert retrieved('<val i:type="xsd:dateTime">2026-01-01T00:00:00</val>').tzinfo is UTC


def test_scalar_classes_survive_any_in_both_directions() -> None:
    long = retrieved('<val i:type="xsd:long">5</val>')
    assert type(long) is VmomiSupport.long
    assert encode_property(object, long, version=V8) == '<val xsi:type="xsd:long">5</val>'
    assert 'xsi:type="xsd:long"' in encode_property(object, 2**40, version=V8)


def test_prepared_fragments_are_written_as_they_are() -> None:
    fragment = Raw('<val xsi:type="xsd:string">x</val>')
    content = build(
        PC.ObjectContent, obj=Simulated(), propSet=[build(vmodl.DynamicProperty, name="name", val=fragment)]
    )
    data = encode_response(RETRIEVE, build(PC.RetrieveResult, objects=[content]), version=V8)
    assert b'<name>name</name><val xsi:type="xsd:string">x</val></propSet>' in data
    whole = build(PC.RetrieveResult, objects=[Raw("<objects><obj/></objects>")])
    assert b"<returnval><objects><obj/></objects></returnval>" in encode_response(RETRIEVE, whole, version=V8)


# -- what a server may send that pyVmomi does not survive -------------------------------------------------------------


def test_prefixes_do_not_matter() -> None:
    body = (
        '<v:RetrievePropertiesExResponse xmlns:v="urn:vim25" xmlns:_X="http://www.w3.org/2001/XMLSchema-instance">'
        '<v:returnval><v:objects><v:obj type="v:VirtualMachine">vm-1</v:obj><v:propSet><v:name>n</v:name>'
        '<v:val _X:type="v:VirtualMachinePowerState">poweredOn</v:val></v:propSet></v:objects></v:returnval>'
        "</v:RetrievePropertiesExResponse>"
    )
    content = read_answer(RETRIEVE, body).objects[0]
    assert content.obj == vim.VirtualMachine("vm-1")
    assert content.propSet[0].val == "poweredOn"
    assert type(content.propSet[0].val) is vim.VirtualMachine.PowerState


def test_an_unknown_type_becomes_the_declared_one_and_keeps_its_name() -> None:
    method = method_of(eam.EamObject, "QueryIssue")
    body = (
        '<QueryIssueResponse xmlns="urn:eam"><returnval i:type="VmOnFire"><key>7</key><description>hot</description>'
        "<time>2026-01-01T00:00:00Z</time><degrees><celsius>900</celsius></degrees></returnval>"
        '<returnval i:type="PersonalityAgencyPMUnavailable"><key>8</key><description>x</description>'
        "<time>2026-01-01T00:00:00Z</time></returnval></QueryIssueResponse>"
    )
    fire, other = read_answer(method, body)
    assert (wsdl_name(fire), fire.key, fire.description) == ("VmOnFire", 7, "hot")
    assert isinstance(fire, eam.issue.Issue)
    assert other.key == 8
    assert b'<returnval xsi:type="VmOnFire"><key>7</key>' in encode_response(method, [fire], version=EAM83)


def test_unknown_types_in_any_are_no_error() -> None:
    assert retrieved('<val i:type="NewEnum">bright</val>') == "bright"
    value = retrieved('<val i:type="NewThing"><a>1</a></val>')
    assert wsdl_name(value) == "NewThing"
    nic = '<VirtualDevice i:type="VirtualVmxnet9"><key>4000</key></VirtualDevice>'
    device = retrieved(f'<val i:type="ArrayOfVirtualDevice">{nic}</val>')[0]
    assert (type(device), device.key, wsdl_name(device)) == (vim.vm.device.VirtualDevice, 4000, "VirtualVmxnet9")


def test_unknown_reference_types_and_enum_values_survive() -> None:
    ref = retrieved('<val i:type="ManagedObjectReference" type="Gadget">gadget-1</val>')
    assert (wsdl_name(ref), ref._moId) == ("Gadget", "gadget-1")
    assert 'type="Gadget">gadget-1' in encode_property(object, ref, version=V8)
    state = retrieved('<val i:type="VirtualMachinePowerState">dreaming</val>')
    assert state == "dreaming"
    assert ">dreaming<" in encode_property(vim.VirtualMachine.PowerState, state, version=V8)


def test_unknown_elements_are_skipped() -> None:
    body = (
        '<CurrentTimeResponse xmlns="urn:vim25"><extra><returnval>x</returnval></extra>'
        "<returnval>2026-01-01T00:00:00Z</returnval></CurrentTimeResponse>"
    )
    assert read_answer(method_of(vim.ServiceInstance, "CurrentTime"), body) == datetime(2026, 1, 1, tzinfo=UTC)


def test_empty_elements_for_unset_properties_are_unset() -> None:
    assert retrieved('<val i:type="VirtualMachinePowerState"></val>') is None
    assert retrieved('<val i:type="xsd:int"/>') is None
    assert retrieved('<val i:type="xsd:string" i:nil="true"/>') is None


def test_no_result_and_empty_arrays_are_no_fault() -> None:
    wait = method_of(PC, "WaitForUpdatesEx")
    assert read_answer(wait, '<WaitForUpdatesExResponse xmlns="urn:vim25"></WaitForUpdatesExResponse>') is None
    assert encode_response(wait, None, version=V8).count(b"returnval") == 0
    query = method_of(eam.EsxAgentManager, "QueryAgency")
    assert read_answer(query, '<QueryAgencyResponse xmlns="urn:eam"/>') == []
    assert encode_response(query, [], version=EAM83).count(b"returnval") == 0
    void = find_method(EAM, "Uninstall")
    assert void is not None
    assert read_answer(void, '<UninstallResponse xmlns="urn:eam"/>') is None


def test_one_item_answers_of_array_methods_are_arrays() -> None:
    query = method_of(eam.EsxAgentManager, "QueryAgency")
    answer = read_answer(
        query, '<QueryAgencyResponse xmlns="urn:eam"><returnval type="Agency">a-1</returnval></QueryAgencyResponse>'
    )
    assert [agency._moId for agency in answer] == ["a-1"]


# -- faults -----------------------------------------------------------------------------------------------------------


def read_fault(data: bytes, method: Any = RETRIEVE) -> SoapFault:
    decoder = ResponseDecoder(method)
    decoder.feed(data)
    with pytest.raises(SoapFault) as caught:
        decoder.close()
    return caught.value


def test_a_fault_travels_under_its_wire_name_in_its_own_namespace() -> None:
    gone = SoapFault(vmodl.fault.ManagedObjectNotFound(obj=vim.VirtualMachine("vm-9")), "object is gone")
    data = encode_fault(gone, version=V8, namespace=VIM)
    assert b"<faultcode>ServerFaultCode</faultcode><faultstring>object is gone</faultstring><detail>" in data
    assert (
        b'<ManagedObjectNotFoundFault xmlns="urn:vim25" xsi:type="ManagedObjectNotFound">'
        b'<obj type="VirtualMachine">vm-9</obj></ManagedObjectNotFoundFault>'
    ) in data
    login = encode_fault(SoapFault(eam.fault.InvalidLogin()), version=EAM83, namespace=EAM)
    assert b'<EamInvalidLoginFault xmlns="urn:eam" xsi:type="EamInvalidLogin">' in login
    inside_eam = encode_fault(gone, version=EAM83, namespace=EAM)
    assert b'<ManagedObjectNotFoundFault xmlns="urn:vim25"' in inside_eam
    assert read_fault(inside_eam).fault.obj._moId == "vm-9"


def test_unknown_faults_and_faults_without_detail_are_faults() -> None:
    body = (
        "<e:Fault><faultcode>ServerFaultCode</faultcode><faultstring>odd</faultstring><detail>"
        '<Odd{}Fault xmlns="urn:vim25"{}><x/></Odd{}Fault></detail></e:Fault>'
    )
    for kind in ("", ' i:type="OddX"'):
        caught = read_fault((ENVELOPE % body.format("X", kind, "X")).encode())
        assert (caught.kind, caught.message) == ("OddX", "odd")
    bare = "<e:Fault><faultcode>ServerFaultCode</faultcode><faultstring>broken\n</faultstring></e:Fault>"
    caught = read_fault((ENVELOPE % bare).encode())
    assert (caught.kind, caught.message) == ("RuntimeFault", "broken\n")
    known = '<detail><InvalidLoginFault xmlns="urn:vim25"/></detail>'
    caught = read_fault((ENVELOPE % f"<e:Fault><faultstring>no</faultstring>{known}</e:Fault>").encode())
    assert isinstance(caught.fault, vim.fault.InvalidLogin)


def test_a_fault_newer_than_the_client_is_narrowed() -> None:
    fault = vim.fault.InsufficientAgentVmsDeployed(hostName="h", requiredNumAgentVms=1, currentNumAgentVms=0)
    old = encode_fault(SoapFault(fault, "no"), version="vim.version.version1", namespace=VIM)
    assert read_fault(old).kind == "InsufficientResourcesFault"


def test_task_errors_are_wrapped_with_their_message() -> None:
    info = vim.TaskInfo(
        key="task-1",
        task=vim.Task("task-1"),
        state="error",
        queueTime=datetime(2026, 1, 1, tzinfo=UTC),
        eventChainId=1,
        cancelable=False,
        cancelled=False,
        descriptionId="d",
        reason=vim.TaskReasonUser(userName="u"),
        error=vim.fault.ConcurrentAccess(msg="stale configVersion"),
    )
    text = encode_property(vim.TaskInfo, info, version=V8)
    assert (
        '<error><fault xsi:type="ConcurrentAccess"></fault>'
        "<localizedMessage>stale configVersion</localizedMessage></error>"
    ) in text
    back = retrieved(text.replace("xsi:", "i:"))
    assert isinstance(back.error, vim.fault.ConcurrentAccess)
    assert back.error.msg == "stale configVersion"
    assert info.error.msg == "stale configVersion"


def test_vim_data_inside_eam_data_has_its_namespace() -> None:
    issue = build(
        eam.issue.InvalidConfig,
        key=1,
        description="d",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        agency=eam.Agency("a"),
        agencyName="n",
        solutionId="s",
        solutionName="s",
        agent=eam.Agent("x"),
        agentName="a",
        host=vim.HostSystem("h"),
        hostName="h",
        vm=vim.VirtualMachine("v"),
        error=vim.fault.InsufficientMemoryResourcesFault(unreserved=1, requested=2, msg="mem"),
    )
    method = method_of(eam.EamObject, "QueryIssue")
    data = encode_response(method, [issue], version=EAM83)
    assert b'<error xmlns:vim25="urn:vim25" xsi:type="vim25:LocalizedMethodFault">' in data
    theirs = SoapAdapter.SoapResponseDeserializer(None).Deserialize(data, method.result)
    decoder = ResponseDecoder(method)
    decoder.feed(data)
    ours = decoder.close()
    for got in (theirs[0], ours[0]):
        assert isinstance(got.error, vim.fault.InsufficientMemoryResourcesFault)
        assert (got.error.requested, got.error.msg) == (2, "mem")


# -- requests ---------------------------------------------------------------------------------------------------------


def test_java_style_requests_and_version_attributes_are_understood() -> None:
    request = read_request(
        '<n:CreateAgency xmlns:n="urn:eam"><n:_this versionId="8.3" type="n:EsxAgentManager">EsxAgentManager</n:_this>'
        '<n:agencyConfigInfo versionId="8.3"><n:agencyName>A</n:agencyName>'
        '<n:scope i:type="n:AgencyComputeResourceScope"><n:computeResource type="ClusterComputeResource">domain-c8'
        "</n:computeResource></n:scope></n:agencyConfigInfo><n:initialGoalState>enabled</n:initialGoalState>"
        "</n:CreateAgency>"
    )
    config = request.args["agencyConfigInfo"]
    assert (request.this_type, request.this_id, request.name) == ("EsxAgentManager", "EsxAgentManager", "CreateAgency")
    assert type(config.scope) is eam.Agency.ComputeResourceScope
    assert config.scope.computeResource[0] == vim.ClusterComputeResource("domain-c8")
    assert request.args["initialGoalState"] == "enabled"
    assert not request.missing


def test_a_method_belongs_to_the_namespace_of_its_request() -> None:
    request = read_request('<Update xmlns="urn:eam"><_this type="Agency">a</_this></Update>')
    assert request.method is find_method(EAM, "Update")
    assert request.missing == ("config",)
    assert read_request('<Update xmlns="urn:vim25"><_this type="Agency">a</_this></Update>').method is None
    assert read_request('<NoSuch xmlns="urn:vim25"><_this type="Folder">f</_this><x/></NoSuch>').name == "NoSuch"


def test_property_access_of_pyvmomi_is_a_fetch() -> None:
    request = read_request(
        '<Fetch xmlns="urn:vim25"><_this type="VirtualMachine">vm-1</_this><prop>name</prop></Fetch>'
    )
    assert (request.name, request.args["prop"]) == ("Fetch", "name")
    assert request.method is fetch_method(vim.VirtualMachine, "name")
    answer = encode_response(fetch_method(vim.VirtualMachine, "datastore"), [vim.Datastore("ds-1")], version=V8)
    assert b'<FetchResponse xmlns="urn:vim25"><returnval xsi:type="ArrayOfManagedObjectReference">' in answer
    theirs = SoapAdapter.SoapResponseDeserializer(None).Deserialize(answer, vim.Datastore.Array)
    assert theirs[0]._moId == "ds-1"
    decoder = ResponseDecoder(fetch_method(vim.VirtualMachine, "datastore"))
    decoder.feed(answer)
    assert [ref._moId for ref in decoder.close()] == ["ds-1"]
    nothing = read_request('<Fetch xmlns="urn:vim25"><_this type="VirtualMachine">vm-1</_this><prop>x</prop></Fetch>')
    assert nothing.method is None


def test_a_narrower_type_is_kept_and_a_foreign_one_refused() -> None:
    call = (
        '<RetrievePropertiesEx xmlns="urn:vim25"><_this type="PropertyCollector">pc</_this><specSet><objectSet>'
        '<obj type="Folder">f</obj><selectSet i:type="{}"><name>n</name></selectSet></objectSet></specSet><options/>'
        "</RetrievePropertiesEx>"
    )
    select = read_request(call.format("TraversalSpec")).args["specSet"][0].objectSet[0].selectSet[0]
    assert type(select) is PC.TraversalSpec
    with pytest.raises(ProtocolError, match="AboutInfo where"):
        read_request(call.format("AboutInfo"))


def test_missing_and_unknown_arguments_are_type_errors() -> None:
    method = method_of(vim.SessionManager, "Login")
    with pytest.raises(TypeError, match="requires password"):
        encode_request(method, vim.SessionManager("SessionManager"), {"userName": "u"}, version=V8)
    with pytest.raises(TypeError, match="no parameter user"):
        encode_request(method, vim.SessionManager("SessionManager"), {"user": "u"}, version=V8)


def test_required_properties_are_checked_when_written() -> None:
    method = method_of(eam.Agent, "QueryRuntime")
    with pytest.raises(TypeError, match="vmPowerState"):
        encode_response(
            method, eam.Agent.RuntimeInfo(status="green", goalState="enabled", entity=eam.Agent("a")), version=EAM83
        )


def test_text_keeps_every_character_xml_has_and_refuses_the_others() -> None:
    text = "a&b<c>\"'\r\n\tümlaut\U0001f600"
    assert retrieved(shown("name", text).replace("xsi:", "i:")) == text
    with pytest.raises(ValueError, match=r"U\+0001"):
        shown("name", "\x01")


# -- hostile or broken XML --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1/x"><x/>',
        b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><l>&b;</l>',
        b"<x>" * 100_000,
        b"",
        b"not xml",
        b"<html><body>Service unavailable</body></html>",
        b"<a>\x00</a>",
        (ENVELOPE % "").encode(),
        (ENVELOPE % '<Login xmlns="urn:vim25"/>').encode(),
        (ENVELOPE % '<Login xmlns="urn:vim25"><_this type="SessionManager">S</_this>').encode(),
        (ENVELOPE % ('<Login xmlns="urn:vim25"><_this type="S">S</_this></Login>' * 2)).encode(),
    ],
)
def test_what_is_not_a_call_is_a_protocol_error(document: bytes) -> None:
    decoder = RequestDecoder()
    with pytest.raises(ProtocolError):
        decoder.feed(document)
        decoder.close()


def test_legal_types_may_not_nest_without_end() -> None:
    nested = '<selectSet i:type="TraversalSpec"><name>n</name>' * 400
    with pytest.raises(ProtocolError, match="nests deeper"):
        read_request(
            '<RetrievePropertiesEx xmlns="urn:vim25"><_this type="PropertyCollector">pc</_this><specSet><objectSet>'
            + nested
        )


def test_cut_off_and_oversized_answers_are_errors() -> None:
    data = encode_response(RETRIEVE, build(PC.RetrieveResult, token="t"), version=V8)
    for end in range(0, len(data) - 1, 7):
        decoder = ResponseDecoder(RETRIEVE)
        decoder.feed(data[:end])
        with pytest.raises(MalformedXml):
            decoder.close()
    small = ResponseDecoder(RETRIEVE, limit=100)
    with pytest.raises(ProtocolError, match="larger"):
        small.feed(data)


@pytest.mark.parametrize(
    "text",
    [
        '<val i:type="xsd:int">five</val>',
        '<val i:type="xsd:boolean">yes</val>',
        '<val i:type="xsd:dateTime">now</val>',
        '<val i:type="xsd:base64Binary">é</val>',
    ],
)
def test_text_of_another_type_is_a_protocol_error(text: str) -> None:
    with pytest.raises(ProtocolError):
        retrieved(text)


# -- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "version"),
    [
        ('"urn:vim25/8.0.3.0"', V8),
        ("urn:vim25/8.0.3.0", V8),
        ("urn:vim25/8.0.x.x", VERSIONS[VIM].newest),
        ("urn:vim25", VERSIONS[VIM].newest),
        ("", VERSIONS[VIM].newest),
        ('"urn:eam/8.3"', EAM83),
        ('"urn:eam/99"', VERSIONS[EAM].newest),
        ("urn:internalvim25/5.5", "vim.version.version9"),
    ],
)
def test_a_soap_action_never_fails(action: str, version: str) -> None:
    assert version_of(action) == version


def test_the_versions_document_goes_both_ways() -> None:
    offered = parse_versions(render_versions("vim.version.version11"))[VIM]
    assert offered[0] == "6.5"
    assert newest_common(offered) == "vim.version.version11"
    assert newest_common(("99.0", "m12345", *offered)) == "vim.version.version11"
    with pytest.raises(ProtocolError):
        newest_common(("99.0",))
    for broken in (b"<html/>", b"", b"<!DOCTYPE a><namespaces/>"):
        with pytest.raises(ProtocolError):
            parse_versions(broken)


@pytest.mark.parametrize(
    ("api", "eam_id"),
    [("6.5", "6.5"), ("6.7", "6.8"), ("7.0.3.0", "7.5"), ("8.0.1.0", "7.6"), ("8.0.2.0", "8.2"), ("8.0.3.1", "8.3"),
     ("9.0.0.0", "9.0.0.0"), ("9.1.0.0", "9.0.0.0"), ("5.5", "6.0")],
)  # fmt: skip
def test_the_eam_version_follows_from_that_of_vcenter(api: str, eam_id: str) -> None:
    assert soap_action(eam_version_for(api)) == f'"urn:eam/{eam_id}"'


def test_property_paths_have_declared_types() -> None:
    assert property_type("VirtualMachine", "config.hardware.device[4000].backing") is (
        vim.vm.device.VirtualDevice.BackingInfo
    )
    assert property_type("DistributedVirtualPortgroup", "config.defaultPortConfig.vlan").__name__.endswith("VlanSpec")
    for path in ("", "nonsense", "name.length", "config..hardware", "name[1]", "config."):
        with pytest.raises(KeyError):
            property_type("VirtualMachine", path)
