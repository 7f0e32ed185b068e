"""Walks the settings' models: which keys there are, in which table, of which kind.

Loader, example and listing all ask here, so that none of them has a list of its own.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from contrail_vsphere.config.settings import Settings

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableKind:
    """A table of the file; ``named`` tables (``[vcenter.lab]``) exist once per name."""

    path: KeyPath
    model: type[BaseModel]
    named: bool

    @property
    def keys(self) -> dict[str, FieldInfo]:
        """Its keys, in the order of the schema."""
        return dict(self.model.model_fields)


def tables() -> Iterator[TableKind]:
    """All tables, in the order of the schema."""
    for name, field in Settings.model_fields.items():
        annotation = field.annotation
        named = get_origin(annotation) is dict
        model: Any = get_args(annotation)[1] if named else annotation
        yield TableKind((name,), model, named)


def table(name: str) -> TableKind | None:
    """The table of that name."""
    return next((kind for kind in tables() if kind.path == (name,)), None)


def field_at(path: KeyPath) -> FieldInfo | None:
    """The field of a full key path (``("vcenter", "lab", "host")``); None if there is none."""
    kind = table(path[0]) if path else None
    if kind is None or len(path) != 2 + kind.named:
        return None
    return kind.keys.get(path[-1])


def known_keys(path: KeyPath) -> tuple[str, ...]:
    """The keys that may stand where the last part of ``path`` stands."""
    if len(path) == 1:
        return tuple(Settings.model_fields)
    kind = table(path[0])
    return tuple(kind.keys) if kind is not None else ()


def is_secret(field: FieldInfo) -> bool:
    """Whether its value must not be shown."""
    return SecretStr in _types(field.annotation)


def is_path(field: FieldInfo) -> bool:
    """Whether its value is a file or directory."""
    return Path in _types(field.annotation)


def _types(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, and without ``Annotated``."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(one for member in get_args(annotation) for one in _types(member))
    inner = getattr(annotation, "__origin__", None) if hasattr(annotation, "__metadata__") else None
    return (annotation if inner is None else inner,)
