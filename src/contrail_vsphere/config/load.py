"""From a TOML file and the environment to ``Settings``: all mistakes at once, each with its place and the way out.

``CONTRAIL_VSPHERE__VCENTER__LAB__HOST`` sets ``host`` of ``[vcenter.lab]`` and wins over the file. Relative paths in
the file are relative to the file, those in the environment to the working directory.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from contrail_vsphere.config import schema
from contrail_vsphere.config.schema import KeyPath
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.model.errors import SettingsError

PREFIX = "CONTRAIL_VSPHERE__"


@dataclass(frozen=True, slots=True)
class Effective:
    """One key as it takes effect; a secret's value is masked. ``origin``: "default", "file", or the variable's name."""

    path: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where each key that is not a default came from."""

    settings: Settings
    origins: Mapping[KeyPath, str]

    def effective(self) -> Iterator[Effective]:
        """Every key with its value and origin, for ``config show``."""
        for path, value in _leaves(self.settings, ()):
            yield Effective(".".join(path), _shown(value), self.origins.get(path, "default"))


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings from ``path`` (None: no file) and the environment; ``SettingsError`` with one line per mistake."""
    return read(path, environ).settings


def read(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """As ``load``, and remember where the values came from."""
    document = {} if path is None else _read_toml(path)
    problems: list[str] = []
    origins: dict[KeyPath, str] = {}
    for key in tuple(_keys(document, ())):
        origins[key] = "file"
        _check_file_key(document, key, path, problems)
    _overlay(document, environ, origins, problems)
    _absolute(document, origins, base=Path() if path is None else path.parent)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        problems += [_line(item, origins, path) for item in error.errors(include_url=False, include_context=False)]
        raise SettingsError("\n".join(problems)) from None
    if problems:
        raise SettingsError("\n".join(problems))
    return Loaded(settings, origins)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"settings file {path}: {error.strerror}", hint="write one with: contrail-vsphere config init"
        ) from error
    except ValueError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error


def _keys(value: Mapping[str, Any], path: KeyPath) -> Iterator[KeyPath]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _keys(inner, (*path, key))
        else:
            yield (*path, key)


def _check_file_key(document: dict[str, Any], key: KeyPath, file: Path | None, problems: list[str]) -> None:
    field = schema.field_at(key)
    if field is not None and schema.is_secret(field):
        problems.append(
            f"{file}: {'.'.join(key)}: a secret does not belong in the settings file"
            f" (use {key[-1]}_file, or the variable {_variable(key)})"
        )
        del _parent(document, key)[key[-1]]


def _overlay(
    document: dict[str, Any], environ: Mapping[str, str], origins: dict[KeyPath, str], problems: list[str]
) -> None:
    """Put the environment's values over the file's."""
    for variable, text in sorted(environ.items()):
        if not variable.upper().startswith(PREFIX):
            continue
        key = _key_of(variable, document)
        if schema.field_at(key) is None:
            problems.append(f"environment: {variable}: {_unknown(key)}")
            continue
        _parent(document, key)[key[-1]] = text
        origins[key] = variable


def _key_of(variable: str, document: Mapping[str, Any]) -> KeyPath:
    """The key path of a variable; a named table of the file is met whatever its case and dashes."""
    parts = [part.lower() for part in variable[len(PREFIX) :].split("__")]
    kind = schema.table(parts[0])
    if kind is not None and kind.named and len(parts) > 1:
        present = document.get(parts[0])
        names = present if isinstance(present, dict) else {}
        parts[1] = next((name for name in names if name.lower().replace("-", "_") == parts[1]), parts[1])
    return tuple(parts)


def _variable(key: KeyPath) -> str:
    return PREFIX + "__".join(part.upper().replace("-", "_") for part in key)


def _parent(document: dict[str, Any], key: KeyPath) -> dict[str, Any]:
    """The table that holds the key, made where it is missing; one the file has as a plain value is replaced."""
    table = document
    for part in key[:-1]:
        inner = table.get(part)
        if not isinstance(inner, dict):
            inner = table[part] = {}
        table = inner
    return table


def _absolute(document: dict[str, Any], origins: Mapping[KeyPath, str], *, base: Path) -> None:
    for key, origin in origins.items():
        field = schema.field_at(key)
        table = _parent(document, key)
        value = table.get(key[-1])
        if field is not None and schema.is_path(field) and isinstance(value, str) and value:
            start = base if origin == "file" else Path()
            table[key[-1]] = str((start / Path(value).expanduser()).absolute())


def _line(item: Mapping[str, Any], origins: Mapping[KeyPath, str], file: Path | None) -> str:
    """One line for one mistake that the schema found."""
    key = tuple(str(part) for part in item["loc"])
    origin = origins.get(key, "file")
    place = f"{file}: {'.'.join(key)}" if origin == "file" and file else f"{origin}: {'.'.join(key)}"
    match item["type"]:
        case "extra_forbidden":
            return f"{place}: {_unknown(key)}"
        case "missing":
            return f"{place}: missing"
        case "model_type" | "dict_type":
            kind = schema.table(key[0])
            return f"{place}: a table is expected, as in [{key[0]}{'.NAME' if kind is not None and kind.named else ''}]"
    text = str(item["msg"]).removeprefix("Value error, ")
    field = schema.field_at(key)
    value = item["input"]
    if field is not None and not schema.is_secret(field) and isinstance(value, str | int | float) and str(value):
        shown = repr(value)
        text = text if shown in text else f"{text}, not {shown}"
    return f"{place}: {text[:1].lower()}{text[1:]}"


def _unknown(key: KeyPath) -> str:
    for depth in range(1, len(key) + 1):
        known = schema.known_keys(key[:depth])
        named = depth == 2 and (kind := schema.table(key[0])) is not None and kind.named
        if key[depth - 1] not in known and not named:
            near = difflib.get_close_matches(key[depth - 1], known, n=1, cutoff=0.5)
            advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            return f"unknown key {key[depth - 1]} ({advice})"
    return f"not a complete key (known here: {', '.join(schema.known_keys((*key, '')))})"


def _leaves(model: BaseModel, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*path, name))
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from _leaves(inner, (*path, name, key))
        else:
            yield (*path, name), value


def _shown(value: Any) -> Any:
    """For people and JSON."""
    match value:
        case SecretStr():
            return "***" if value.get_secret_value() else ""
        case None | bool() | int() | float() | str():
            return value
    return str(value)
