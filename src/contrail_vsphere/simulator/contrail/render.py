"""Objects as JSON text, put together from fragments.

A list of ten thousand objects with five fields is fifty thousand small values that rarely change, so every field's JSON
is made once and kept with its object until the object changes. Children and back references are made anew each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from contrail_vsphere.simulator.contrail.context import Site
from contrail_vsphere.simulator.contrail.store import ApiObject

_ALWAYS = ("id_perms", "perms2")
"""Fields that a read shows whatever was asked for."""


def short(site: Site, shown: ApiObject) -> str:
    """Answer of a create."""
    parts = [f'"name": {_text(shown.name)}', _identity(shown), _href(site, shown), *_parent(site, shown, hrefs=True)]
    return _object([f'"{shown.type.name}": {_object(parts)}'])


def updated(site: Site, shown: ApiObject) -> str:
    """Answer of an update."""
    return json.dumps({shown.type.name: {"uuid": shown.uuid, "href": site.href(shown)}})


def whole(
    site: Site, shown: ApiObject, *, fields: frozenset[str] | None, hrefs: bool, children: bool, back_refs: bool
) -> str:
    """Answer of a read. ``fields`` None: everything, with children and back references unless they are excluded."""
    parts = [_identity(shown), f'"name": {_text(shown.name)}', *_parent(site, shown, hrefs=hrefs)]
    if hrefs:
        parts.append(_href(site, shown))
    for name in (*shown.properties, *shown.references):
        if fields is None or name in fields or name in _ALWAYS:
            parts.append(_field(site, shown, name, hrefs=hrefs))
    parts += _relations(site, shown, fields=fields, hrefs=hrefs, children=children, back_refs=back_refs)
    return _object([f'"{shown.type.name}": {_object(parts)}'])


def detailed(site: Site, shown: ApiObject, *, fields: frozenset[str], hrefs: bool) -> str:
    """One object of a list with ``detail``: everything, children and back references only if they are named."""
    parts = [_identity(shown), f'"name": {_text(shown.name)}', *_parent(site, shown, hrefs=False)]
    if hrefs:
        parts.append(_href(site, shown))
    parts += [_field(site, shown, name, hrefs=False) for name in (*shown.properties, *shown.references)]
    parts += _relations(site, shown, fields=fields, hrefs=False, children=True, back_refs=True)
    return _object([f'"{shown.type.name}": {_object(parts)}'])


def listed(site: Site, shown: ApiObject, *, fields: frozenset[str], hrefs: bool) -> str:
    """One object of a list: identity, and the named fields with the parent if any are named."""
    parts = [_identity(shown)]
    if hrefs:
        parts.append(_href(site, shown))
    if fields:
        parts += _parent(site, shown, hrefs=False)
        for group in (shown.properties, shown.references):
            parts += [_field(site, shown, name, hrefs=False) for name in group if name in fields]
        if not fields <= own_names(shown):
            parts += _relations(site, shown, fields=fields, hrefs=False, children=True, back_refs=True)
    return _object(parts)


def own_names(shown: ApiObject) -> frozenset[str]:
    """The fields a type has of its own; what else is asked for may be children or back references."""
    return _OWN.setdefault(shown.type.name, frozenset(shown.type.properties) | frozenset(shown.type.references))


_OWN: dict[str, frozenset[str]] = {}


def _object(parts: Iterable[str]) -> str:
    return "{" + ", ".join(parts) + "}"


def _text(value: str) -> str:
    return json.dumps(value)


def _identity(shown: ApiObject) -> str:
    made = shown.fragments.get("")
    if made is None:
        made = f'"uuid": "{shown.uuid}", "fq_name": {json.dumps(shown.fq_name)}'
        shown.fragments[""] = made
    return made


def _href(site: Site, shown: ApiObject) -> str:
    return f'"href": "{site.href(shown)}"'


def _parent(site: Site, shown: ApiObject, *, hrefs: bool) -> Iterator[str]:
    if not shown.parent_uuid:
        return
    yield f'"parent_type": "{shown.parent_type}", "parent_uuid": "{shown.parent_uuid}"'
    if hrefs:
        yield f'"parent_href": "{site.base_url}/{shown.parent_type}/{shown.parent_uuid}"'


def _field(site: Site, shown: ApiObject, name: str, *, hrefs: bool) -> str:
    if hrefs and name in shown.references:
        return _reference_field(site, shown, name, hrefs=True)
    made = shown.fragments.get(name)
    if made is None:
        if name in shown.references:
            made = _reference_field(site, shown, name, hrefs=False)
        else:
            made = f'"{name}": {json.dumps(shown.properties[name])}'
        shown.fragments[name] = made
    return made


def _reference_field(site: Site, shown: ApiObject, name: str, *, hrefs: bool) -> str:
    to = shown.type.references[name].to
    items = []
    for uuid, attr in shown.references[name].items():
        href = f'"href": "{site.base_url}/{to}/{uuid}", ' if hrefs else ""
        shown_name = json.dumps(site.store.name_of(uuid))
        items.append(f'{{"to": {shown_name}, {href}"attr": {json.dumps(attr)}, "uuid": "{uuid}"}}')
    return f'"{name}": [{", ".join(items)}]'


def _relations(
    site: Site, shown: ApiObject, *, fields: frozenset[str] | None, hrefs: bool, children: bool, back_refs: bool
) -> Iterator[str]:
    """Children and back references, those that are named or all, as far as there are any."""
    store = site.store
    if children:
        for name, type_name in shown.type.children.items():
            if fields is None or name in fields:
                items = [_related(site, child, hrefs=hrefs) for child in store.children(shown.uuid, type_name)]
                if items:
                    yield f'"{name}": [{", ".join(items)}]'
    if back_refs:
        for name, type_name in shown.type.back_references.items():
            if fields is None or name in fields:
                items = []
                for by in store.referrers(shown.uuid, type_name):
                    attr = _attr_towards(by, shown.uuid)
                    items.append(_related(site, by, hrefs=hrefs, attr=f'"attr": {attr}, '))
                if items:
                    yield f'"{name}": [{", ".join(items)}]'


def _related(site: Site, other: ApiObject, *, hrefs: bool, attr: str = "") -> str:
    href = f'"href": "{site.href(other)}", ' if hrefs else ""
    return f'{{"to": {json.dumps(other.fq_name)}, {href}{attr}"uuid": "{other.uuid}"}}'


def _attr_towards(by: ApiObject, uuid: str) -> str:
    for references in by.references.values():
        if uuid in references:
            return json.dumps(references[uuid])
    return "null"
