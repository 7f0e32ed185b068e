"""The type table of Contrail's config API: what a type's parents, properties and references are.

The table (``schema.json``) is derived from the metadata of the published client library, release 2005, and holds no
more than what differs between types: children and back references follow from parents and references, the four
properties that every type has are added here. It is read on first use and costs a few milliseconds.

The API takes properties that it does not know and drops them; so a table that is older than a server loses nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from contrail_vsphere.wire.contrail.names import back_ref_field, child_field, dashed, plural, ref_field, underscored

ROOT = "config-root"
"""Parent of types that have none; it is not a type and has no uuid."""
SCALARS = frozenset({"string", "integer", "unsignedInt", "unsignedLong", "boolean", "dateTime", "float"})

_COMMON = {"id_perms": "IdPermsType, @R, #", "perms2": "PermType2, @R, #", "annotations": "KeyValuePairs"}
_COMMON |= {"display_name": "string"}


@dataclass(frozen=True, slots=True)
class Member:
    """A property of a resource type, or a field of a structure."""

    name: str
    type: str
    """One of ``SCALARS``, or the name of a structure."""
    array: bool = False
    enum: tuple[str, ...] = ()
    range: tuple[int, int] | None = None
    """Least and greatest value."""
    operations: str = "CRUD"
    """``CRUD``, ``CR`` or ``CRD`` (create only), ``R`` (the server's own); documentation, not enforced."""
    required: bool = False
    """Documentation too."""
    system: bool = False
    """Meant to be set by the system; accepted nevertheless."""

    @property
    def structured(self) -> bool:
        """Whether the value is a structure (or an array of them)."""
        return self.type not in SCALARS


@dataclass(frozen=True, slots=True)
class Reference:
    """That objects of a type may refer to objects of another."""

    field: str
    """``virtual_network_refs``"""
    to: str
    """The other type, dashed."""
    attribute: str
    """Structure of the reference's ``attr``; empty if it has none."""
    derived: bool
    """Made by the schema transformer, not by users."""


@dataclass(frozen=True, slots=True)
class ResourceType:
    """Everything the API knows about one type of object."""

    name: str
    """Dashed."""
    parents: tuple[str, ...]
    """Types an object may be a child of, ``config-root`` for none."""
    properties: Mapping[str, Member]
    lists: frozenset[str]
    """Properties that ``prop-collection-update`` edits by position."""
    maps: Mapping[str, str]
    """Properties that it edits by key -> the field of an element that is the key."""
    references: Mapping[str, Reference]
    """By field."""
    back_references: Mapping[str, str]
    """Field -> the type that refers to this one."""
    children: Mapping[str, str]
    """Field -> the type of the children."""
    derived_children: frozenset[str]
    """Types of children that the system makes and takes away; they do not keep their parent from being deleted."""

    @property
    def plural(self) -> str:
        """Name of the collection, in URLs and answers."""
        return plural(self.name)

    @property
    def underscored(self) -> str:
        """The name in field names and notifications."""
        return underscored(self.name)

    @property
    def rooted(self) -> bool:
        """Whether objects have no parent."""
        return self.parents == (ROOT,)


def resource(name: str) -> ResourceType:
    """The type of that name, dashed or underscored. KeyError if there is none."""
    return _table()[0][dashed(name)]


def resources_by_name() -> Mapping[str, ResourceType]:
    """All types, by dashed name."""
    return _table()[0]


def structure(name: str) -> Mapping[str, Member]:
    """The fields of a structure (``IpamSubnetType``). KeyError if there is none."""
    return _table()[1][name]


def structures_by_name() -> Mapping[str, Mapping[str, Member]]:
    """All structures."""
    return _table()[1]


complex_type = structure


def wrapper(kind: ResourceType, field: str) -> str:
    """The one array inside a list or map property: ``annotations`` -> ``key_value_pair``.

    KeyError if the property is neither.
    """
    if field not in kind.lists and field not in kind.maps:
        raise KeyError(field)
    return next(iter(structure(kind.properties[field].type)))


@functools.cache
def _table() -> tuple[Mapping[str, ResourceType], Mapping[str, Mapping[str, Member]]]:
    raw = json.loads((resources.files(__package__) / "schema.json").read_bytes())
    types: dict[str, Any] = raw["types"]
    children: dict[str, dict[str, str]] = {name: {} for name in types}
    derived: dict[str, set[str]] = {name: set() for name in types}
    back: dict[str, dict[str, str]] = {name: {} for name in types}
    for name, spec in types.items():
        for marked in spec["parents"]:
            parent = marked.removeprefix("^")
            if parent != ROOT:
                children[parent][child_field(name)] = name
                if marked != parent:
                    derived[parent].add(name)
        for marked in spec["references"]:
            back[marked.removeprefix("^")][back_ref_field(name)] = name
    made = {
        name: ResourceType(
            name=name,
            parents=tuple(parent.removeprefix("^") for parent in spec["parents"]),
            properties=_members(_COMMON | spec["properties"]),
            lists=frozenset(spec.get("lists", ())),
            maps=MappingProxyType({"annotations": "key"} | spec.get("maps", {})),
            references=_references(spec["references"]),
            back_references=MappingProxyType(back[name]),
            children=MappingProxyType(children[name]),
            derived_children=frozenset(derived[name]),
        )
        for name, spec in types.items()
    }
    structures = {name: _members(fields) for name, fields in raw["structures"].items()}
    return MappingProxyType(made), MappingProxyType(structures)


def _references(raw: Mapping[str, str]) -> Mapping[str, Reference]:
    found = {}
    for marked, attribute in raw.items():
        to = marked.removeprefix("^")
        field = ref_field(to)
        found[field] = Reference(field=field, to=to, attribute=attribute, derived=marked != to)
    return MappingProxyType(found)


def _members(raw: Mapping[str, str]) -> Mapping[str, Member]:
    return MappingProxyType({name: _member(name, text) for name, text in raw.items()})


def _member(name: str, text: str) -> Member:
    """``type[[]][, a|b | 0..7][, @CR][, !|#]``."""
    kind, *marks = text.split(", ")
    enum: tuple[str, ...] = ()
    limits = None
    operations = "CRUD"
    for mark in marks:
        if mark.startswith("@"):
            operations = mark[1:]
        elif ".." in mark and kind != "string":
            low, high = mark.split("..")
            limits = (int(low), int(high))
        elif mark not in {"!", "#"}:
            enum = tuple(mark.split("|"))
    return Member(
        name=name,
        type=kind.removesuffix("[]"),
        array=kind.endswith("[]"),
        enum=enum,
        range=limits,
        operations=operations,
        required="!" in marks,
        system="#" in marks,
    )
