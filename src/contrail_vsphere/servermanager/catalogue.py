"""Roles as data: one YAML file per role says what it is configured with, mounts, opens and waits for.

A new service is a new file. The files are checked when they are read, and their JSON Schema is published, so that a
person may write one with an editor's help. Sections and options are those of the seed era's containers; every option
has a type, which the originals lacked (ports were strings there).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contrail_vsphere.model.errors import InvalidArgument, SettingsError

OptionType = Literal["string", "integer", "number", "port", "boolean", "enum", "list", "array", "map"]
"""``list`` is written with commas between, ``array`` and ``map`` as literals, as contrailctl reads them."""

Orchestrator = Literal["openstack", "vcenter"]

_DIRECTORY = Path(__file__).parent / "roles"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class RoleData(BaseModel):
    """Base of everything in a role file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Option(RoleData):
    """One option of a section."""

    type: OptionType = "string"
    default: Any = Field(default=None, description="Written when nobody sets the option; null: then not written")
    enum: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    secret: bool = Field(default=False, description="Encrypted at rest and masked wherever it is shown")
    required: bool = False
    fact: str = Field(default="", alias="from", description="Fact of the cluster that gives the default")
    same_as: str = Field(default="", description="SECTION.option whose value is taken where nobody sets this one")
    in_file: str = Field(default="", description="The value goes into a file of its own (0600) beside the others")
    written_as: str = Field(default="", description="With in_file: the option that names the file")
    about: str = ""

    def problem(self, value: Any) -> str:
        """What is wrong with a value; empty if nothing. None is never wrong: it removes the option."""
        if value is None:
            return ""
        return _PROBLEMS[self.type](self, value)


def _string(_option: Option, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return f"a text is expected, not {_kind(value)}"
    return "control characters and line breaks are not allowed" if _CONTROL.search(str(value)) else ""


def _integer(option: Option, value: Any) -> str:
    number = _as_integer(value)
    if number is None:
        return f"a whole number is expected, not {value!r}"
    low = 1 if option.type == "port" else option.minimum
    high = 65535 if option.type == "port" else option.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        return f"{number} is not within {low} to {high}"
    return ""


def _number(_option: Option, value: Any) -> str:
    return "" if isinstance(value, int | float) and not isinstance(value, bool) else "a number is expected"


def _boolean(_option: Option, value: Any) -> str:
    return "" if as_boolean(value) is not None else f"true or false is expected, not {value!r}"


def _enum(option: Option, value: Any) -> str:
    return "" if value in option.enum else f"{value!r} is none of {', '.join(option.enum)}"


def _list(option: Option, value: Any) -> str:
    if isinstance(value, list):
        return next((found for each in value if (found := _string(option, each))), "")
    return _string(option, value)


def _array(_option: Option, value: Any) -> str:
    return _literal(value) if isinstance(value, list) else f"a list is expected, not {_kind(value)}"


def _map(_option: Option, value: Any) -> str:
    return _literal(value) if isinstance(value, dict) else f"an object is expected, not {_kind(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return next((found for each in (*value, *value.values()) if (found := _literal(each))), "")
    if isinstance(value, list):
        return next((found for each in value if (found := _literal(each))), "")
    return "control characters and line breaks are not allowed" if _CONTROL.search(str(value)) else ""


_PROBLEMS = {
    "string": _string,
    "integer": _integer,
    "port": _integer,
    "number": _number,
    "boolean": _boolean,
    "enum": _enum,
    "list": _list,
    "array": _array,
    "map": _map,
}


def as_boolean(value: Any) -> bool | None:
    """A truth value in any spelling the seed era used; None if it is none."""
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())


def _as_integer(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text, re.ASCII) else None


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", bool: "true/false"}.get(type(value), type(value).__name__)


class Section(RoleData):
    """One section of a file; ``when`` limits it to one orchestrator."""

    options: dict[str, Option]
    when: Orchestrator | None = None


class ConfigFile(RoleData):
    """One configuration file, in the role's configuration directory on the host."""

    name: str = Field(pattern=r"^[a-z][a-z0-9.-]*$")
    format: Literal["ini", "toml"] = "ini"
    sections: dict[str, Section]


class Mount(RoleData):
    """A directory of the host inside the container; made on the host where it is missing."""

    host: str = Field(pattern=r"^/[^:,\x00-\x1f]*$")
    container: str = Field(pattern=r"^/[^:,\x00-\x1f]*$")
    read_only: bool = False


class Health(RoleData):
    """When a started container counts as up."""

    kind: Literal["tcp", "http", "none"]
    port: int = Field(default=0, ge=0, le=65535)
    path: str = "/"
    timeout: int = Field(default=120, gt=0, description="Seconds")
    option: str = Field(default="", description="SECTION.option whose value is the port, where it may be set")


class Role(RoleData):
    """Everything Server Manager knows about a role."""

    role: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    aliases: tuple[str, ...] = ()
    title: str
    container: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    image_roles: tuple[str, ...] = Field(default=(), description="Names of the image's part; empty: the role's names")
    stage: int = Field(
        ge=10, le=80, multiple_of=10, description="Lower stages are up on all hosts before higher ones begin"
    )
    rolling: bool = Field(default=False, description="Changed one host at a time, each with its health gate")
    config_dir: str = Field(default="/etc/contrailctl", description="Where the container sees the configuration")
    files: tuple[ConfigFile, ...]
    mounts: tuple[Mount, ...]
    ports: tuple[int, ...]
    health: Health
    command: tuple[str, ...] = Field(default=(), description="Empty: the image's own")

    @model_validator(mode="after")
    def _sections_once(self) -> Self:
        names = [name for file in self.files for name in file.sections]
        if len(names) != len(set(names)):
            raise ValueError(f"role {self.role}: a section stands in two files")
        if self.health.option and self.option(self.health.option) is None:
            raise ValueError(f"role {self.role}: health.option {self.health.option} is no option")
        return self

    @property
    def sections(self) -> dict[str, Section]:
        """All sections of all files."""
        return {name: section for file in self.files for name, section in file.sections.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The role's name and every other it is known under."""
        return (self.role, *self.aliases)

    def option(self, path: str) -> Option | None:
        """The option at ``SECTION.option``."""
        section, _, name = path.rpartition(".")
        found = self.sections.get(section)
        return found.options.get(name) if found is not None else None

    def is_secret(self, section: str, option: str) -> bool:
        """Whether the option's value must not be shown."""
        found = self.sections.get(section)
        return found is not None and option in found.options and found.options[option].secret


class Catalogue:
    """The roles by name and alias."""

    def __init__(self, roles: Mapping[str, Role]) -> None:
        self._roles = dict(roles)
        self._names = {name: role.role for role in roles.values() for name in role.names}

    def __iter__(self) -> Iterator[Role]:
        return iter(sorted(self._roles.values(), key=lambda role: (role.stage, role.role)))

    def find(self, name: str) -> Role | None:
        """The role of that name or alias."""
        return self._roles.get(self._names.get(name, ""))

    def role(self, name: str) -> Role:
        """As ``find``; ``InvalidArgument`` naming the known ones if there is none."""
        found = self.find(name)
        if found is None:
            raise InvalidArgument(f"unknown role {name!r}", hint="roles: " + ", ".join(r.role for r in self))
        return found


@cache
def catalogue(directory: Path = _DIRECTORY) -> Catalogue:
    """The roles of a directory, ours by default; ``SettingsError`` names the file and what is wrong in it."""
    shared = _read(directory / "shared.yaml") if (directory / "shared.yaml").exists() else {}
    roles = {}
    for path in sorted(directory.glob("*.yaml")):
        if path.name == "shared.yaml":
            continue
        try:
            role = Role.model_validate(_expanded(_read(path), shared))
        except (ValidationError, KeyError, TypeError) as error:
            raise SettingsError(f"{path}: {error}") from error
        if role.role in roles:
            raise SettingsError(f"{path}: role {role.role} is defined twice")
        roles[role.role] = role
    return Catalogue(roles)


def role_schema() -> dict[str, Any]:
    """JSON Schema of a role, in its expanded form."""
    return Role.model_json_schema()


def parameters_schema(role: Role) -> dict[str, Any]:
    """JSON Schema of the parameters that ``provision.containers.<role>`` takes."""
    sections = {
        name: {
            "type": "object",
            "additionalProperties": False,
            "properties": {key: _option_schema(option) for key, option in section.options.items()},
        }
        for name, section in role.sections.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": role.title,
        "type": "object",
        "additionalProperties": False,
        "properties": sections,
    }


def _option_schema(option: Option) -> dict[str, Any]:
    kinds: dict[str, Any] = {
        "string": ["string", "number"],
        "integer": ["integer", "string"],
        "port": ["integer", "string"],
        "number": "number",
        "boolean": ["boolean", "string"],
        "enum": "string",
        "list": ["array", "string"],
        "array": "array",
        "map": "object",
    }
    kind = kinds[option.type]
    plain = [*kind, "null"] if isinstance(kind, list) else [kind, "null"]
    schema: dict[str, Any] = {"type": [*plain, "object"] if option.secret and "object" not in plain else plain}
    if option.enum:
        schema["enum"] = [*option.enum, None]
    if option.default is not None and not option.secret:
        schema["default"] = option.default
    if option.about:
        schema["description"] = option.about
    if option.secret:
        schema["writeOnly"] = True
    return schema


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: an object is expected")
    return document


def _expanded(document: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """The short forms written out: shared sections, bare defaults, ``HOST:CONTAINER`` mounts."""
    files = []
    for file in document["files"]:
        sections = {}
        for name, given in file["sections"].items():
            when = None
            options = given
            if given == "shared":
                options = shared[name]
            elif isinstance(given, dict) and given.get("shared") is True:
                when, options = given.get("when"), shared[name]
            sections[name] = {"options": {key: _option(key, value) for key, value in options.items()}, "when": when}
        files.append({**file, "sections": sections})
    mounts = [dict(zip(("host", "container"), each.split(":"), strict=True)) for each in document.get("mounts", ())]
    return {**document, "files": files, "mounts": mounts}


def _option(key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, bool):
        return {"type": "boolean", "default": value}
    if key.endswith("_port"):
        return {"type": "port", "default": value}
    if isinstance(value, int):
        return {"type": "integer", "default": value}
    return {"type": "string", "default": value}
