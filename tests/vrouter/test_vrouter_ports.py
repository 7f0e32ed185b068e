"""The port table of the agent, the values our client builds, and introspect pages: everything without a socket."""

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.contrail.http import Address
from contrail_vsphere.contrail.introspect import parse_xmpp_sessions
from contrail_vsphere.contrail.vrouter_agent import VRouterPort
from contrail_vsphere.model.errors import InvalidArgument, ProtocolError
from contrail_vsphere.simulator.vrouter.introspect import Xmpp, xmpp_status
from contrail_vsphere.simulator.vrouter.ports import AgentAborts, PortTable

VMI = UUID("cdaa4be4-a5fd-3925-8239-2ce2669718ae")
VM = UUID("6d236419-f27b-5422-9d28-49f7df5be7dc")
VN = UUID("80ac9f7b-f8a8-4255-936d-9d0059cde723")
PROJECT = UUID("22dbf697-20e7-498b-b53d-19167efa4ce3")


def port(**changes):
    values = {"id": VMI, "vm": VM, "network": VN, "project": PROJECT, "name": "vm-0", "mac": "00:50:56:00:00:64"}
    return VRouterPort(**{**values, "vlan": 1204, **changes})


def test_an_array_answers_200_whatever_happened():
    table = PortTable()
    bad = {**port().body(), "mac-address": "nonsense"}
    assert table.post(json.dumps([port().body(), bad]).encode()) == (200, {})
    assert table.ports == {}
    assert table.post(json.dumps([port().body()]).encode()) == (200, {})
    assert set(table.ports) == {str(VMI)}


def test_the_old_file_comes_back_after_same_id_other_vm():
    table = PortTable()
    table.post(json.dumps(port().body()).encode())
    table.post(json.dumps(port(vm=UUID(int=9), vlan=99).body()).encode())
    assert table.ports[str(VMI)].tx_vlan == 99
    table.reload()
    assert table.ports[str(VMI)].tx_vlan == 1204


def test_vlans_without_an_active_trunk_abort():
    table = PortTable(trunk_active=False)
    with pytest.raises(AgentAborts):
        table.post(json.dumps(port().body()).encode())
    table = PortTable(trunk_active=False)
    assert table.post(json.dumps(port(vlan=None).body()).encode()) == (200, {})


@pytest.mark.parametrize("name", ["id", "type", "tx-vlan-id", "ip6-address"])
def test_a_missing_member_is_named(name):
    body = port().body()
    del body[name]
    status, answer = PortTable().post(json.dumps(body).encode())
    assert status == 500
    assert f"{name} is missing" in answer["error"]


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_no_body_breaks_the_port_api(body):
    status, _answer = PortTable().post(body)
    assert status in {200, 500}


@pytest.mark.parametrize(
    "changes",
    [{"vlan": 0}, {"vlan": 4095}, {"mac": "00:50:56:AA:00:01"}, {"mac": "00:00:00:00:00:00"}, {"id": UUID(int=0)}],
)
def test_impossible_ports_are_never_sent(changes):
    with pytest.raises(InvalidArgument):
        port(**changes)


@given(vlan=st.none() | st.integers(1, 4094))
def test_both_vlans_or_none(vlan):
    body = port(vlan=vlan).body()
    assert body["rx-vlan-id"] == body["tx-vlan-id"]
    PortTable().post(json.dumps(body).encode())


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<a/>",
        b"<AgentXmppConnectionStatus>",
        b'<!DOCTYPE x [<!ENTITY e "x">]><AgentXmppConnectionStatus>&e;</AgentXmppConnectionStatus>',
        b"\x00\xff",
    ],
)
def test_introspect_that_is_none(document):
    with pytest.raises(ProtocolError):
        parse_xmpp_sessions(document)


def test_a_channel_that_is_not_made_yet_is_not_established():
    entry = "<AgentXmppData><controller_ip>10.0.0.1</controller_ip></AgentXmppData>"
    page = f"<AgentXmppConnectionStatus><peer><list>{entry}</list></peer></AgentXmppConnectionStatus>"
    (session,) = parse_xmpp_sessions(page.encode())
    assert not session.established
    assert parse_xmpp_sessions(xmpp_status([]).encode()) == ()
    assert parse_xmpp_sessions(xmpp_status([Xmpp("a<b&c", "established")]).encode())[0].controller == "a<b&c"


@pytest.mark.parametrize(
    ("text", "host", "number"),
    [("10.0.0.1", "10.0.0.1", 8085), ("h.example:99", "h.example", 99), ("::1", "::1", 8085), ("[::1]:7", "::1", 7)],
)
def test_addresses(text, host, number):
    assert Address.parse(text, port=8085) == Address(host, number)


@pytest.mark.parametrize("text", ["", ":80", "h:0", "h:x", "a/b", "u@h", "h:99999"])
def test_what_is_no_address(text):
    with pytest.raises(InvalidArgument):
        Address.parse(text, port=8085)
