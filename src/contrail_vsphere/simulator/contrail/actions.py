"""Calls of the config API that are not about one collection: names, references, parts of properties, key-value."""

from __future__ import annotations

import json
import uuid as uuids
from collections.abc import Callable, Mapping
from typing import Any

from contrail_vsphere.simulator.contrail import lists, resources
from contrail_vsphere.simulator.contrail.answers import Answer, RefusedError, stumbled
from contrail_vsphere.simulator.contrail.context import Caller, Site
from contrail_vsphere.simulator.contrail.store import ApiObject
from contrail_vsphere.simulator.contrail.values import BadValueError, check_property
from contrail_vsphere.wire.contrail import errors
from contrail_vsphere.wire.contrail.names import joined, ref_field
from contrail_vsphere.wire.contrail.schema import ResourceType, resource, wrapper

Body = Mapping[str, Any]
Action = Callable[[Site, Caller, Body], Answer]


def kind_of(name: Any) -> ResourceType:
    """The type of an action's body, dashed or underscored. RefusedError 404."""
    try:
        return resource(str(name))
    except KeyError:
        raise RefusedError(404, errors.unknown_type(name)) from None


def object_of(site: Site, uuid: Any, text: str = "Unknown id: {}") -> ApiObject:
    """The object of that uuid. RefusedError 404 with ``text``."""
    found = site.store.objects.get(uuid) if isinstance(uuid, str) else None
    if found is None:
        raise RefusedError(404, text.format(uuid))
    return found


def _need(body: Body, *names: str) -> None:
    """The server stumbles over a body without them."""
    if any(name not in body for name in names):
        raise stumbled()


def _json(value: Any) -> Answer:
    return Answer(json.dumps(value))


# -- names ----------------------------------------------------------------------------------------------------------


def fqname_to_id(site: Site, _caller: Caller, body: Body) -> Answer:
    """The uuid of a name."""
    kind = kind_of(body.get("type"))
    _need(body, "fq_name")
    found = site.store.find(kind.name, body["fq_name"])
    if found is None:
        raise RefusedError(404, f"Name {list(body['fq_name'])} not found")
    return _json({"uuid": found.uuid})


def id_to_fqname(site: Site, _caller: Caller, body: Body) -> Answer:
    """The name and type of a uuid."""
    _need(body, "uuid")
    found = object_of(site, body["uuid"], "UUID {} not found")
    return _json({"type": found.type.name, "fq_name": found.fq_name})


def list_bulk(site: Site, _caller: Caller, body: Body) -> Answer:
    """A list whose selectors are too long for a URL."""
    kind = kind_of(body.get("type"))
    return Answer(lists.answer(site, kind, lists.Selection.of_body(body)))


# -- references -----------------------------------------------------------------------------------------------------


def ref_update(site: Site, caller: Caller, body: Body) -> Answer:
    """Add or delete one reference."""
    _need(body, "type", "uuid", "ref-type", "operation")
    kind = kind_of(body["type"])
    to = kind_of(body["ref-type"])
    if body["operation"] not in {"ADD", "DELETE"}:
        raise RefusedError(400, f"Bad Request: operation should be add or delete: {body['operation']}")
    changed = object_of(site, body["uuid"])
    reference = kind.references.get(ref_field(to.name))
    if reference is None or changed.type is not kind:
        raise RefusedError(404, errors.unknown_type(body["ref-type"]))
    if body.get("ref-uuid"):
        target = object_of(site, body["ref-uuid"])
    else:
        _need(body, "ref-fq-name")
        named = site.store.find(to.name, body["ref-fq-name"])
        if named is None:
            raise RefusedError(404, f"Name {list(body['ref-fq-name'])} not found")
        target = named
    add = body["operation"] == "ADD"
    resources.update_reference(site, caller, changed, reference, target, add=add, attr=body.get("attr"))
    return _json({"uuid": changed.uuid})


def ref_relax(site: Site, _caller: Caller, body: Body) -> Answer:
    """Let the target be deleted although it is referred to."""
    _need(body, "uuid", "ref-uuid")
    object_of(site, body["uuid"]).relaxed.add(str(body["ref-uuid"]))
    return _json({"uuid": body["uuid"]})


# -- lists and maps in properties -----------------------------------------------------------------------------------


def prop_update(site: Site, caller: Caller, body: Body) -> Answer:
    """Edit elements of list and map properties."""
    _need(body, "uuid")
    changed = object_of(site, body["uuid"], "Object Not Found: {}")
    with site.store.commit(caller.request_id) as tx:
        for change in body.get("updates") or []:
            name, value = _edited(changed, change)
            tx.set_property(changed, name, value)
        tx.touch(changed)
        tx.tell("UPDATE", changed, resources.hooks_of(changed.type).extra)
    return Answer()


def _edited(changed: ApiObject, change: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The property's name and value after one edit."""
    kind, name = changed.type, str(change.get("field"))
    if name not in kind.maps and name not in kind.lists:
        raise RefusedError(400, f'{name} neither "ListProperty" nor "MapProperty"')
    allowed = {"set", "delete"} if name in kind.maps else {"add", "modify", "delete"}
    operation, value, position = change.get("operation"), change.get("value"), change.get("position")
    if operation not in allowed:
        raise RefusedError(400, f"Unsupported operation {operation} in request {json.dumps(change)}")
    inner = wrapper(kind, name)
    items = list((changed.properties.get(name) or {}).get(inner) or [])
    if name in kind.maps:
        key = kind.maps[name]
        wanted = position if position is not None else (value or {}).get(key)
        items = [item for item in items if item.get(key) != wanted]
        items += [value] if operation == "set" else []
    else:
        items = _edit_list(items, str(operation), value, position)
    made = {**(changed.properties.get(name) or {}), inner: items}
    try:
        check_property(kind, name, made)
    except BadValueError as error:
        raise RefusedError(400, f"Bad property in update: {error}") from None
    return name, made


def _edit_list(items: list[Any], operation: str, value: Any, position: Any) -> list[Any]:
    if operation == "add":
        return [*items, value]
    try:
        index = int(position)
        items[index]
    except (TypeError, ValueError, IndexError):
        return items
    return [*items[:index], *([value] if operation == "modify" else []), *items[index + 1 :]]


def prop_get(site: Site, query: Mapping[str, str]) -> Answer:
    """Elements of list and map properties, with their positions."""
    found = object_of(site, query.get("uuid"), "Object Not Found: {}")
    made: dict[str, list[Any]] = {}
    for name in query.get("fields", "").split(","):
        if name not in found.type.maps and name not in found.type.lists:
            raise RefusedError(400, f'{name} neither "ListProperty" nor "MapProperty"')
        items = (found.properties.get(name) or {}).get(wrapper(found.type, name)) or []
        key = found.type.maps.get(name)
        pairs = [[item, item.get(key) if key else str(index)] for index, item in enumerate(items)]
        pairs.sort(key=lambda pair: str(pair[1]))
        wanted = query.get("position")
        made[name] = [pair for pair in pairs if wanted is None or pair[1] == wanted]
    return _json(made)


# -- key-value, permissions -----------------------------------------------------------------------------------------


def user_agent_kv(site: Site, _caller: Caller, body: Body) -> Answer:
    """A small key-value store that clients share; a value that reads as JSON comes back as what it reads."""
    values = site.store.user_agent_values
    operation, key = body.get("operation"), body.get("key")
    match operation:
        case "STORE":
            values[str(key)] = body.get("value")
            return Answer()
        case "DELETE":
            values.pop(str(key), None)
            return Answer()
        case "RETRIEVE":
            if isinstance(key, list):
                return _json({"value": [_loose(values[item]) for item in key if item in values]})
            if not key:
                return _json({"value": [{"key": name, "value": value} for name, value in values.items()]})
            if key not in values:
                raise RefusedError(404, f"Unknown User-Agent key {key}")
            return _json({"value": _loose(values[key])})
    raise RefusedError(404, f"Invalid Operation {operation}")


def _loose(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def chown(site: Site, caller: Caller, body: Body) -> Answer:
    """Give an object to another project."""
    _need(body, "uuid", "owner")
    try:
        owner = str(uuids.UUID(str(body["owner"])))
    except ValueError:
        raise RefusedError(400, "Bad Request, invalid owner UUID") from None
    _change_perms(site, caller, object_of(site, body["uuid"]), {"owner": owner})
    return Answer("{}")


def chmod(site: Site, caller: Caller, body: Body) -> Answer:
    """Change who may do what with an object."""
    _need(body, "uuid")
    asked = {name: body[name] for name in ("owner", "owner_access", "global_access", "share") if name in body}
    _change_perms(site, caller, object_of(site, body["uuid"]), asked)
    return Answer("{}")


def _change_perms(site: Site, caller: Caller, changed: ApiObject, asked: Mapping[str, Any]) -> None:
    resources.update(site, caller, changed, {"perms2": changed.properties["perms2"] | asked})


# -- addresses of a network -----------------------------------------------------------------------------------------


def ip_alloc(site: Site, caller: Caller, network: ApiObject, body: Body) -> Answer:
    """Take addresses without an instance-ip."""
    made = []
    with site.store.commit(caller.request_id) as tx:
        for _ in range(int(body.get("count", 1))):
            family = str(body.get("family") or "v4")
            subnet = str(body.get("subnet") or "")
            made.append(site.ipam.allocate(tx, network, owner="", family=family, subnet_uuid=subnet)[0])
    return _json({"ip_addr": made})


def ip_free(site: Site, caller: Caller, network: ApiObject, body: Body) -> Answer:
    """Give them back."""
    with site.store.commit(caller.request_id) as tx:
        for address in body.get("ip_addr") or []:
            site.ipam.free(tx, network, address)
    return Answer()


def subnet_ip_count(site: Site, _caller: Caller, network: ApiObject, body: Body) -> Answer:
    """How many addresses of each subnet are taken."""
    taken = {subnet.uuid: len(site.ipam.used(network, subnet)) for subnet in site.ipam.subnets(network)}
    return _json({"ip_count_list": [taken.get(uuid, 0) for uuid in body.get("subnet_list") or []]})


def execute_job(_site: Site, _caller: Caller, body: Body) -> Answer:
    """There is no device manager here, so there are no job templates."""
    wanted = body.get("job_template_id") or joined(map(str, body.get("job_template_fq_name") or ()))
    raise RefusedError(404, f"Unknown id: job_template {wanted}")


def set_tag(site: Site, _caller: Caller, body: Body) -> Answer:
    """Tags can be named, not made: only what a person created before can be set."""
    tagged = object_of(site, body.get("obj_uuid"))
    for name, change in body.items():
        if name in {"obj_type", "obj_uuid"} or not isinstance(change, dict):
            continue
        for value in change.get("add_values") or [change.get("value")]:
            scope = () if change.get("is_global") else (site.store.name_of(tagged.parent_uuid) or ())
            fq_name = [*scope, f"{name}={value}"]
            if site.store.find("tag", fq_name) is None:
                raise RefusedError(404, f"Tag with FQName {fq_name} not found")
    return Answer("{}")


ACTIONS: Mapping[str, Action] = {
    "fqname-to-id": fqname_to_id,
    "id-to-fqname": id_to_fqname,
    "list-bulk-collection": list_bulk,
    "ref-update": ref_update,
    "ref-relax-for-delete": ref_relax,
    "prop-collection-update": prop_update,
    "useragent-kv": user_agent_kv,
    "chown": chown,
    "chmod": chmod,
    "set-tag": set_tag,
    "execute-job": execute_job,
    "db-check": lambda _site, _caller, _body: _json({"results": []}),
}
"""``POST /<name>``."""

NETWORK_ACTIONS: Mapping[str, Callable[[Site, Caller, ApiObject, Body], Answer]] = {
    "ip-alloc": ip_alloc,
    "ip-free": ip_free,
    "subnet-ip-count": subnet_ip_count,
}
"""``POST /virtual-network/<uuid>/<name>``."""
