"""The commented example file, made from the schema: descriptions, defaults and examples cannot drift from the code."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from contrail_vsphere.config import schema
from contrail_vsphere.config.load import PREFIX

_HEAD = f"""\
Settings of contrail-vsphere. A key behind a # shows its default; where it says "example" the default is empty.
Every key can also come from the environment: host of [vcenter.lab] is {PREFIX}VCENTER__LAB__HOST.
Secrets are read from files (mode 0600) or from the environment, never from this file.
"""


def example(name: str = "lab") -> str:
    """The file's text, with one vCenter called ``name``; it loads as it is."""
    lines = [*_comment(_HEAD), ""]
    for kind in schema.tables():
        lines += _comment(kind.model.__doc__ or "")
        lines.append(f"[{kind.path[0]}.{name}]" if kind.named else f"[{kind.path[0]}]")
        for key, field in kind.keys.items():
            if not schema.is_secret(field):
                lines += _key(key, field)
        lines.append("")
    return "\n".join(lines)


def _key(key: str, field: FieldInfo) -> Iterator[str]:
    yield from ["", *_comment(field.description or "")]
    shown = _toml(field.examples[0] if field.examples else field.default)
    if field.is_required():
        yield f"{key} = {shown}"
    else:
        yield f"# {key} = {shown}" + ("  # example" if field.examples else "")


def _comment(text: str) -> list[str]:
    return [f"# {line}" for part in text.strip().splitlines() for line in textwrap.wrap(part, 116) or [""]]


def _toml(value: Any) -> str:
    """A TOML value; JSON's strings, numbers and booleans are TOML's."""
    return json.dumps(value if isinstance(value, bool | int | float) else str(value), ensure_ascii=False)
