"""Properties of a package: what the deployer must say, and which values each takes.

Types and qualifiers as DSP0243 has them, plus the few that vSphere adds (``ip``, ``password``, MinValue, MaxValue).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_INTEGER_RANGES: Final = {
    "uint8": (0, 2**8 - 1),
    "sint8": (-(2**7), 2**7 - 1),
    "uint16": (0, 2**16 - 1),
    "sint16": (-(2**15), 2**15 - 1),
    "uint32": (0, 2**32 - 1),
    "sint32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**64 - 1),
    "sint64": (-(2**63), 2**63 - 1),
    "int": (-(2**31), 2**31 - 1),
}
_REALS: Final = frozenset({"real32", "real64", "real"})
PROPERTY_TYPES: Final = frozenset({"string", "boolean", "ip", "password", *_INTEGER_RANGES, *_REALS})


@dataclass(frozen=True, slots=True)
class Qualifiers:
    """What ``ovf:qualifiers`` allows a property's value to be; ``vmw`` is ``vmw:qualifiers`` untouched."""

    min_length: int | None = None
    max_length: int | None = None
    min_value: int | None = None
    max_value: int | None = None
    value_map: tuple[str, ...] = ()
    vmw: str = ""


@dataclass(frozen=True, slots=True)
class OvfProperty:
    """``ProductSection/Property``: ``default`` is its value until the deployer gives another."""

    key: str
    type: str = "string"
    default: str = ""
    user_configurable: bool = False
    password: bool = False
    qualifiers: Qualifiers = Qualifiers()
    label: str = ""
    description: str = ""
    class_id: str = ""
    instance_id: str = ""
    category: str = ""
    option_defaults: tuple[tuple[str, str], ...] = ()
    """(deployment option, default under it)."""

    @property
    def id(self) -> str:
        """The full id, ``class.key.instance`` with empty parts left out, as OVF environments bear it."""
        return ".".join(part for part in (self.class_id, self.key, self.instance_id) if part)

    @property
    def required(self) -> bool:
        """The deployer must give a value: it is configurable and the default is not one its type allows."""
        return self.user_configurable and self.refuses(self.default) is not None

    def default_for(self, option: str) -> str:
        """The default under a deployment option."""
        return dict(self.option_defaults).get(option, self.default)

    @property
    def vapp_type(self) -> str:
        """The type as vSphere's ``VAppPropertyInfo.type`` spells it: ``string(1..)``, ``int(0..255)``, ...."""
        limits = self.qualifiers
        if self.type in {"string", "password"}:
            if limits.value_map:
                return "string[" + ", ".join(f'"{value}"' for value in limits.value_map) + "]"
            name = "password" if self.password or self.type == "password" else "string"
            return name + _bounds(limits.min_length, limits.max_length)
        if self.type in _INTEGER_RANGES:
            low, high = limits.min_value, limits.max_value
            if self.type not in {"int", "sint32"}:
                known_low, known_high = _INTEGER_RANGES[self.type]
                low, high = (known_low if low is None else low), (known_high if high is None else high)
            return "int" + _bounds(low, high)
        return "real" if self.type in _REALS else self.type

    def refuses(self, value: str) -> str | None:
        """Why ``value`` is not one this property takes; None where it is."""
        limits = self.qualifiers
        if limits.value_map and value not in limits.value_map:
            return "must be one of " + ", ".join(repr(allowed) for allowed in limits.value_map)
        if self.type == "boolean":
            return None if value.lower() in {"true", "false"} else "must be true or false"
        if self.type in _INTEGER_RANGES:
            return self._refuses_integer(value)
        if self.type in _REALS:
            return None if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", value) else "must be a number"
        if limits.min_length is not None and len(value) < limits.min_length:
            return f"must have at least {limits.min_length} characters"
        if limits.max_length is not None and len(value) > limits.max_length:
            return f"must have at most {limits.max_length} characters"
        return None

    def _refuses_integer(self, value: str) -> str | None:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", value):
            return "must be a whole number"
        low, high = _INTEGER_RANGES[self.type]
        low = low if self.qualifiers.min_value is None else max(low, self.qualifiers.min_value)
        high = high if self.qualifiers.max_value is None else min(high, self.qualifiers.max_value)
        return None if low <= int(value) <= high else f"must lie between {low} and {high}"


def _bounds(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        return ""
    return f"({'' if low is None else low}..{'' if high is None else high})"


@dataclass(frozen=True, slots=True)
class OvfProduct:
    """A ``ProductSection``; its properties carry its class and instance."""

    product: str = ""
    vendor: str = ""
    version: str = ""
    full_version: str = ""
    class_id: str = ""
    instance_id: str = ""
    properties: tuple[OvfProperty, ...] = ()
    product_url: str = ""
    vendor_url: str = ""
    app_url: str = ""

    def __post_init__(self) -> None:
        for known in self.properties:
            if (known.class_id, known.instance_id) != (self.class_id, self.instance_id):
                raise ValueError(f"property {known.id} is not of class {self.class_id!r} instance {self.instance_id!r}")
