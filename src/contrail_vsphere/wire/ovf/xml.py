"""XML as this wire needs it: a writer with fixed bytes, and a reader that knows where in the document it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from contrail_vsphere.model.errors import PackageError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

OVF_NS: Final = "http://schemas.dmtf.org/ovf/envelope/1"
OVF2_NS: Final = "http://schemas.dmtf.org/ovf/envelope/2"
RASD_NS: Final = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
VSSD_NS: Final = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
VMW_NS: Final = "http://www.vmware.com/schema/ovf"
XML_NS: Final = "http://www.w3.org/XML/1998/namespace"
XSI_NS: Final = "http://www.w3.org/2001/XMLSchema-instance"
ENVIRONMENT_NS: Final = "http://schemas.dmtf.org/ovf/environment/1"
VMW_ENVIRONMENT_NS: Final = "http://www.vmware.com/schema/ovfenv"
PREFIXES: Final = {"ovf": OVF_NS, "rasd": RASD_NS, "vssd": VSSD_NS, "vmw": VMW_NS, "xsi": XSI_NS}
_PREFIX_OF: Final = {namespace: f"{prefix}:" for prefix, namespace in PREFIXES.items()} | {OVF_NS: ""}

MAX_DEPTH: Final = 32
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


class XmlWriter:
    """Writes an indented UTF-8 document: the same calls give the same bytes.

    Text with characters that XML 1.0 cannot carry raises PackageError. Line ends and tabs are written as character
    references, so that a reader's normalisation leaves them alone.
    """

    def __init__(self) -> None:
        self._lines = ['<?xml version="1.0" encoding="UTF-8"?>']
        self._depth = 0

    @contextmanager
    def element(self, tag: str, attributes: Mapping[str, str] | None = None) -> Iterator[None]:
        """An element with children."""
        self._line(f"<{tag}{_attributes(attributes)}>")
        self._depth += 1
        yield
        self._depth -= 1
        self._line(f"</{tag}>")

    def leaf(self, tag: str, text: str = "", *, attributes: Mapping[str, str] | None = None) -> None:
        """An element with text or nothing in it."""
        opening = f"<{tag}{_attributes(attributes)}"
        self._line(f"{opening}>{escape(text)}</{tag}>" if text else f"{opening}/>")

    def text(self) -> str:
        """The document so far."""
        return "\n".join(self._lines) + "\n"

    def _line(self, line: str) -> None:
        self._lines.append("  " * self._depth + line)


def escape(text: str) -> str:
    """``text`` for use between tags or in a quoted attribute."""
    if illegal := _ILLEGAL.search(text):
        raise PackageError(
            f"the character U+{ord(illegal.group()):04X} cannot be written in XML", hint="remove control characters"
        )
    return "".join(_ESCAPES.get(character, character) for character in text)


def _attributes(attributes: Mapping[str, str] | None) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in (attributes or {}).items())


@dataclass(frozen=True, slots=True)
class Node:
    """An element that knows its path, so that every complaint can say where it is."""

    element: Element
    path: str

    @property
    def name(self) -> str:
        """Tag with the usual prefix (none for the OVF namespace)."""
        return _short(self.element.tag)

    @property
    def text(self) -> str:
        """The text inside; white-space kept as written."""
        return self.element.text or ""

    def error(self, what: str, *, hint: str = "") -> PackageError:
        """A PackageError that names this element."""
        return PackageError(f"{self.path}: {what}", hint=hint)

    def children(self, name: str = "") -> list[Node]:
        """Child elements, of one name or all, with numbered paths where a name repeats."""
        counts: dict[str, int] = {}
        for child in self.element:
            counts[child.tag] = counts.get(child.tag, 0) + 1
        seen: dict[str, int] = {}
        found = []
        for child in self.element:
            seen[child.tag] = seen.get(child.tag, 0) + 1
            short = _short(child.tag)
            number = f"[{seen[child.tag]}]" if counts[child.tag] > 1 else ""
            if not name or short == name:
                found.append(Node(child, f"{self.path}/{short}{number}"))
        return found

    def child(self, name: str) -> Node | None:
        """The one child of that name, None without; PackageError where it is there twice."""
        found = self.children(name)
        if len(found) > 1:
            raise self.error(f"{name} may be there only once", hint=f"keep one {name}")
        return found[0] if found else None

    def need(self, name: str) -> Node:
        """The one child of that name; PackageError without."""
        found = self.child(name)
        if found is None:
            raise self.error(f"{name} is missing", hint=f"add a {name} element")
        return found

    def child_text(self, name: str, default: str = "") -> str:
        """Text of an optional child, stripped."""
        found = self.child(name)
        return found.text.strip() if found is not None else default

    def attribute(self, name: str, default: str = "") -> str:
        """An attribute ``prefix:name``; OVF's own may be written without prefix."""
        prefix, _, local = name.partition(":")
        value = self.element.get(f"{{{PREFIXES[prefix]}}}{local}")
        if value is None and prefix == "ovf":
            value = self.element.get(local)
        return default if value is None else value

    def need_attribute(self, name: str) -> str:
        """A required attribute that is not empty."""
        value = self.attribute(name)
        if not value:
            raise self.error(f"attribute {name} is missing", hint=f"add {name}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean attribute (``true``, ``false``, ``1``, ``0``)."""
        value = self.attribute(name, "true" if default else "false").strip().lower()
        if value not in {"true", "false", "1", "0"}:
            raise self.error(f"{name} is {value!r}", hint="write true or false")
        return value in {"true", "1"}


def number(node: Node, name: str, text: str) -> int:
    """``text`` as a whole number of at most 18 digits; PackageError otherwise."""
    if not re.fullmatch(r"[0-9]{1,18}", text.strip(), re.ASCII):
        raise node.error(f"{name} is {text[:40]!r}", hint="write a whole number")
    return int(text)


@dataclass(frozen=True, slots=True)
class Strings:
    """Texts by message id; elements refer to them by ``ovf:msgid``."""

    texts: Mapping[str, str]

    def of(self, node: Node | None) -> str:
        """What the element says: the message it refers to where that is known, its own text otherwise."""
        if node is None:
            return ""
        return self.texts.get(node.attribute("ovf:msgid"), node.text).strip()


def read(data: bytes, *, limit: int, what: str) -> Node:
    """The root of an untrusted document.

    Raises PackageError for a document beyond ``limit`` bytes or :data:`MAX_DEPTH` levels, one that is not well formed,
    and for any document type declaration or entity.
    """
    if len(data) > limit:
        raise PackageError(
            f"{what} has {len(data)} bytes, more than the {limit} allowed", hint="is this the right file?"
        )
    try:
        root = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise PackageError(
            f"{what} declares a document type or entities", hint="remove the DOCTYPE; OVF does not use one"
        ) from error
    except (SyntaxError, ValueError, LookupError) as error:
        # ParseError is a SyntaxError; unknown or multi-byte encodings are the other two.
        raise PackageError(f"{what} is not well-formed XML: {error}", hint="is this an OVF descriptor?") from error
    _refuse_depth(root, what)
    return Node(root, _short(root.tag))


def _refuse_depth(root: Element, what: str) -> None:
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element]
        if not level:
            return
    raise PackageError(f"{what} nests elements deeper than {MAX_DEPTH} levels", hint="is this an OVF descriptor?")


def _short(tag: str) -> str:
    if tag.startswith("{"):
        namespace, _, local = tag[1:].partition("}")
        return f"{_PREFIX_OF[namespace]}{local}" if namespace in _PREFIX_OF else tag
    return f"{{}}{tag}"
