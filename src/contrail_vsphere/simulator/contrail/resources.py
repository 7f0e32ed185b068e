"""Create, update and delete of any type: the rules that all types share, in the order the API server checks them.

What one type does beyond that (addresses, ids, rules) is in its hooks.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Mapping
from typing import Any

from contrail_vsphere.simulator.contrail.answers import RefusedError, stumbled
from contrail_vsphere.simulator.contrail.context import CLOUD_ADMIN, Caller, Site
from contrail_vsphere.simulator.contrail.hooks import HOOKS, NO_HOOKS, Hooks
from contrail_vsphere.simulator.contrail.store import ApiObject, Transaction
from contrail_vsphere.simulator.contrail.values import BadValueError, check_attribute, check_property
from contrail_vsphere.wire.contrail import errors
from contrail_vsphere.wire.contrail.names import joined
from contrail_vsphere.wire.contrail.schema import ROOT, Reference, ResourceType

DEFAULT_PERMISSIONS = {
    "owner": CLOUD_ADMIN,
    "owner_access": 7,
    "group": "cloud-admin-group",
    "group_access": 7,
    "other_access": 7,
}


def create(site: Site, caller: Caller, kind: ResourceType, body: Mapping[str, Any]) -> ApiObject:
    """``POST /<type>s``. RefusedError with the server's answer if it cannot be."""
    fq_name = _read_name(body)
    properties = _read_properties(kind, body, operation="create")
    references = _read_references(site, kind, body, operation="create")
    parent_type, parent = _find_parent(site, kind, body, fq_name)
    taken = site.store.find(kind.name, fq_name)
    if taken is not None:  # asked before the uuid: who repeats a create hears of the name
        raise RefusedError(409, errors.name_taken(fq_name, taken.uuid))
    uuid = _read_uuid(site, body)
    _check_quota(site, kind, parent)
    made = ApiObject(
        uuid=uuid,
        type=kind,
        fq_name=fq_name,
        parent_uuid=parent.uuid if parent is not None else "",
        parent_type=parent_type,
        properties=properties,
        references={name: found for name, found in references.items() if found},
    )
    properties["id_perms"] = _id_perms(site, uuid, properties.get("id_perms"))
    properties["perms2"] = _perms2(caller, kind, body, parent)
    properties.setdefault("display_name", fq_name[-1])
    hooks = hooks_of(kind)
    with site.store.commit(caller.request_id) as tx:
        hooks.before_create(site, tx, made)
        tx.insert(made)
        tx.tell("CREATE", made)
        hooks.after_create(site, tx, made)
    return made


def update(site: Site, caller: Caller, changed: ApiObject, body: Mapping[str, Any]) -> None:
    """``PUT /<type>/<uuid>``: what the body does not name stays."""
    kind = changed.type
    properties = _read_properties(kind, body, operation="update", keep_null=True)
    references = _read_references(site, kind, body, operation="update")
    with site.store.commit(caller.request_id) as tx:
        hooks_of(kind).before_update(site, tx, changed, properties, references)
        for name, value in properties.items():
            if name == "id_perms":
                _update_id_perms(tx, changed, value)
            else:
                tx.set_property(changed, name, value)
        for name, found in references.items():
            tx.set_references(changed, name, found)
        tx.touch(changed)
        tx.tell("UPDATE", changed, hooks_of(kind).extra)


def delete(site: Site, caller: Caller, gone: ApiObject) -> None:
    """``DELETE /<type>/<uuid>``. RefusedError 409 while something needs the object."""
    hooks = hooks_of(gone.type)
    store = site.store
    own = [
        child
        for child in store.children(gone.uuid)
        if child.type.name in gone.type.derived_children or child.type.name in hooks.own_children
    ]
    blocking = [child for child in store.children(gone.uuid) if child not in own]
    if blocking:
        raise RefusedError(409, site.still_children(blocking))
    referrers = [by for by in store.referrers(gone.uuid) if gone.uuid not in by.relaxed and by not in own]
    if referrers:
        raise RefusedError(409, site.still_referred(sorted(referrers, key=lambda by: by.uuid)))
    with store.commit(caller.request_id) as tx:
        hooks.before_delete(site, tx, gone)
        tx.tell("DELETE", gone)
        tx.remove(gone)
        for child in own:
            tx.tell("DELETE", child)
            tx.remove(child)


def update_reference(
    site: Site, caller: Caller, changed: ApiObject, reference: Reference, target: ApiObject, *, add: bool, attr: Any
) -> None:
    """``POST /ref-update``: adding again replaces the attr, deleting what is absent is done already."""
    if add:
        _check_attr(reference, attr, operation="update")
    references = dict(changed.references.get(reference.field, {}))
    if add:
        references[target.uuid] = attr
    else:
        references.pop(target.uuid, None)
    asked: dict[str, dict[str, Any]] = {reference.field: references}
    with site.store.commit(caller.request_id) as tx:
        hooks_of(changed.type).before_update(site, tx, changed, {}, asked)
        tx.set_references(changed, reference.field, asked[reference.field])
        tx.touch(changed)
        tx.tell("UPDATE", changed, hooks_of(changed.type).extra)


def hooks_of(kind: ResourceType) -> Hooks:
    """What the type does beyond the common rules."""
    return HOOKS.get(kind.name, NO_HOOKS)


# -- reading a body -------------------------------------------------------------------------------------------------


def _read_name(body: Mapping[str, Any]) -> tuple[str, ...]:
    given = body.get("fq_name")
    if not given:
        raise RefusedError(400, "Bad Request, no fq_name in POST body")
    if not isinstance(given, list) or not all(isinstance(part, str) for part in given):
        raise stumbled()
    if ":" in given[-1]:
        raise RefusedError(400, "Bad Request, name has one of invalid chars [:]")
    if any(ord(char) < 0x20 and char not in "\t\n\r" for char in given[-1]):
        raise RefusedError(400, "Bad Request, name has invalid XML characters")
    return tuple(given)


def _read_properties(
    kind: ResourceType, body: Mapping[str, Any], *, operation: str, keep_null: bool = False
) -> dict[str, Any]:
    found = {}
    for name in kind.properties:
        if name not in body:
            continue
        value = body[name]
        try:
            check_property(kind, name, value)
        except BadValueError as error:
            raise RefusedError(400, f"Bad property in {operation}: {error}") from None
        if value is not None or keep_null:
            found[name] = value
    return found


def _read_references(
    site: Site, kind: ResourceType, body: Mapping[str, Any], *, operation: str
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, reference in kind.references.items():
        if name not in body:
            continue
        items = body[name] or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise stumbled()
        found[name] = {}
        for item in items:
            _check_attr(reference, item.get("attr"), operation=operation)
            if "to" not in item:
                raise stumbled("KeyError: 'to'")
            target = site.store.find(reference.to, item["to"]) if isinstance(item["to"], list) else None
            if target is None:
                raise _unknown_reference(kind, reference, item, body, operation=operation)
            found[name][target.uuid] = item.get("attr")
    return found


def _unknown_reference(
    kind: ResourceType, reference: Reference, item: Mapping[str, Any], body: Mapping[str, Any], *, operation: str
) -> RefusedError:
    if (kind.name, reference.to, operation) == ("virtual-machine-interface", "virtual-machine", "create"):
        # A check of this type alone looks the VM up first, and does not expect that it is missing.
        name = joined(map(str, item["to"])) if isinstance(item["to"], list) else item["to"]
        return stumbled(f"NoIdError: Unknown id: virtual_machine {name}")
    what = "create" if operation == "create" else f"update {kind.underscored}"
    return RefusedError(400, f"Unknown reference in resource {what} {dict(body)}.")


def _check_attr(reference: Reference, attr: Any, *, operation: str) -> None:
    try:
        check_attribute(reference.attribute, attr)
    except BadValueError as error:
        raise RefusedError(400, f"Bad reference in {operation}: {error}") from None


def _find_parent(
    site: Site, kind: ResourceType, body: Mapping[str, Any], fq_name: tuple[str, ...]
) -> tuple[str, ApiObject | None]:
    asked = body.get("parent_type")
    if asked is not None and asked not in kind.parents:
        raise RefusedError(400, f"Invalid parent type: {asked}. Allowed types: {list(kind.parents)}")
    if asked == ROOT or (asked is None and ROOT in kind.parents):
        return "", None
    if asked is None:
        if len(kind.parents) > 1:
            raise RefusedError(400, f"Ambiguous parent to be used for {kind.name}: {list(kind.parents)}")
        raise stumbled("KeyError: 'parent_uuid'")
    parent = site.store.find(asked, fq_name[:-1])
    if parent is None:
        raise RefusedError(404, f"Name{list(fq_name[:-1])} not found")
    return asked, parent


def _read_uuid(site: Site, body: Mapping[str, Any]) -> str:
    given = body.get("uuid")
    if given is None:
        return site.store.new_uuid()
    try:
        uuid = str(uuids.UUID(str(given)))
    except ValueError:
        raise stumbled() from None
    taken = site.store.objects.get(uuid)
    if taken is not None:
        raise RefusedError(409, errors.uuid_taken(uuid, taken.fq_name))
    return uuid


def _check_quota(site: Site, kind: ResourceType, parent: ApiObject | None) -> None:
    if parent is None or parent.type.name != "project" or not site.switches.keep_quota:
        return
    quota = parent.properties.get("quota") or {}
    limit = quota.get(kind.underscored, quota.get("defaults"))
    if limit is not None and 0 <= limit <= len(site.store.children(parent.uuid, kind.name)):
        raise RefusedError(412, f"quota limit ({limit}) exceeded for resource {kind.underscored}")


# -- permissions ----------------------------------------------------------------------------------------------------


def _id_perms(site: Site, uuid: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    number = uuids.UUID(uuid).int
    now = site.store.stamp()
    asked = {name: value for name, value in (given or {}).items() if value is not None}
    return {
        "enable": True,
        "description": None,
        "creator": None,
        "user_visible": True,
        "permissions": dict(DEFAULT_PERMISSIONS),
        **asked,
        "created": now,
        "last_modified": now,
        "uuid": {"uuid_mslong": number >> 64, "uuid_lslong": number & (1 << 64) - 1},
    }


def _update_id_perms(tx: Transaction, changed: ApiObject, given: Mapping[str, Any] | None) -> None:
    """Of what the server itself keeps, nothing can be changed."""
    kept = changed.properties["id_perms"]
    asked = {name: value for name, value in (given or {}).items() if name in {"enable", "description", "permissions"}}
    tx.set_property(changed, "id_perms", kept | asked)


def _perms2(caller: Caller, kind: ResourceType, body: Mapping[str, Any], parent: ApiObject | None) -> dict[str, Any]:
    asked = body.get("perms2") or {}
    owner = asked.get("owner")
    if owner is None and kind.name == "project" and "uuid" in body:
        # Also for ``"uuid": null``, which makes the owner "None": that is what real servers do.
        owner = str(body["uuid"]).replace("-", "")
    if owner is None and parent is not None:
        owner = parent.properties["perms2"]["owner"]
    return {
        "owner": owner or caller.project or CLOUD_ADMIN,
        "owner_access": _or(asked.get("owner_access"), 7),
        "global_access": _or(asked.get("global_access"), 0),
        "share": asked.get("share") or [],
    }


def _or(value: Any, otherwise: int) -> Any:
    return otherwise if value is None else value
