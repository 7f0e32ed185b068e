"""Product sections and their properties."""

from __future__ import annotations

import re
from typing import Final

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.envelope import DeploymentOption
from contrail_vsphere.wire.ovf.properties import PROPERTY_TYPES, OvfProduct, OvfProperty, Qualifiers
from contrail_vsphere.wire.ovf.xml import Node, Strings

_QUALIFIER: Final = re.compile(
    r"\s*,?\s*(?:(\w+)\s*\(\s*(-?[0-9]{1,19})\s*\)|(\w+)\s*\{((?:\"(?:[^\"\\]|\\.)*\"|[^\"}])*)\})", re.DOTALL
)
_MAPPED: Final = re.compile(r"\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\",]*[^\",\s]))\s*(?:,|$)", re.DOTALL)


def parse_product(section: Node, strings: Strings, options: tuple[DeploymentOption, ...]) -> OvfProduct:
    """One ``ProductSection``; PackageError with a line for each property that is wrong."""
    class_id, instance_id = section.attribute("ovf:class"), section.attribute("ovf:instance")
    properties: list[OvfProperty] = []
    problems: list[str] = []
    category = ""
    for node in section.children():
        if node.name == "Category":
            category = strings.of(node)
        elif node.name == "Property":
            try:
                properties.append(_property(node, strings, category=category, owner=(class_id, instance_id)))
                _known_options(node, properties[-1], options)
            except PackageError as error:
                problems.extend(error.problems)
    if problems:
        raise PackageError.of(section.path, problems)
    return OvfProduct(
        product=strings.of(section.child("Product")),
        vendor=strings.of(section.child("Vendor")),
        version=section.child_text("Version"),
        full_version=section.child_text("FullVersion"),
        class_id=class_id,
        instance_id=instance_id,
        properties=tuple(properties),
        product_url=section.child_text("ProductUrl"),
        vendor_url=section.child_text("VendorUrl"),
        app_url=section.child_text("AppUrl"),
    )


def _property(node: Node, strings: Strings, *, category: str, owner: tuple[str, str]) -> OvfProperty:
    key = node.need_attribute("ovf:key")
    if re.search(r"\s", key):
        raise node.error(f"the key {key!r} has white-space in it", hint="use letters, digits, '_' and '-'")
    kind = node.need_attribute("ovf:type").lower()
    if kind not in PROPERTY_TYPES:
        raise node.error(
            f"property {key}: type {kind!r} is not known", hint="one of " + ", ".join(sorted(PROPERTY_TYPES))
        )
    found = OvfProperty(
        key=key,
        type=kind,
        default=node.attribute("ovf:value"),
        user_configurable=node.flag("ovf:userConfigurable", default=False),
        password=node.flag("ovf:password", default=False),
        qualifiers=_qualifiers(node),
        label=strings.of(node.child("Label")),
        description=strings.of(node.child("Description")),
        class_id=owner[0],
        instance_id=owner[1],
        category=category,
        option_defaults=tuple(
            (value.need_attribute("ovf:configuration"), value.attribute("ovf:value"))
            for value in node.children("Value")
        ),
    )
    for value in (found.default, *(value for _, value in found.option_defaults)):
        if value and (reason := found.refuses(value)):
            raise node.error(f"property {found.id}: its default {value!r} {reason}", hint="correct ovf:value")
    return found


def _known_options(node: Node, found: OvfProperty, options: tuple[DeploymentOption, ...]) -> None:
    for option, _ in found.option_defaults:
        if all(option != known.id for known in options):
            raise node.error(f"there is no deployment option {option!r}", hint="correct ovf:configuration")


def _qualifiers(node: Node) -> Qualifiers:
    text = node.attribute("ovf:qualifiers").strip()
    numbers: dict[str, int] = {}
    value_map: tuple[str, ...] = ()
    position = 0
    while position < len(text):
        match = _QUALIFIER.match(text, position)
        if match is None or (match[1] or match[3]).lower() not in _NAMES:
            raise node.error(
                f"qualifiers {text[position:]!r} are not understood",
                hint='write MinLen(1), MaxLen(64), MinValue(0), MaxValue(9) or ValueMap{"a","b"}',
            )
        if match[1]:
            numbers[match[1].lower()] = int(match[2])
        else:
            value_map = _mapped(node, match[4])
        position = match.end()
    return Qualifiers(
        min_length=numbers.get("minlen"),
        max_length=numbers.get("maxlen"),
        min_value=numbers.get("minvalue"),
        max_value=numbers.get("maxvalue"),
        value_map=value_map,
        vmw=node.attribute("vmw:qualifiers"),
    )


_NAMES: Final = frozenset({"minlen", "maxlen", "minvalue", "maxvalue", "valuemap"})


def _mapped(node: Node, text: str) -> tuple[str, ...]:
    values = []
    position = 0
    while position < len(text.rstrip()):
        match = _MAPPED.match(text, position)
        if match is None:
            raise node.error(f"ValueMap{{{text}}} is not understood", hint='write ValueMap{"a","b"}')
        values.append(match[2] if match[1] is None else re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL))
        position = match.end()
    return tuple(values)
