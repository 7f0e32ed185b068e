"""Which value counts, where it came from, and what ends up in the file."""

import ast
import configparser
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.servermanager import parameters
from contrail_vsphere.servermanager.catalogue import catalogue, parameters_schema, role_schema
from contrail_vsphere.servermanager.parameters import Findings
from contrail_vsphere.servermanager.render import texts
from contrail_vsphere.servermanager.resolve import ALL_ROLES, Layer, Member, facts, merge, resolve

CONTROLLER = catalogue().role("controller")
LADDER = ["cluster", "tag floor=2", "server", "run"]


def effective(*layers, role=CONTROLLER, known=None):
    return resolve(role, facts=known or {}, layers=layers)


def ini(made, role_file="controller.conf", reveal=lambda name: f"<{name}>"):
    text = next(each for each in texts(made, reveal=reveal) if each.name == role_file)
    parser = configparser.RawConfigParser()
    parser.optionxform = str
    parser.read_string(text.content)
    return parser, text


@given(st.lists(st.sampled_from(range(8)), unique=True, min_size=1))
def test_the_most_exact_of_those_that_speak_wins(speaking):
    """Eight voices: four objects, each to all roles and to this one."""
    voices = [(source, who) for source in LADDER for who in (ALL_ROLES, "controller")]
    layers = []
    for source in LADDER:
        values = {
            who: {"CONTROL": {"bgp_port": 1000 + number}}
            for number, (s, who) in enumerate(voices)
            if s == source and number in speaking
        }
        layers.append(Layer(source, values))
    made = effective(*layers)
    assert made.value("CONTROL", "bgp_port") == 1000 + max(speaking)
    (row,) = [each for each in made.explain() if each["option"] == "bgp_port"]
    assert [each["value"] for each in row["overrode"]] == [179, *(1000 + n for n in sorted(speaking)[:-1])]


@pytest.mark.parametrize("value", [False, 0, "", []])
def test_18_a_falsy_value_is_a_value(value):
    section, option = {bool: ("API", "list_optimization_enabled"),
                       int: ("CONTROLLER", "flow_export_rate"),
                       str: ("API", "cloud_admin_role"),
                       list: ("CONTROLLER", "encap_priority")}[type(value)]  # fmt: skip
    made = effective(Layer("cluster", {"controller": {section: {option: value}}}))
    assert made.value(section, option) == value
    assert made.settings[section][option].source == "cluster.controller"
    assert option in ini(made)[0][section]


def test_null_removes_and_the_option_leaves_the_file():
    made = effective(Layer("cluster", {"controller": {"CONTROL": {"bgp_port": 1179}}}),
                     Layer("server", {"controller": {"CONTROL": {"bgp_port": None}}}))  # fmt: skip
    assert made.value("CONTROL", "bgp_port") is None
    assert "bgp_port" not in ini(made)[0]["CONTROL"]


json_values = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_merging_twice_is_merging_once_and_what_is_above_is_kept(below, above):
    once = merge(below, above)
    assert merge(once, above) == once
    if not isinstance(above, dict):
        assert once == above


def test_facts_come_from_the_layout_and_yield_to_people():
    members = [Member("s1", "a", "10.0.0.1", frozenset({"controller"})),
               Member("s2", "b", "10.0.0.2", frozenset({"analytics", "agent"})),
               Member("s3", "c", "10.0.0.3", frozenset({"controller"}), frozenset({"control"}))]  # fmt: skip
    known = facts(members, "s3")
    made = effective(known=known)
    assert made.value("GLOBAL", "controller_nodes") == ["10.0.0.1", "10.0.0.3"]
    assert made.value("GLOBAL", "config_nodes") == ["10.0.0.1"]
    assert made.value("GLOBAL", "enable_webui_service") is False
    made = effective(Layer("cluster", {ALL_ROLES: {"GLOBAL": {"controller_ip": "10.9.9.9"}}}), known=known)
    assert made.settings["GLOBAL"]["controller_ip"].overrode == (("product default", "10.0.0.1"),)


def test_both_dialects_say_the_same():
    old = {"provision": {"containers": {"controller": {"CONTROL": {"bgp_port": 1179}}, "agent": {"AGENT": {
        "vrouter_physical_interface": "eth1"}}}}}  # fmt: skip
    new = {"provision": {"contrail_4": {"control_config": {"bgp_port": 1179}, "vrouter_physical_interface": "eth1"}}}
    for given_parameters in (old, new):
        findings = Findings()
        parameters.check(given_parameters, findings, path="$", catalogue=catalogue())
        assert findings.problems == []
        layers = parameters.layers(given_parameters, source="cluster", catalogue=catalogue())
        assert effective(*layers).value("CONTROL", "bgp_port") == 1179
        assert effective(*layers, role=catalogue().role("agent")).value("AGENT", "vrouter_physical_interface") == "eth1"


def test_what_means_nothing_to_containers_is_named():
    findings = Findings()
    given_parameters = {"provision": {"contrail_4": {"kernel_upgrade": True, "kernl_version": "3"}}}
    parameters.check(given_parameters, findings, path="$", catalogue=catalogue())
    assert findings.notes == ["$.provision.contrail_4.kernel_upgrade: has no effect on containers"]
    assert findings.problems == ["$.provision.contrail_4.kernl_version: unknown; 'kernel_version' is meant?"]


@given(st.text(max_size=12))
def test_no_value_begins_an_option_of_its_own(text):
    layer = Layer("cluster", {"controller": {"API": {"cloud_admin_role": text}}})
    made = effective(layer)
    if made.problems:
        return
    parser, _ = ini(made)
    assert set(parser["API"]) == set(made.settings["API"])


def test_a_secret_shows_nowhere_but_in_the_file():
    secret = {"secret": "cluster/c1/x"}
    made = effective(Layer("cluster", {"controller": {"RABBITMQ": {"password": secret}}}))
    parser, text = ini(made, reveal=lambda _: "canary")
    assert parser["RABBITMQ"]["password"] == "canary"
    assert "canary" not in text.shown
    assert "canary" not in repr(text)
    assert "cluster/c1" not in str(made.explain())


def test_arrays_and_maps_are_literals_as_contrailctl_reads_them():
    tors = {"h1": [{"tor_name": "t'1", "port": 1, "on": True}]}
    made = effective(Layer("cluster", {"lb": {"HAPROXY_TORAGENT": {"haproxy_toragent_config": tors}}}),
                     role=catalogue().role("lb"))  # fmt: skip
    parser, _ = ini(made, "lb.conf")
    assert ast.literal_eval(parser["HAPROXY_TORAGENT"]["haproxy_toragent_config"]) == tors


def test_the_manager_of_contrailvms_gets_the_settings_it_reads(tmp_path):
    from contrail_vsphere.config.load import load

    role = catalogue().role("contrailvm-manager")
    layer = Layer("cluster", {"contrailvm-manager": {"vcenter.main": {"host": "vc.example.com", "username": "u",
                                                                      "password": "p'\"\\"}}})  # fmt: skip
    made = effective(layer, role=role, known=facts([Member("s1", "a", "127.0.0.1", frozenset())], "s1"))
    assert made.problems == ()
    files = {each.name: each for each in texts(made, reveal=str)}
    assert files["vcenter-main.password"].content == "p'\"\\\n"
    assert files["vcenter-main.password"].mode == "0600"
    path = tmp_path / "contrailvm-manager.conf"
    path.write_text(files["contrailvm-manager.conf"].content)
    assert tomllib.loads(path.read_text())["vcenter"]["main"]["password_file"] == "/etc/contrail/vcenter-main.password"
    assert load(path, {}).vcenter["main"].host == "vc.example.com"


def test_a_required_option_that_is_missing_is_told():
    assert any("vcenter.main.host" in each for each in effective(role=catalogue().role("contrailvm-manager")).problems)


@pytest.mark.parametrize("role", list(catalogue()), ids=lambda role: role.role)
def test_the_defaults_of_every_role_are_right_and_its_schema_is_published(role):
    for section in role.sections.values():
        assert [option.problem(option.default) for option in section.options.values() if option.default is not None
                and option.problem(option.default)] == []  # fmt: skip
    assert set(parameters_schema(role)["properties"]) == set(role.sections)
    assert "health" in role_schema()["properties"]


def test_the_vcenter_plugin_gets_the_settings_it_reads_from_what_the_seed_eras_documents_say(tmp_path):
    from contrail_vsphere.config.load import load

    role = catalogue().role("vcenter-plugin")
    layer = Layer("cluster", {"vcenter-plugin": {"VCPLUGIN": {
        "vc_url": "https://vc.example.com/sdk", "username": "u", "password": "secret-1", "dvs": "dvs-a",
        "mode": "vcenter-as-compute"}}})  # fmt: skip
    members = [Member(f"s{n}", f"h{n}", f"10.0.0.{n}", frozenset({"controller"})) for n in (1, 2)]
    made = effective(layer, role=role, known=facts([*members, Member("s3", "h3", "10.0.0.3", frozenset())], "s3"))
    assert made.problems == ()
    files = {each.name: each for each in texts(made, reveal=str)}
    assert set(files) == {"vcenterplugin.conf", "vcenter-plugin.toml", "plugin-vcenter.password"}
    assert (files["plugin-vcenter.password"].content, files["plugin-vcenter.password"].mode) == ("secret-1\n", "0600")
    assert "secret-1" not in files["vcenter-plugin.toml"].content
    path = tmp_path / "vcenter-plugin.toml"
    path.write_text(files["vcenter-plugin.toml"].content)
    settings = load(path, {})
    assert (settings.vcenter["main"].host, settings.vcenter["main"].username) == ("vc.example.com", "u")
    assert str(settings.vcenter["main"].password_file) == "/etc/contrail/plugin-vcenter.password"
    assert settings.contrail.servers == "http://10.0.0.1:8082, http://10.0.0.2:8082"
    assert settings.zookeeper.servers == "10.0.0.1:2181,10.0.0.2:2181"
    assert (settings.plugin.mode, settings.plugin.switches) == ("vcenter-as-compute", "dvs-a")
    assert made.settings["vcenter.main"]["host"].source == "VCPLUGIN.vc_url", "explain says where it comes from"
