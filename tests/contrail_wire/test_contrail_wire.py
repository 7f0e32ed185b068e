"""The type table against the published client, the classes of errors, and what may be sent to a VRouterAgent."""

import json
import warnings
from importlib import resources
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.wire.contrail import names
from contrail_vsphere.wire.contrail.errors import Kind, classify
from contrail_vsphere.wire.contrail.port_api import PortDocument, PortRefusedError, problems, read_port
from contrail_vsphere.wire.contrail.schema import resource, resources_by_name, structure, wrapper

VN = "9d344b5d-cacf-4768-8e18-91d038131cb7"


def test_the_table_is_what_the_published_client_says():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("vnc_api.gen.resource_common", reason="contrail-api-client 2005 is not installed")
        from schema_from_client import table, text
        from vnc_api.gen import resource_common
    assert (resources.files("contrail_vsphere.wire.contrail") / "schema.json").read_text() == text()
    assert len(table()["types"]) == len(resources_by_name()) == 120
    for cls in vars(resource_common).values():
        kind = resources_by_name().get(getattr(cls, "resource_type", ""))
        if kind is None:
            continue
        assert set(kind.properties) == set(cls.prop_fields)
        assert set(kind.references) == set(cls.ref_fields)
        assert set(kind.children) == set(cls.children_fields)
        assert set(kind.back_references) == set(cls.backref_fields) - {"config_root_back_refs"}
        assert kind.maps == cls.prop_map_field_key_names
        assert kind.lists == set(cls.prop_list_fields)


def test_members_keep_their_limits():
    properties = resource("virtual_network").properties
    assert properties["virtual_network_category"].enum == ("infra", "tenant", "internal", "routed")
    assert properties["mac_aging_time"].range == (0, 86400)
    assert properties["provider_properties"].operations == "CRD"
    assert structure("IpamSubnetType")["allocation_pools"].array
    assert wrapper(resource("virtual-machine"), "annotations") == "key_value_pair"
    with pytest.raises(KeyError):
        wrapper(resource("virtual-machine"), "display_name")


@given(st.sampled_from(sorted(resources_by_name())))
def test_names_lead_to_their_types(name):
    assert resource(names.underscored(name)).name == name
    for field, reference in resource(name).references.items():
        assert names.ref_field(reference.to) == field
        assert names.back_ref_field(name) in resource(reference.to).back_references


@pytest.mark.parametrize("quote", ["", "u"])
@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (409, f"[Q'default-domain', Q'p', Q'n'] already exists with uuid: {VN}", Kind.NAME_TAKEN),
        (409, f"{VN} already exists with fq_name: [Q'default-domain', Q'p', Q'n']", Kind.UUID_TAKEN),
        (409, f"Delete when resource still referred: [Q'http://h/virtual-network/{VN}']", Kind.IN_USE),
        (409, f"Delete when children still present: [Q'http://h/virtual-network/{VN}']", Kind.CHILDREN),
        (409, "IP address already in use", Kind.ADDRESS_IN_USE),
        (409, "Cannot Delete IP Block, IP(10.9.0.4) is in use", Kind.SUBNET_IN_USE),
        (409, "Rule already exists : None", Kind.CONFLICT),
        (404, f"Unknown id: {VN}", Kind.NOT_FOUND),
        (404, "Name[Q'default-domain', Q'nope'] not found", Kind.NOT_FOUND),
        (404, "Not found: '/x'", Kind.NO_SUCH_ROUTE),
        (404, "Resource type 'x' not found", Kind.NO_SUCH_TYPE),
        (400, "Unknown reference in resource create {}.", Kind.UNKNOWN_REFERENCE),
        (400, "Virtual-Network([Q'a']) has exhausted subnet([])", Kind.EXHAUSTED),
        (400, f"Virtual-Network([Q'a']) has invalid subnet({VN})", Kind.INVALID),
        (500, "Virtual-Network([Q'a']) has invalid subnet(10.0.0.0/8)", Kind.SUBNET_EDIT),
        (500, "Too many pending updates to RabbitMQ: 4096", Kind.BACK_PRESSURE),
        (500, "NoIdError: Unknown id: virtual_machine x", Kind.UNKNOWN_REFERENCE),
        (500, "KeyError: 'to'", Kind.SERVER_BUG),
        (503, "Api server is Initializing:DB Resync in progress", Kind.STARTING),
        (503, "<html>proxy</html>", Kind.UNAVAILABLE),
        (412, "quota limit (1) exceeded for resource virtual_network", Kind.OVER_QUOTA),
        (401, "", Kind.UNAUTHENTICATED),
        (403, "", Kind.FORBIDDEN),
        (418, "teapot", Kind.UNKNOWN),
    ],
)
def test_errors_are_told_apart_by_status_and_text(status, text, kind, quote):
    error = classify(status, text.replace("Q'", f"{quote}'"))
    assert error.kind is kind
    if kind in {Kind.IN_USE, Kind.CHILDREN}:
        assert error.uuids == (VN,)
    if kind in {Kind.NAME_TAKEN, Kind.UUID_TAKEN}:
        assert (error.uuid, error.fq_name) == (VN, ("default-domain", "p", "n"))


@given(st.integers(0, 600), st.text())
def test_no_error_breaks_the_classifier(status, text):
    assert classify(status, text).status == status


IDS = {name: str(UUID(int=number)) for number, name in enumerate(("id", "vm", "network", "project"), 1)}


@given(
    vlan=st.integers(-3, 5000),
    other=st.integers(-3, 5000) | st.none(),
    mac=st.sampled_from(["00:50:56:00:00:01", "00:50:56:AA:00:01", "00:00:00:00:00:00", "nonsense"]),
    vm=st.sampled_from([IDS["vm"], IDS["vm"].upper().replace("0", "A"), "", str(UUID(int=0))]),
    ip=st.sampled_from(["10.0.0.1", "::1", "None", ""]),
)
def test_what_is_sent_without_problem_arrives_as_it_was_meant(vlan, other, mac, vm, ip):
    port = PortDocument(
        **{**IDS, "vm": vm}, name="x", mac=mac, rx_vlan=vlan, tx_vlan=vlan if other is None else other, ip=ip,
        system_name=IDS["id"],
    )  # fmt: skip
    found = problems(port)
    try:
        arrived = read_port(json.loads(json.dumps(port.encode())))
    except PortRefusedError:
        assert found
        return
    assert found or arrived == port
    if (port.rx_vlan == -1) != (port.tx_vlan == -1):
        assert found
