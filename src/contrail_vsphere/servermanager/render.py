"""Effective configuration to the text of a file: INI as contrailctl reads it, or TOML for the product's own services.

A whole file is made every time, so that an option nobody sets any more is gone from the host too. Values were checked
for line breaks before; here they are refused once more, because a line break would begin an option of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from contrail_vsphere.model.errors import InvalidArgument
from contrail_vsphere.servermanager.catalogue import ConfigFile, Option, as_boolean
from contrail_vsphere.servermanager.resolve import Effective
from contrail_vsphere.servermanager.vault import MASK, is_reference

Reveal = Callable[[str], str]
"""The text of a secret, by its name."""


@dataclass(frozen=True, slots=True)
class Text:
    """One file to be: real content, and what people may see of it. The content does not show in the repr."""

    name: str
    content: str
    shown: str
    mode: str = "0640"

    def __repr__(self) -> str:
        return f"Text({self.name!r})"


def texts(effective: Effective, *, reveal: Reveal) -> tuple[Text, ...]:
    """All files of a role on one server, those that hold one secret each included."""
    made: list[Text] = []
    for file in effective.role.files:
        made += _apart(effective, file, reveal)
        content = _render(effective, file, lambda option, value: _plain(value, reveal))
        shown = _render(
            effective, file, lambda option, value: MASK if option.secret and value != "" else _plain(value, _hide)
        )
        made.append(Text(file.name, content, shown))
    return tuple(made)


def _hide(_name: str) -> str:
    return MASK


def _plain(value: Any, reveal: Reveal) -> Any:
    """The value with its references replaced."""
    if is_reference(value):
        return reveal(value["secret"])
    if isinstance(value, dict):
        return {key: _plain(each, reveal) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, reveal) for each in value]
    return value


def _apart(effective: Effective, file: ConfigFile, reveal: Reveal) -> Iterator[Text]:
    for name, section in file.sections.items():
        for key, option in section.options.items():
            value = effective.value(name, key)
            if option.in_file and value is not None:
                yield Text(option.in_file, f"{_plain(value, reveal)}\n", f"{MASK}\n", mode="0600")


def _render(effective: Effective, file: ConfigFile, plain: Callable[[Option, Any], Any]) -> str:
    lines = [f"# Written by Server Manager for the role {effective.role.role}; changes are overwritten."]
    write = _ini if file.format == "ini" else _toml
    for name, section in file.sections.items():
        body = []
        for key, setting in effective.settings.get(name, {}).items():
            option = section.options[key]
            if option.in_file:
                path = f"{effective.role.config_dir}/{option.in_file}"
                body.append(f"{option.written_as} = {write(Option(), path)}")
            else:
                body.append(f"{key} = {write(option, plain(option, setting.value))}".rstrip())
        if body:
            lines += ["", f"[{name}]", *body]
    return "\n".join(lines) + "\n"


def _ini(option: Option, value: Any) -> str:
    if option.type == "boolean" and as_boolean(value) is not None:
        text = str(as_boolean(value))
    elif option.type == "list" and isinstance(value, list):
        text = ",".join(str(each) for each in value)
    else:
        # contrailctl reads arrays and maps with Python's literal_eval.
        text = repr(value) if isinstance(value, dict | list) else str(value)
    return _one_line(text)


def _toml(option: Option, value: Any) -> str:
    # A basic string of TOML and a string of JSON are written alike, and so are numbers and flat arrays.
    if option.type in ("integer", "port"):
        return str(int(value))
    if option.type == "boolean" and as_boolean(value) is not None:
        return str(as_boolean(value)).lower()
    return json.dumps(value if isinstance(value, list) or option.type == "number" else str(value), ensure_ascii=False)


def _one_line(text: str) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise InvalidArgument("a value with line breaks or control characters cannot be written to a file")
    return text
