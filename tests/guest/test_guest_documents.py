"""Documents that come into the guest from outside: the OVF environment and the host configuration."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.config.load import load
from contrail_vsphere.contrailvm.bootstrap.host_configuration import HostConfiguration, PluginConfiguration, RoleNic
from contrail_vsphere.simulator.guest.runtime import interface_name
from contrail_vsphere.wire.ovf.environment import EthernetAdapter, render_environment
from contrailvm_guest.agent_conf import render_agent_conf
from contrailvm_guest.configuration import BadConfiguration, parse_configuration
from contrailvm_guest.ovf_environment import BadEnvironment, parse_environment
from contrailvm_guest.plugin_conf import plugin_files

HEAD = '<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:oe="http://schemas.dmtf.org/ovf/environment/1"'
PROPERTY = '<PropertySection><Property oe:key="a" oe:value="1"/></PropertySection>'

text = st.text(
    st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_characters="\x7f\ufffe\uffff"), max_size=40
)


@given(properties=st.dictionaries(text.filter(bool), text, max_size=8), network=text)
def test_what_vcenter_renders_the_guest_reads(properties, network):
    document = render_environment(
        properties=properties, adapters=[EthernetAdapter("00:50:56:AA:00:01", network, 7)], vm_id="vm-1"
    )
    environment = parse_environment(document.encode())
    assert environment.properties == properties
    assert environment.vm_id == "vm-1"
    (adapter,) = environment.adapters
    assert (adapter.mac, adapter.network, adapter.unit) == ("00:50:56:aa:00:01", network, 7)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "not XML"),
        ("<Environment/>", "not an OVF environment"),
        (f"{HEAD}>", "not XML"),
        (f'<!DOCTYPE x [<!ENTITY e "boom">]>{HEAD}>&e;</Environment>', "document type"),
        (f'<!DOCTYPE x SYSTEM "file:///etc/passwd">{HEAD}></Environment>', "document type"),
        (f"{HEAD}>{'<a>' * 40}{'</a>' * 40}</Environment>", "deeply"),
        (f"{HEAD}>{PROPERTY}{PROPERTY}</Environment>", "twice"),
        (f'{HEAD}><PropertySection><Property oe:value="1"/></PropertySection></Environment>', "no key"),
        (HEAD + ">" + "".join(f'<Property oe:key="k{n}"/>' for n in range(600)) + "</Environment>", "more than"),
        (f"{HEAD}>" + " " * 300_000 + "</Environment>", "longer"),
        ('<?xml version="1.0" encoding="no-such"?>' + f"{HEAD}/>", "XML|encoding"),
    ],
)
def test_environments_that_are_refused(document, reason):
    with pytest.raises(BadEnvironment, match=reason):
        parse_environment(document.encode())


@given(st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else_happens(noise):
    with pytest.raises(BadEnvironment):
        parse_environment(noise)


def test_a_property_is_found_whatever_its_class():
    document = render_environment(properties={"net.contrail.manager_url": "x", "other_manager_url": "y"})
    environment = parse_environment(document.encode())
    assert environment.property("manager_url") == "x"
    assert environment.property("absent") == ""


def test_a_property_that_two_classes_set_differently_is_refused():
    environment = parse_environment(render_environment(properties={"a.key": "1", "b.key": "2"}).encode())
    with pytest.raises(BadEnvironment, match="twice"):
        environment.property("key")


GOOD = HostConfiguration(
    host="host-1",
    host_name="esx",
    nics=(RoleNic("overlay", unit=9), RoleNic("management", unit=7)),
    control_nodes=("10.0.0.1:5269",),
).as_json()


def test_the_revision_follows_the_content_alone():
    other = HostConfiguration(host="host-1", host_name="esx", nics=(), control_nodes=())
    assert other.as_json()["revision"] == other.as_json()["revision"] != GOOD["revision"]


def test_unknown_fields_of_a_newer_manager_are_passed_over():
    assert parse_configuration(json.dumps({**GOOD, "surprise": {"x": 1}}).encode()).mode == "vcenter"


def plugin(**tables):
    return {"settings": {"vcenter": {}, "contrail": {}, "plugin": {}, **tables}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "version"),
        ({"version": None}, "version"),
        ({"control_nodes": []}, "control_nodes"),
        ({"control_nodes": ["10.0.0.1:5269\n[HYPERVISOR]"]}, "printable"),
        ({"vrouter_name": "a\nb"}, "vrouter_name"),
        ({"log_level": 7}, "log_level"),
        ({"services": ["--force"], "mode": "x"}, "mode"),
        ({"services": ["a b"]}, "services"),
        ({"services": []}, "services"),
        ({"nics": []}, "nics"),
        ({"nics": [{"role": "overlay"}, {"role": "overlay"}]}, "two NICs"),
        ({"nics": [{"role": "management", "unit": 7}]}, "overlay"),
        ({"nics": [{"role": "king"}]}, "role"),
        ({"nics": [{"role": "overlay", "unit": "7"}]}, "unit"),
        ({"nics": [{"role": "overlay", "mac": 7}]}, "mac"),
        ({"plugin": []}, "plugin"),
        ({"plugin": {"settings": {"vcenter": {}}}}, "tables"),
        ({"plugin": {"settings": {"vcenter": {}, "contrail": {}, "plugin": {}, "manager": {}}}}, "tables"),
        ({"plugin": plugin(vcenter={"host]\n[manager": "x"})}, "vcenter"),
        ({"plugin": plugin(vcenter={"host": "x\ndata_dir = 1"})}, "vcenter.host"),
        ({"plugin": plugin(plugin={"linger": float("nan")})}, "plugin.linger"),
        ({"plugin": plugin(plugin={"hosts": ["a"]})}, "plugin.hosts"),
        ({"plugin": {**plugin(), "authorities": {"../x": "pem"}}}, "authorities"),
        ({"plugin": {**plugin(), "authorities": {"vcenter": 7}}}, "authorities"),
    ],
)
def test_configurations_that_are_refused(change, reason):
    with pytest.raises(BadConfiguration, match=reason):
        parse_configuration(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_what_is_no_configuration_at_all(body):
    with pytest.raises(BadConfiguration):
        parse_configuration(body)


def test_options_without_a_value_are_left_to_the_agent():
    conf = render_agent_conf(
        parse_configuration(json.dumps(GOOD).encode()), {"overlay": "ens224", "management": "ens160"}
    )
    assert b"[DNS]" not in conf
    assert b"gateway" not in conf
    assert b"physical_interface=ens160" in conf


def test_what_the_plugin_of_a_host_reads_is_what_the_manager_said_and_the_guests_own(tmp_path):
    tables = {
        "vcenter": {"host": "vcenter.example.com", "port": 443},
        "contrail": {"servers": 'http://10.0.0.11:8082/"quoted\\', "poll": 10.0},
        "plugin": {"hosts": "host-1", "projects": "*", "part": "all"},
    }
    told = HostConfiguration(
        host="host-1",
        host_name="esx-01.example.com",
        nics=(RoleNic("overlay", unit=9),),
        control_nodes=("10.0.0.1:5269",),
        plugin=PluginConfiguration(tables, {"vcenter": "PEM"}),
    ).as_json()
    files = plugin_files(
        parse_configuration(json.dumps(told).encode()), manager_url="https://m.example.com", identity=("/a", "/c", "/k")
    )
    assert files["/etc/contrail/vcenter-ca.pem"] == b"PEM"
    assert files["/etc/contrail/ESXiToVRouterIp.map"].endswith(b"esx-01.example.com:127.0.0.1\n")
    (tmp_path / "settings.toml").write_bytes(files["/etc/contrail/vcenter-plugin.toml"])
    settings = load(tmp_path / "settings.toml", {})
    assert settings.contrail.servers == tables["contrail"]["servers"]
    assert (settings.plugin.hosts, settings.plugin.part) == ("host-1", "ports")
    site = settings.vcenter["site"]
    assert (site.host, site.username, site.manager_url) == ("vcenter.example.com", "", "https://m.example.com")
    assert (str(site.ca_file), str(site.manager_key_file)) == ("/etc/contrail/vcenter-ca.pem", "/k")


def test_interfaces_are_named_as_linux_does():
    assert [interface_name(n) for n in range(5)] == ["ens160", "ens192", "ens224", "ens256", "ens161"]
