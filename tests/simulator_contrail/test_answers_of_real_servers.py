# ruff: noqa: E501 - one line per exchange reads best as a table
"""Requests that were put to two real API servers (R1912 and 2024 master), with the answers they gave.

Status and text are what was observed; uuids differ from run to run, so they are written as names here.
"""

import re
import uuid

import pytest
from contrail_desk import desk

P = ["default-domain", "P"]
VM, VMI, VMI2, VMI3, VMI4 = (str(uuid.UUID(int=number << 64 | 1 << 63)) for number in (11, 12, 13, 14, 15))
NOBODY = str(uuid.UUID(int=99 << 64 | 1 << 63))
SHORT = r'\{"%s": \{.*"uuid": "[0-9a-f-]{36}".*\}\}'


def named(kind, fq_name, **more):
    return {kind: {"fq_name": fq_name, **more}}


def vn(name, **more):
    return named("virtual-network", [*P, name], **more)


def vmi(uuid_, **more):
    return named("virtual-machine-interface", [*P, uuid_], uuid=uuid_, parent_type="project", **more)


def ip(name, *, network="vn1", interface=VMI, **more):
    refs = {
        "virtual_network_refs": [{"to": [*P, network], "uuid": "{vn1}"}],
        "virtual_machine_interface_refs": [{"to": [*P, interface]}],
    }
    return named("instance-ip", [name], **{**refs, **more})


def subnet(prefix, length, **more):
    return {"subnet": {"ip_prefix": prefix, "ip_prefix_len": length}, **more}


def ipam(*subnets):
    return {"network_ipam_refs": [{"to": [*P, "ipam"], "attr": {"ipam_subnets": list(subnets)}}]}


PROJECT = {"parent_type": "project"}
TO_VN1 = {"virtual_network_refs": [{"to": [*P, "vn1"]}]}
FIRST = subnet("10.9.0.0", 29, addr_from_start=True)

BASICS = [
    ("POST", "/projects", named("project", P, parent_type="domain"), 200, SHORT % "project", "project"),
    ("POST", "/network-ipams", named("network-ipam", [*P, "ipam"], **PROJECT), 200, SHORT % "network-ipam", "ipam"),
    ("POST", "/virtual-networks", vn("vn1", **PROJECT, **ipam(FIRST), id_perms={"enable": True, "creator": "x"}), 200, SHORT % "virtual-network", "vn1"),
    # the same again, and what is not valid
    ("POST", "/virtual-networks", vn("vn1", **PROJECT), 409, r"\['default-domain', 'P', 'vn1'\] already exists with uuid: {vn1}"),
    ("POST", "/virtual-networks", vn("vn2", **PROJECT, uuid="{vn1}"), 409, r"{vn1} already exists with fq_name: \['default-domain', 'P', 'vn1'\]"),
    ("POST", "/virtual-networks", named("virtual-network", ["default-domain", "nope", "vn2"], **PROJECT), 404, r"Name\['default-domain', 'nope'\] not found"),
    ("POST", "/virtual-networks", vn("vnx"), 500, "KeyError: 'parent_uuid'"),
    ("POST", "/virtual-networks", {"virtual-network": PROJECT}, 400, "Bad Request, no fq_name in POST body"),
    ("POST", "/virtual-networks", vn("vnx", parent_type="domain"), 400, r"Invalid parent type: domain. Allowed types: \['project'\]"),
    ("POST", "/virtual-networks", vn("vnx", **PROJECT, bogus=1), 200, SHORT % "virtual-network", "vnx"),
    ("POST", "/virtual-networks", vn("vny", **PROJECT, is_shared="abc"), 400, "Bad property in create: Error validating property is_shared: true/false expected instead of abc"),
    ("POST", "/virtual-networks", vn("vnz", **PROJECT, uuid="not-a-uuid"), 500, "Internal Server Error"),
    ("POST", "/virtual-networks", {"foo": {}}, 500, "Internal Server Error"),
    ("POST", "/virtual-networks", b"", 500, "Internal Server Error"),
    ("POST", "/virtual-networks", b"{bad", 500, "Internal Server Error"),
    ("POST", "/bogus-types", {"x": 1}, 404, "Not found: '/bogus-types'"),
    ("GET", f"/virtual-network/{NOBODY}", None, 404, f"Unknown id: {NOBODY}"),
    ("GET", "/virtual-network/notuuid", None, 404, "Unknown id: notuuid"),
    ("PUT", f"/virtual-network/{NOBODY}", {"virtual-network": {"display_name": "x"}}, 404, f"Unknown id: {NOBODY}"),
    ("DELETE", f"/virtual-network/{NOBODY}", None, 404, f"ID {NOBODY} does not exist"),
    ("PATCH", "/virtual-network/{vn1}", {"virtual-network": {"display_name": "x"}}, 405, "Method not allowed."),
    # updates
    ("PUT", "/virtual-network/{vn1}", {"virtual-network": {"display_name": "newname"}}, 200, '{"virtual-network": {"uuid": "{vn1}", "href": .*}}'),
    ("PUT", "/virtual-network/{vn1}", vn("renamed", display_name="n2"), 200, ".*"),
    ("PUT", "/virtual-network/{vn1}", {"virtual-network": {"uuid": NOBODY, "display_name": "n2"}}, 200, ".*"),
    ("PUT", "/virtual-network/{vn1}", {"virtual-network": {"id_perms": {"creator": "other", "description": "d"}}}, 200, ".*"),
    ("GET", "/virtual-network/{vn1}?fields=id_perms,display_name", None, 200, '.*"fq_name": \\["default-domain", "P", "vn1"\\].*"description": "d".*"creator": "x".*"display_name": "n2".*'),
    ("PUT", "/virtual-network/{vn1}", {"virtual-network": {"is_shared": None}}, 200, ".*"),
    ("PUT", "/virtual-network/{vn1}", {"virtual-network": {"bogus": 3}}, 200, ".*"),
    # a machine with an interface and addresses
    ("POST", "/virtual-machines", named("virtual-machine", [VM], uuid=VM, display_name="web1"), 200, SHORT % "virtual-machine"),
    ("POST", "/virtual-machine-interfaces", vmi(VMI, virtual_machine_refs=[{"to": [VM]}]), 500, "KeyError: 'virtual_network_refs'"),
    ("POST", "/virtual-machine-interfaces", vmi(VMI, virtual_network_refs=[{"to": [*P, "nonexist"]}]), 400, "Unknown reference in resource create .*"),
    ("POST", "/virtual-machine-interfaces", vmi(VMI, **TO_VN1, virtual_machine_refs=[{"to": ["nonvm"]}]), 500, "NoIdError: Unknown id: virtual_machine nonvm"),
    ("POST", "/virtual-machine-interfaces", vmi(VMI, **TO_VN1, virtual_machine_refs=[{"to": [VM], "uuid": VM}], virtual_machine_interface_mac_addresses={"mac_address": ["00-50-56-AA-bb-01"]}), 200, ".*"),
    ("GET", f"/virtual-machine-interface/{VMI}", None, 200, '.*"mac_address": \\["00:50:56:AA:bb:01"\\].*"port_security_enabled": true.*"to": \\["default-domain", "P", "vn1", "vn1"\\].*"direction": "both".*'),
    ("POST", "/virtual-machine-interfaces", vmi(VMI2, **TO_VN1, virtual_machine_interface_mac_addresses={"mac_address": ["zz"]}), 200, ".*"),
    ("POST", "/virtual-machine-interfaces", vmi(VMI2, **TO_VN1), 409, r"\['default-domain', 'P', '.*'\] already exists with uuid: .*"),
    ("POST", "/instance-ips", ip("a"), 200, SHORT % "instance-ip", "a"),
    ("GET", "/instance-ip/{a}", None, 200, '.*"instance_ip_address": "10.9.0.3".*"subnet_uuid": .*'),
    ("POST", "/instance-ips", ip("b", instance_ip_address="10.9.0.4"), 200, SHORT % "instance-ip", "b"),
    ("POST", "/instance-ips", ip("c", instance_ip_address="10.9.0.4"), 409, "IP address already in use"),
    ("POST", "/instance-ips", ip("d", instance_ip_address="99.1.1.1"), 400, r"Virtual-Network\(\['default-domain', 'P', 'vn1'\]\) has exhausted subnet\(\[\]\)"),
    ("POST", "/instance-ips", ip("d2", instance_ip_address="10.9.0.1"), 400, "Gateway IP cannot be used by VM port"),
    ("POST", "/instance-ips", ip("d3", instance_ip_address="10.9.0.2"), 409, "IP address already in use"),
    ("POST", "/instance-ips", ip("d4", instance_ip_address="10.9.0.0"), 409, "IP address already in use"),
    ("POST", "/instance-ips", ip("d5", instance_ip_address="10.9.0.7"), 409, "IP address already in use"),
    ("POST", "/instance-ips", ip("e6", instance_ip_family="v6"), 400, r"Virtual-Network\(.*\) has exhausted subnet\(\[\]\)"),
    ("POST", "/instance-ips", ip("d6", subnet_uuid=NOBODY), 400, rf"Virtual-Network\(.*\) has invalid subnet\({NOBODY}\)"),
    ("POST", "/instance-ips", ip("e"), 200, ".*"),
    ("POST", "/instance-ips", ip("f"), 200, ".*"),
    ("POST", "/instance-ips", ip("g"), 400, r"Virtual-Network\(.*\) has exhausted subnet\(\[\]\)"),
    ("POST", "/instance-ips", named("instance-ip", ["novn"]), 400, "can only join an iterable"),
    # nothing that is in use can be deleted
    ("DELETE", "/virtual-network/{vn1}", None, 409, r"Delete when resource still referred: \[u?'http://.*/virtual-machine-interface/.*', u?'http.*'\]"),
    ("DELETE", f"/virtual-machine-interface/{VMI}", None, 409, r"Delete when resource still referred: \[u?'http://.*/instance-ip/.*'\]"),
    ("DELETE", f"/virtual-machine/{VM}", None, 409, rf"Delete when resource still referred: \[u?'http://.*/virtual-machine-interface/{VMI}'\]"),
    ("DELETE", "/network-ipam/{ipam}", None, 409, r"Delete when resource still referred: \[u?'http://.*/virtual-network/{vn1}'\]"),
    ("DELETE", "/project/{project}", None, 409, r"Delete when children still present: \[u?'http.*"),
    ("PUT", "/virtual-network/{vn1}", {"virtual-network": {"network_ipam_refs": []}}, 409, r"Cannot Delete IP Block, IP\(10.9.0.\d\) is in use"),
    ("PUT", "/virtual-network/{vn1}", {"virtual-network": ipam(subnet("10.9.1.0", 24))}, 409, r"Cannot Delete IP Block, IP\(10.9.0.\d\) is in use"),
    ("GET", "/virtual-network/{vn1}?fields=network_ipam_refs", None, 200, '.*"default_gateway": "10.9.0.1", "dns_server_address": "10.9.0.2".*'),
]  # fmt: skip

ACTIONS = [
    ("POST", "/virtual-machine-interfaces", vmi(VMI3, **TO_VN1), 200, ".*"),
    ("POST", "/virtual-machine-interfaces", vmi(VMI4, **TO_VN1, virtual_machine_refs=[{"to": [VM]}]), 200, ".*"),
    ("GET", f"/virtual-machine/{VM}", None, 200, '.*"virtual_machine_interface_back_refs": .*'),
    ("GET", f"/virtual-machine/{VM}?exclude_back_refs=false", None, 200, '(?!.*back_refs).*'),
    ("GET", "/virtual-network/{vn1}?fields=bogus_field", None, 200, '(?!.*bogus).*"id_perms".*'),
    ("GET", "/virtual-networks?count=True", None, 200, '{"virtual-networks": {"count": 6}}'),
    ("GET", "/virtual-networks?parent_id={project}", None, 200, '(.*"fq_name"){2}(?!.*fq_name).*'),
    ("GET", "/virtual-networks?parent_fq_name_str=default-domain:P", None, 200, '(.*"fq_name"){2}(?!.*fq_name).*'),
    ("GET", "/virtual-networks?fq_names=default-domain:P:vn1", None, 200, '(.*"fq_name"){1}(?!.*fq_name).*'),
    ("GET", "/virtual-networks?filters=display_name==%22n2%22", None, 200, '(.*"fq_name"){1}(?!.*fq_name).*'),
    ("GET", "/virtual-networks?filters=display_name==n2", None, 200, '(.*"fq_name"){1}(?!.*fq_name).*'),
    ("GET", "/virtual-networks?filters=is_shared==false", None, 200, '(?!.*"vn1").*__link_local__.*'),
    ("GET", "/virtual-networks?filters=id_perms==%7B%7D", None, 400, "Invalid filter id_perms=={}"),
    ("GET", f"/virtual-networks?obj_uuids={NOBODY}&detail=True", None, 200, r'{"virtual-networks": \[\]}'),
    ("GET", "/virtual-networks?page_limit=2", None, 200, '(?!.*marker)(.*"fq_name"){6}.*'),
    ("GET", "/virtual-networks?page_limit=2&page_marker=00000000-0000-0000-0000-000000000000", None, 200, '(.*"fq_name"){2}(?!.*fq_name).*"marker": "default-domain:P:vnx:[0-9a-f-]{36}"}'),
    ("GET", "/virtual-networks?page_marker=nonsense", None, 400, ".*"),
    ("GET", "/virtual-machine-interfaces?back_ref_id={vn1}", None, 200, '(.*"fq_name"){4}(?!.*fq_name).*'),
    ("GET", f"/virtual-machine-interfaces?back_ref_id={VM}", None, 200, '(.*"fq_name"){2}(?!.*fq_name).*'),
    ("GET", "/instance-ips?back_ref_id={vn1}&fields=instance_ip_address,virtual_machine_interface_refs&exclude_hrefs=true", None, 200, '(?!.*href)(?!.*id_perms).*"instance_ip_address".*"attr": null.*'),
    ("POST", "/list-bulk-collection", {"type": "virtual-network", "obj_uuids": "{vn1}", "fields": "display_name", "detail": False}, 200, '.*"display_name": "n2".*'),
    ("POST", "/list-bulk-collection", {"type": "virtual-network", "obj_uuids": ["{vn1}"], "detail": True}, 500, "Internal Server Error"),
    ("POST", "/list-bulk-collection", {"obj_uuids": "{vn1}"}, 404, "Resource type 'None' not found"),
    ("POST", "/list-bulk-collection", {"type": "bogus"}, 404, "Resource type 'bogus' not found"),
    ("POST", "/fqname-to-id", {"type": "virtual-network", "fq_name": [*P, "vn1"]}, 200, '{"uuid": "{vn1}"}'),
    ("POST", "/fqname-to-id", {"type": "virtual_network", "fq_name": [*P, "vn1"]}, 200, '{"uuid": "{vn1}"}'),
    ("POST", "/fqname-to-id", {"type": "virtual-network", "fq_name": [*P, "nope"]}, 404, r"Name \['default-domain', 'P', 'nope'\] not found"),
    ("POST", "/fqname-to-id", {"type": "bogus", "fq_name": ["x"]}, 404, "Resource type 'bogus' not found"),
    ("POST", "/fqname-to-id", {"type": "virtual-network"}, 500, "Internal Server Error"),
    ("POST", "/id-to-fqname", {"uuid": "{vn1}"}, 200, r'{"type": "virtual-network", "fq_name": \["default-domain", "P", "vn1"\]}'),
    ("POST", "/id-to-fqname", {"uuid": NOBODY}, 404, f"UUID {NOBODY} not found"),
    ("POST", "/id-to-fqname", {"uuid": "zz"}, 404, "UUID zz not found"),
    # references
    ("POST", "/security-groups", named("security-group", [*P, "sgA"], **PROJECT), 200, ".*", "sg"),
    *(("POST", "/ref-update", {"type": "virtual-machine-interface", "uuid": VMI, "ref-type": "security-group", "operation": operation, **target}, status, text) for operation, target, status, text in (
        ("ADD", {"ref-uuid": "{sg}"}, 200, f'{{"uuid": "{VMI}"}}'),
        ("ADD", {"ref-fq-name": [*P, "sgA"]}, 200, ".*"),
        ("DELETE", {"ref-uuid": "{sg}"}, 200, ".*"),
        ("DELETE", {"ref-uuid": "{sg}"}, 200, ".*"),
        ("ADD", {"ref-uuid": NOBODY}, 404, f"Unknown id: {NOBODY}"),
        ("FROB", {"ref-uuid": "{sg}"}, 400, "Bad Request: operation should be add or delete: FROB"),
        ("ADD", {"ref-type": "bogus", "ref-uuid": "{sg}"}, 404, "Resource type 'bogus' not found"),
        ("ADD", {"uuid": NOBODY, "ref-uuid": "{sg}"}, 404, f"Unknown id: {NOBODY}"),
    )),
    ("POST", "/ref-update", {"type": "virtual-machine-interface", "uuid": VMI}, 500, "Internal Server Error"),
    ("POST", "/ref-update", {"type": "virtual-network", "uuid": "{vn1}", "ref-type": "network-ipam", "ref-uuid": "{ipam}", "operation": "ADD", "attr": {"ipam_subnets": [FIRST, subnet("10.9.2.0", 24, addr_from_start=True)]}}, 200, ".*"),
    ("POST", "/ref-relax-for-delete", {"uuid": VMI, "ref-uuid": "{sg}"}, 200, f'{{"uuid": "{VMI}"}}'),
    ("PUT", f"/virtual-machine-interface/{VMI}", {"virtual-machine-interface": {"security_group_refs": [{"to": [*P, "sgA"]}]}}, 200, ".*"),
    ("PUT", f"/virtual-machine-interface/{VMI}", {"virtual-machine-interface": {"security_group_refs": [{"to": [*P, "nonono"]}]}}, 400, r"Unknown reference in resource update virtual_machine_interface \{'security_group_refs': \[\{'to': \['default-domain', 'P', 'nonono'\]\}\]\}\."),
    ("DELETE", "/security-group/{sg}", None, 200, ""),
    ("GET", f"/virtual-machine-interface/{VMI}", None, 200, ".*security_group_refs.*"),
    ("PUT", f"/virtual-machine-interface/{VMI}", {"virtual-machine-interface": {"security_group_refs": []}}, 200, ".*"),
    ("PUT", f"/virtual-machine-interface/{VMI}", {"virtual-machine-interface": {"virtual_network_refs": [{"to": [*P, "vnx"]}]}}, 200, ".*"),
    ("PUT", f"/virtual-machine-interface/{VMI}", {"virtual-machine-interface": {"virtual_machine_refs": []}}, 200, ".*"),
    # the network changed, the routing instance did not
    ("GET", f"/virtual-machine-interface/{VMI}?fields=virtual_network_refs,routing_instance_refs,virtual_machine_refs", None, 200, r'(?!.*virtual_machine_refs)(?=.*"to": \["default-domain", "P", "vnx"\]).*"to": \["default-domain", "P", "vn1", "vn1"\].*'),
    ("PUT", f"/virtual-machine-interface/{VMI}", {"virtual-machine-interface": {"security_group_refs": [{"uuid": VMI}]}}, 500, "KeyError: 'to'"),
    # parts of properties
    ("POST", "/prop-collection-update", {"uuid": VMI, "updates": [{"field": "annotations", "operation": "set", "value": {"key": "vcenter.moid", "value": "vm-12"}, "position": "vcenter.moid"}]}, 200, ""),
    ("POST", "/prop-collection-update", {"uuid": VMI, "updates": [{"field": "annotations", "operation": "set", "value": {"key": "b", "value": "2"}, "position": "b"}, {"field": "annotations", "operation": "delete", "value": None, "position": "zzz"}]}, 200, ""),
    ("POST", "/prop-collection-update", {"uuid": VMI, "updates": [{"field": "annotations", "operation": "add", "value": {"key": "b", "value": "2"}}]}, 400, "Unsupported operation add in request .*"),
    ("POST", "/prop-collection-update", {"uuid": VMI, "updates": [{"field": "display_name", "operation": "set", "value": "x"}]}, 400, 'display_name neither "ListProperty" nor "MapProperty"'),
    ("POST", "/prop-collection-update", {"uuid": NOBODY, "updates": []}, 404, f"Object Not Found: {NOBODY}"),
    ("GET", f"/prop-collection-get?uuid={VMI}&fields=annotations", None, 200, r'{"annotations": \[\[{"key": "b", "value": "2"}, "b"\], \[{"key": "vcenter.moid", "value": "vm-12"}, "vcenter.moid"\]\]}'),
    ("GET", f"/prop-collection-get?uuid={VMI}&fields=annotations&position=b", None, 200, r'{"annotations": \[\[{"key": "b", "value": "2"}, "b"\]\]}'),
    ("PUT", f"/virtual-machine-interface/{VMI}", {"virtual-machine-interface": {"annotations": {"key_value_pair": [{"key": "only", "value": "1"}]}}}, 200, ".*"),
    ("POST", "/prop-collection-update", {"uuid": VMI, "updates": [{"field": "annotations", "operation": "delete", "position": "only"}]}, 200, ""),
    ("GET", f"/prop-collection-get?uuid={VMI}&fields=annotations", None, 200, r'{"annotations": \[\]}'),
    # the rest
    ("POST", "/useragent-kv", {"operation": "STORE", "key": "vsphere:cursor", "value": "17"}, 200, ""),
    ("POST", "/useragent-kv", {"operation": "RETRIEVE", "key": "vsphere:cursor"}, 200, '{"value": 17}'),
    ("POST", "/useragent-kv", {"operation": "RETRIEVE", "key": ["vsphere:cursor", "nope"]}, 200, r'{"value": \[17\]}'),
    ("POST", "/useragent-kv", {"operation": "RETRIEVE", "key": None}, 200, r'{"value": \[{"key": "vsphere:cursor", "value": "17"}\]}'),
    ("POST", "/useragent-kv", {"operation": "RETRIEVE", "key": "nope"}, 404, "Unknown User-Agent key nope"),
    ("POST", "/useragent-kv", {"operation": "DELETE", "key": "vsphere:cursor"}, 200, ""),
    ("POST", "/useragent-kv", {"operation": "FOO", "key": "a"}, 404, "Invalid Operation FOO"),
    ("GET", "/obj-perms?uuid={vn1}", None, 200, '.*"permissions": "RWX".*'),
    ("GET", "/aaa-mode", None, 200, '{"aaa-mode": "no-auth"}'),
    ("POST", "/chown", {"uuid": "{vn1}", "owner": NOBODY}, 200, "{}"),
    ("POST", "/chown", {"uuid": "{vn1}", "owner": "abc"}, 400, "Bad Request, invalid owner UUID"),
    ("POST", "/chmod", {"uuid": "{vn1}", "owner_access": 7, "global_access": 5, "share": [{"tenant": NOBODY, "tenant_access": 7}]}, 200, "{}"),
    ("GET", "/virtual-network/{vn1}?fields=perms2,is_shared", None, 200, '.*"global_access": 5.*"is_shared": true.*'),
    ("POST", "/virtual-network/{vn1}/ip-alloc", {"count": 2}, 200, r'{"ip_addr": \["10.9.2.3", "10.9.2.4"\]}'),
    ("POST", "/virtual-network/{vn1}/subnet-ip-count", {"subnet_list": []}, 200, r'{"ip_count_list": \[\]}'),
    ("POST", "/virtual-network/{vn1}/ip-free", {"ip_addr": ["10.9.2.3"]}, 200, ""),
    ("POST", "/execute-job", {"job_template_fq_name": ["a", "b"], "input": {}}, 404, "Unknown id: job_template a:b"),
    ("POST", "/set-tag", {"obj_type": "virtual_network", "obj_uuid": "{vn1}", "label": {"is_global": True, "add_values": ["x"]}}, 404, r"Tag with FQName \['label=x'\] not found"),
    ("POST", "/db-check", {}, 200, r'{"results": \[\]}'),
    ("GET", "/config-root", None, 404, "Not found: '/config-root'"),
    ("GET", "/documentation/index.html", None, 404, "File does not exist."),
    ("GET", "/virtual-routers", None, 200, r'{"virtual-routers": \[\]}'),
    ("POST", "/virtual-routers", named("virtual-router", ["default-global-system-config", "esx1"], parent_type="global-system-config", virtual_router_ip_address="10.0.0.5", virtual_router_type=["embedded"]), 400, r"Bad property in create: Error validating property virtual_router_type: string value expected instead of \['embedded'\]"),
    ("POST", "/access-control-lists", named("access-control-list", [*P, "vn1", "acl1"], parent_type="virtual-network", access_control_list_entries={"acl_rule": []}), 200, ".*"),
]  # fmt: skip


def filled(value, known):
    """Names of remembered uuids replaced, anywhere in a request or a pattern."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: known.get(match[1], match[0]), value)
    if isinstance(value, dict):
        return {key: filled(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, known) for item in value]
    return value


async def put_to(at, conversation):
    known = {}
    for number, (method, path, body, status, text, *remember) in enumerate(conversation):
        path, body, text = filled(path, known), filled(body, known), filled(text, known)
        url = at.contrail.ready["url"] + path
        options = {"data": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        async with at.http.request(method, url, **options) as reply:
            answer = await reply.text()
            where = f"{number}: {method} {path} {body} -> {reply.status} {answer}"
            assert reply.status == status, where
            pattern = text if text.startswith(("(", ".")) or status >= 400 else re.sub(r"(?<!\\)([{}])", r"\\\1", text)
            pattern = re.sub(r"\\\{(\d+)\\\}", r"{\1}", pattern)
            assert re.fullmatch(pattern, answer, re.DOTALL), where + "\nexpected " + pattern
            kind = "text/html" if status >= 400 or not answer else "application/json"
            assert reply.content_type == kind, where
        for name in remember:
            known[name] = re.search(r'"uuid": "([0-9a-f-]{36})"', answer)[1]


@pytest.mark.parametrize("profile", ["r1912", "master"])
async def test_the_same_requests_get_the_same_answers(profile):
    async with desk(profile=profile) as at:
        await put_to(at, BASICS + ACTIONS)


@pytest.mark.parametrize(("profile", "mark"), [("r1912", "[u'http"), ("master", "['http")])
async def test_texts_are_quoted_as_the_release_quotes_them(profile, mark):
    async with desk(profile=profile) as at:
        at.contrail.scenario.create_network("blue", "10.1.0.0/24")
        project = at.contrail.scenario.find("project", "vCenter")
        _status, text = await at.ask("DELETE", f"/project/{project.uuid}")
        assert mark in text


async def test_the_home_page_lists_every_type_and_action():
    async with desk() as at:
        links = [link["link"] for link in (await at.get("/"))["links"]]
        rels = {link["rel"] for link in links}
        assert rels == {"documentation", "root", "collection", "resource-base", "action"}
        assert {"ref-update", "list-bulk-collection", "name-to-id"} <= {link["name"] for link in links}
