"""Lists of a collection: selectors, filters, pages, and how much of each object is shown.

Pages exist only for requests that carry a ``page_marker``; ``page_limit`` alone does nothing. Plain lists come in the
order of the database, paged ones by name and uuid, so that a marker stays good while objects come and go.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contrail_vsphere.simulator.contrail import render
from contrail_vsphere.simulator.contrail.answers import RefusedError, stumbled
from contrail_vsphere.simulator.contrail.context import Site
from contrail_vsphere.simulator.contrail.store import ApiObject
from contrail_vsphere.wire.contrail.errors import UUID
from contrail_vsphere.wire.contrail.schema import ResourceType

_MARKER = re.compile(rf"(.*:)?({UUID})", re.DOTALL)
_NO_MARKER = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a list asks for."""

    parents: tuple[str, ...] | None = None
    parent_name: tuple[str, ...] | None = None
    parent_type: str = ""
    back_refs: tuple[str, ...] | None = None
    uuids: tuple[str, ...] | None = None
    names: tuple[tuple[str, ...], ...] | None = None
    filters: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    fields: frozenset[str] = frozenset()
    detail: bool = False
    count: bool = False
    hrefs: bool = True
    marker: str | None = None
    """None: no pages."""
    limit: int = 0

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Selection:
        """Of ``GET /<type>s?...``."""
        names = _split(query.get("fq_names"))
        return cls._of(query, names=tuple(tuple(name.split(":")) for name in names) if names is not None else None)

    @classmethod
    def of_body(cls, body: Mapping[str, Any]) -> Selection:
        """Of ``POST /list-bulk-collection``: texts with commas, never arrays, which the server stumbles over."""
        for name in ("obj_uuids", "parent_id", "back_ref_id", "fields", "filters"):
            if body.get(name) is not None and not isinstance(body[name], str):
                raise stumbled()
        texts = {name: _as_text(value) for name, value in body.items() if value is not None}
        if not body.get("exclude_hrefs"):
            texts.pop("exclude_hrefs", None)
        return cls._of(texts, names=None)

    @classmethod
    def _of(cls, query: Mapping[str, str], *, names: tuple[tuple[str, ...], ...] | None) -> Selection:
        parent_name = query.get("parent_fq_name_str")
        return cls(
            parents=_split(query.get("parent_id")),
            parent_name=tuple(parent_name.split(":")) if parent_name else None,
            parent_type=query.get("parent_type", ""),
            back_refs=_split(query.get("back_ref_id")),
            uuids=_split(query.get("obj_uuids")),
            names=names,
            filters=_filters(query.get("filters", "")),
            fields=frozenset(_split(query.get("fields")) or ()),
            detail=query.get("detail", "").lower() == "true",
            count=query.get("count", "").lower() == "true",
            hrefs="exclude_hrefs" not in query,
            marker=query.get("page_marker"),
            limit=_number(query.get("page_limit")),
        )


def answer(site: Site, kind: ResourceType, selection: Selection) -> str:
    """The body of a list's answer. RefusedError 400 for a marker that is none."""
    found = _select(site, kind, selection)
    if selection.count:
        return json.dumps({kind.plural: {"count": len(found)}})
    marker = ""
    if selection.marker is not None:
        found, last = _page(site, kind, found, selection)
        marker = f', "marker": {json.dumps(last)}'
    if selection.detail:
        shown = [render.detailed(site, item, fields=selection.fields, hrefs=selection.hrefs) for item in found]
    else:
        shown = [render.listed(site, item, fields=selection.fields, hrefs=selection.hrefs) for item in found]
    return f'{{"{kind.plural}": [{", ".join(shown)}]{marker}}}'


def _select(site: Site, kind: ResourceType, selection: Selection) -> list[ApiObject]:
    store = site.store
    members = store.of_type(kind.name)
    found: Iterable[ApiObject]
    if selection.uuids is not None:
        found = [members[uuid] for uuid in dict.fromkeys(selection.uuids) if uuid in members]
    elif selection.names is not None:
        named = (store.find(kind.name, name) for name in selection.names)
        found = [item for item in named if item is not None]
    elif selection.back_refs is not None:
        found = _unique(item for target in selection.back_refs for item in store.referrers(target, kind.name))
    elif selection.parents is not None:
        found = _unique(item for parent in selection.parents for item in store.children(parent, kind.name))
    else:
        found = members.values()
    if selection.parents is not None:
        found = [item for item in found if item.parent_uuid in selection.parents]
    if selection.back_refs is not None and selection.uuids is not None:
        wanted = {item.uuid for target in selection.back_refs for item in store.referrers(target, kind.name)}
        found = [item for item in found if item.uuid in wanted]
    if selection.parent_name is not None:
        parent_type = selection.parent_type or kind.parents[0]
        parent = store.find(parent_type, selection.parent_name)
        found = [item for item in found if parent is not None and item.parent_uuid == parent.uuid]
    for name, values in selection.filters:
        found = [item for item in found if item.properties.get(name, _ABSENT) in values]
    return list(found)


_ABSENT = object()
"""An unset property equals nothing, not even false."""


def _unique(items: Iterable[ApiObject]) -> list[ApiObject]:
    return list({item.uuid: item for item in items}.values())


def _page(
    site: Site, kind: ResourceType, found: list[ApiObject], selection: Selection
) -> tuple[list[ApiObject], str | None]:
    after = selection.marker or ""
    first = after in {"None", _NO_MARKER}
    if not first and _MARKER.fullmatch(after) is None:
        raise RefusedError(400, f"Invalid page_marker {after}: not a valid uuid")
    wanted = {item.uuid: item for item in found}
    ordered = site.store.ordered(kind.name)
    limit = selection.limit or site.switches.page_default
    page: list[ApiObject] = []
    last = ""
    for position in range(0 if first else bisect.bisect_right(ordered, after), len(ordered)):
        item = wanted.get(ordered[position][-36:])
        if item is None:
            continue
        if len(page) == limit:
            return page, last
        page.append(item)
        last = ordered[position]
    return page, None


def _filters(text: str) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """``name==json`` joined by commas; a bare word is a text, a name that comes again adds an alternative."""
    found: dict[str, list[Any]] = {}
    for part in re.split(r",(?=[^,=]+==)", text) if text else ():
        name, equals, raw = part.partition("==")
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = raw
        if not equals or isinstance(value, dict):
            raise RefusedError(400, f"Invalid filter {part}")
        found.setdefault(name.strip(), []).extend(value if isinstance(value, list) else [value])
    return tuple((name, tuple(values)) for name, values in found.items())


def _split(text: str | None) -> tuple[str, ...] | None:
    return tuple(part for part in text.split(",") if part) if text is not None else None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _number(text: str | None) -> int:
    try:
        return max(0, int(text or 0))
    except ValueError:
        raise RefusedError(400, f"Invalid page_limit {text}") from None
