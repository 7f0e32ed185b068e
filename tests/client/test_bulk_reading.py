"""Reading thousands of objects: pages, broken characters, unknown devices, and agreement with pyVmomi."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyVmomi import SoapAdapter, vim, vmodl

from contrail_vsphere.model.errors import MalformedXml, ProtocolError
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.vsphere.property_collector import RETRIEVE, WAIT
from contrail_vsphere.vsphere.stream import Kind, Page, PropertyStream, RecoveringStream
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.soap.encode import encode_response
from contrail_vsphere.wire.soap.values import build

V8 = "vim.version.v8_0_3_0"
PC = vmodl.query.PropertyCollector
KINDS: dict[str, Kind] = {
    "name": "text",
    "runtime.host": "id",
    "datastore": "ids",
    "config.template": "bool",
    "config.hardware.memoryMB": "int",
    "config.hardware.device": "nics",
    "config.vAppConfig": "value",
}
Device = vim.vm.device.VirtualDevice
Card = vim.vm.device.VirtualEthernetCard


def decode(data: bytes, *, piece: int = 0, kinds: dict[str, Kind] | None = None) -> Page:
    stream = PropertyStream(kinds or KINDS)
    step = piece or len(data) or 1
    for at in range(0, len(data), step):
        stream.feed(data[at : at + step])
    return stream.close()


def answer(*objects: Any, token: str | None = None) -> bytes:
    return encode_response(RETRIEVE, build(PC.RetrieveResult, objects=list(objects), token=token), version=V8)


def content(moid: str = "vm-1", **values: Any) -> Any:
    properties = [vmodl.DynamicProperty(name=name.replace("__", "."), val=value) for name, value in values.items()]
    return PC.ObjectContent(obj=vim.VirtualMachine(moid), propSet=properties)


def card(key: int, *, group: str = "", network: str = "", cls: Any = vim.vm.device.VirtualVmxnet3) -> Any:
    if group:
        port = vim.dvs.PortConnection(switchUuid="50 1a", portgroupKey=group, portKey="12", connectionCookie=5)
        backing: Any = Card.DistributedVirtualPortBackingInfo(port=port)
    else:
        backing = Card.NetworkBackingInfo(deviceName="VM Network", network=vim.Network(network))
    connectable = Device.ConnectInfo(startConnected=True, allowGuestControl=True, connected=key % 2 == 0)
    return cls(
        key=key,
        macAddress=f"00:50:56:00:00:{key % 100:02x}",
        unitNumber=key - 3993,
        controllerKey=100,
        backing=backing,
        connectable=connectable,
        deviceInfo=vim.Description(label="Network adapter 1", summary="x"),
    )


def disk(key: int) -> Any:
    backing = Device.FileBackingInfo(fileName="[ds] a.vmdk", datastore=vim.Datastore("datastore-1"))
    return vim.vm.device.VirtualDisk(key=key, capacityInKB=1, backing=backing)


# -- the stream alone -------------------------------------------------------------------------------------------------


def test_only_network_cards_are_kept_of_devices() -> None:
    devices = Device.Array([disk(2000), card(4000, group="dvportgroup-7"), disk(2001), card(4001, network="network-3")])
    page = decode(answer(content(name="a&b", runtime__host=vim.HostSystem("host-1"), config__hardware__device=devices)))
    values = page.rows[0].values
    assert (page.rows[0].type, page.rows[0].id) == ("VirtualMachine", "vm-1")
    assert (values["name"], values["runtime.host"]) == ("a&b", "host-1")
    first, second = values["config.hardware.device"]
    assert (first.key, first.mac, first.unit, first.connected) == (4000, "00:50:56:00:00:00", 7, True)
    assert (first.network, first.dvs_uuid, first.port_key, first.kind) == (
        "dvportgroup-7",
        "50 1a",
        "12",
        "VirtualVmxnet3",
    )
    assert (second.network, second.dvs_uuid, second.connected) == ("network-3", "", False)


def test_other_kinds_of_values() -> None:
    config = vim.vApp.VmConfigInfo(
        property=[vim.vApp.PropertyInfo(key=1, id="x", value="y")], ipAssignment=vim.vApp.IPAssignmentInfo()
    )
    page = decode(
        answer(
            content(
                datastore=vim.Datastore.Array([vim.Datastore("datastore-1"), vim.Datastore("datastore-2")]),
                config__template=True,
                config__hardware__memoryMB=512,
                config__vAppConfig=config,
                config__unasked=config,
                name="last",
            ),
            content("vm-2", datastore=vim.Datastore.Array()),
            token="t-1",
        )
    )
    values = page.rows[0].values
    assert values["datastore"] == ("datastore-1", "datastore-2")
    assert values["config.template"] is True
    assert values["config.hardware.memoryMB"] == 512
    assert values["config.vAppConfig"].property[0].id == "x"
    assert "config.unasked" not in values
    assert values["name"] == "last"
    assert page.rows[1].values == {"datastore": ()}
    assert page.token == "t-1"


def test_a_card_of_a_type_nobody_knows_is_a_card_if_it_has_an_address() -> None:
    data = answer(content(config__hardware__device=Device.Array([card(4000, network="network-1"), disk(2000)])))
    data = data.replace(b"VirtualVmxnet3", b"VirtualVmxnet9").replace(b'"VirtualDisk"', b'"VirtualHolodisk"')
    cards = decode(data).rows[0].values["config.hardware.device"]
    assert [(each.kind, each.key) for each in cards] == [("VirtualVmxnet9", 4000)]


def test_updates_are_rows_as_well() -> None:
    change = PC.Change
    update = PC.UpdateSet(
        version="7",
        truncated=True,
        filterSet=[
            PC.FilterUpdate(
                filter=PC.Filter("f"),
                objectSet=[
                    PC.ObjectUpdate(
                        kind="modify",
                        obj=vim.VirtualMachine("vm-1"),
                        changeSet=[
                            change(name="name", op="assign", val="new"),
                            change(name="runtime.host", op="assign"),
                            change(name="config.template", op="indirectRemove"),
                        ],
                        missingSet=[
                            PC.MissingProperty(
                                path="guest.ipAddress",
                                fault=vmodl.fault.SecurityError(),
                            )
                        ],
                    ),
                    PC.ObjectUpdate(kind="leave", obj=vim.VirtualMachine("vm-2")),
                ],
            )
        ],
    )
    page = decode(encode_response(WAIT, update, version=V8))
    assert (page.version, page.truncated) == ("7", True)
    assert page.rows[0].values == {"name": "new", "runtime.host": None, "config.template": None}
    assert [(row.kind, row.id) for row in page.rows] == [("modify", "vm-1"), ("leave", "vm-2")]
    assert decode(encode_response(WAIT, None, version=V8)).version == ""


CARDS = st.lists(
    st.one_of(
        st.builds(card, st.integers(4000, 4009), group=st.sampled_from(["dvportgroup-7", "dvportgroup-8"])),
        st.builds(
            card,
            st.integers(4000, 4009),
            network=st.just("network-3"),
            cls=st.sampled_from([vim.vm.device.VirtualE1000, vim.vm.device.VirtualSriovEthernetCard]),
        ),
        st.builds(disk, st.integers(2000, 2009)),
    ),
    max_size=4,
)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)


@settings(max_examples=60, deadline=None)
@given(vms=st.lists(st.tuples(NAMES, CARDS), max_size=4), piece=st.integers(1, 300))
def test_it_reads_what_pyvmomi_reads(vms: list[tuple[str, list[Any]]], piece: int) -> None:
    objects = [
        content(f"vm-{number}", name=name, config__hardware__device=Device.Array(devices))
        for number, (name, devices) in enumerate(vms)
    ]
    data = answer(*objects)
    theirs = SoapAdapter.SoapResponseDeserializer(None).Deserialize(data, RETRIEVE.result)
    expected = []
    for each in theirs.objects:
        values = {prop.name: prop.val for prop in each.propSet}
        cards = [d for d in values["config.hardware.device"] if isinstance(d, Card)]
        expected.append((each.obj._moId, values["name"], [(c.key, c.macAddress, c.unitNumber) for c in cards]))
    got = [
        (row.id, row.values["name"], [(n.key, n.mac, n.unit) for n in row.values["config.hardware.device"]])
        for row in decode(data, piece=piece).rows
    ]
    assert got == expected


def test_broken_answers_are_errors() -> None:
    data = answer(content(name="x", config__hardware__device=Device.Array([card(4000, network="network-1")])))
    for end in range(1, len(data) - 1, 97):
        with pytest.raises(MalformedXml):
            decode(data[:end])
    for hostile in (
        b"<!DOCTYPE a><a/>",
        data.replace(b"<key>4000</key>", b"<key>four</key>"),
        data.replace(b"<key>4000</key>", b""),
        answer(content(config__hardware__memoryMB="many")),
        data.replace(b"<name>name</name>", b"<name>zzz</name>").replace(b">x</val>", b">" + b"<d>" * 400),
    ):
        with pytest.raises(ProtocolError):
            decode(hostile)


@pytest.mark.parametrize("bad", [b"\x07", b"&#7;", b"&#x0;", b"\xff", b"\xef\xbf\xbf", b"&#xD800;"])
def test_characters_that_xml_does_not_have_cost_only_themselves(bad: bytes) -> None:
    data = answer(content(name="@@"), content("vm-2", name="fine")).replace(b"@@", b"a" + bad + b"b")
    with pytest.raises(MalformedXml):
        decode(data)
    stream = RecoveringStream(KINDS)
    for at in range(0, len(data), 50):
        stream.feed(data[at : at + 50])
    page = stream.close()
    assert stream.recovered
    assert [row.values["name"].replace("\ufffd", "?").strip("?b")[:1] for row in page.rows] == ["a", "f"]


def test_a_cut_off_answer_is_not_repaired() -> None:
    stream = RecoveringStream(KINDS)
    stream.feed(answer(content(name="x"))[:-30])
    with pytest.raises(MalformedXml):
        stream.close()


# -- over the wire ----------------------------------------------------------------------------------------------------


@pytest.fixture
def vcenter_options() -> dict[str, Any]:
    return {"hosts": 3, "vms": 250, "guests": False}


async def test_pages_are_followed_to_the_end(vcenter: VCenterSimulator, client: VCenter) -> None:
    rows = await client.reader.all_of_type("VirtualMachine", {"name": "text", "config.hardware.device": "nics"})
    assert len({row.values["name"] for row in rows}) == 250
    assert client.calls["ContinueRetrievePropertiesEx"] == 2
    assert client.calls["DestroyView"] == 1
    assert all(row.values["config.hardware.device"] for row in rows)


async def test_who_stops_early_cancels_the_rest(client: VCenter) -> None:
    pages = client.reader.of_type("VirtualMachine", {"name": "text"})
    assert len(await anext(pages)) == 100
    await pages.aclose()
    assert client.calls["CancelRetrievePropertiesEx"] == 1
    assert client.calls["DestroyView"] == 1


async def test_objects_that_are_gone_are_left_out(vcenter: VCenterSimulator, client: VCenter) -> None:
    rows = await client.reader.all_of_type("VirtualMachine", {"name": "text"})
    refs = [vim.VirtualMachine(row.id) for row in rows[:5]]
    await vcenter.scenario.power_off(rows[0].values["name"])
    await vcenter.scenario.delete_vm(rows[0].values["name"])
    found = [row async for page in client.reader.of_objects(refs, "VirtualMachine", {"name": "text"}) for row in page]
    assert [row.id for row in found] == [row.id for row in rows[1:5]]


async def test_a_few_properties_come_as_values(client: VCenter) -> None:
    content = client.content
    read = await client.read(content.rootFolder, "name", "childEntity", "permission")
    assert read["name"] == "Datacenters"
    assert isinstance(read["childEntity"][0], vim.Datacenter)
