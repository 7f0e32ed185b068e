"""Bulk property answers, decoded while they arrive and no further than asked.

A vCenter's inventory is tens of megabytes of XML of which we want a few percent. This reads RetrievePropertiesEx and
WaitForUpdatesEx answers with expat straight into rows: only asked paths, of devices only network cards, and while
something is skipped no Python runs but one call per end tag. Paths of other types go through the ordinary decoder.
Texts that repeat or are also in what other worlds tell are interned; each costs its place in that table, too.
"""

from __future__ import annotations

import functools
import re
import sys
import xml.parsers.expat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from contrail_vsphere.model.errors import MalformedXml, ProtocolError
from contrail_vsphere.model.ids import NetworkId
from contrail_vsphere.model.inventory import Nic
from contrail_vsphere.wire.soap.decode import MAX_RESPONSE, new_parser
from contrail_vsphere.wire.soap.machine import MAX_DEPTH, XSI_TYPE, Machine
from contrail_vsphere.wire.soap.metadata import VIM
from contrail_vsphere.wire.soap.shapes import ANY, Field, Table, class_named
from contrail_vsphere.wire.soap.types import vim

Kind = Literal["text", "own", "int", "bool", "id", "ids", "nics", "value"]
"""How the value of a path is read: ``own`` a text that no other object has, ``id`` a reference as its bare id, ``ids``
a tuple of them, ``nics`` the network cards among devices, ``value`` a pyVmomi value."""

NAME, VAL, OP = f"{VIM} name", f"{VIM} val", f"{VIM} op"
OBJ, PROP_SET, CHANGE_SET, MISSING_SET = f"{VIM} obj", f"{VIM} propSet", f"{VIM} changeSet", f"{VIM} missingSet"
OBJECTS, OBJECT_SET, KIND = f"{VIM} objects", f"{VIM} objectSet", f"{VIM} kind"
TOKEN, VERSION, TRUNCATED = f"{VIM} token", f"{VIM} version", f"{VIM} truncated"
DEVICE = f"{VIM} VirtualDevice"

_NIC_TAGS = {
    f"{VIM} {tag}": tag
    for tag in (
        "key",
        "macAddress",
        "unitNumber",
        "connected",
        "network",
        "switchUuid",
        "portgroupKey",
        "portKey",
    )
}


@dataclass(slots=True)
class Row:
    """One object as the answer has it. ``values`` has None for a property that became unset."""

    kind: str
    """``enter``, ``modify`` or ``leave``; ``enter`` for plain retrieval."""
    type: str
    id: str
    values: dict[str, Any]


@dataclass(slots=True)
class Page:
    """One answer."""

    rows: list[Row] = field(default_factory=list)
    token: str = ""
    version: str = ""
    truncated: bool = False


class PropertyStream:
    """A sink for one answer. ``kinds`` says which paths are wanted and how each is read."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.page = Page()
        self._kinds = kinds
        self._fed = 0
        self._chars: list[str] = []
        self._in_value = False
        self._skip = 0
        self._path = ""
        self._seen = False
        self._row = Row("enter", "", "", {})
        self._collected: list[Any] = []
        self._nic: dict[str, str] = {}
        self._nic_type = ""
        # Looked up by expat itself for every end tag of a device that is passed by: no Python runs until it ends.
        self._pass_by = _PassBy(self._device_ends).__getitem__
        self._machine = Machine(Table({"val": Field("val", ANY)}))
        parser = self._parser = new_parser()
        parser.StartNamespaceDeclHandler = self._machine.declare
        parser.EndNamespaceDeclHandler = self._machine.undeclare
        self._plain()

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises MalformedXml or ProtocolError."""
        self._fed += len(data)
        if self._fed > MAX_RESPONSE:
            raise ProtocolError("the answer has no end")
        self._parse(data, last=False)

    def close(self) -> Page:
        """What was in the answer; an empty page for a null result."""
        self._parse(b"", last=True)
        return self.page

    def _parse(self, data: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except xml.parsers.expat.ExpatError as error:
            raise MalformedXml(f"the answer is not XML: {error}") from error

    # -- objects and their properties ---------------------------------------------------------------------------

    def _plain(self) -> None:
        parser = self._parser
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._chars.append

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._chars.clear()
        if tag == VAL:
            if self._in_value:
                self._begin_skip()
                return
            self._seen = True
            kind = self._kinds.get(self._path)
            if kind is None:
                self._begin_skip()
            elif kind == "nics":
                self._collected = []
                self._parser.StartElementHandler, self._parser.EndElementHandler = self._device, self._devices_end
            elif kind == "value":
                self._lend(tag, attributes)
            else:
                self._in_value = True
                if kind == "ids":
                    self._collected = []
        elif self._in_value:
            if self._kinds[self._path] != "ids":
                self._begin_skip()
        elif tag == OBJ:
            self._row.type = attributes.get("type", "").rpartition(":")[2]
        elif tag in (PROP_SET, CHANGE_SET):
            self._seen = False
        elif tag == MISSING_SET:
            self._begin_skip()

    def _end(self, tag: str) -> None:
        chars = self._chars
        if self._in_value:
            text = chars[0] if len(chars) == 1 else "".join(chars)
            chars.clear()
            if tag == VAL:
                self._in_value = False
                self._row.values[self._path] = self._scalar(text)
            else:
                text = text.strip()
                self._collected.append(sys.intern(text))
            return
        if tag == NAME:
            self._path = "".join(chars)
        elif tag == OBJ:
            self._row.id = "".join(chars)
        elif tag == CHANGE_SET:
            if not self._seen and self._path in self._kinds:
                self._row.values[self._path] = None
        elif tag in (OBJECTS, OBJECT_SET):
            self.page.rows.append(self._row)
            self._row = Row("enter", "", "", {})
        elif tag == KIND:
            self._row.kind = "".join(chars)
        elif tag == TOKEN:
            self.page.token = "".join(chars)
        elif tag == VERSION:
            self.page.version = "".join(chars)
        elif tag == TRUNCATED:
            self.page.truncated = "".join(chars).strip() in ("true", "1")
        chars.clear()

    def _scalar(self, text: str) -> Any:
        kind = self._kinds[self._path]
        if kind == "ids":
            return tuple(self._collected)
        if kind in ("text", "id"):
            return sys.intern(text)
        if kind == "own":
            return text
        word = text.strip()
        if not word:
            return None
        if kind == "bool":
            return word in ("true", "1")
        try:
            return _number(word)
        except ValueError:
            raise ProtocolError(f"{self._path} is {word[:40]!r}, not a number") from None

    # -- what nobody asked for ----------------------------------------------------------------------------------

    def _begin_skip(self) -> None:
        self._skip = 1
        parser = self._parser
        parser.StartElementHandler, parser.EndElementHandler = self._skip_start, self._skip_end
        parser.CharacterDataHandler = None

    def _skip_start(self, _tag: str, _attributes: dict[str, str]) -> None:
        self._skip += 1
        if self._skip > MAX_DEPTH:
            raise ProtocolError(f"the answer nests deeper than {MAX_DEPTH} elements")

    def _skip_end(self, _tag: str) -> None:
        self._skip -= 1
        if not self._skip:
            self._plain()

    # -- devices: network cards only ----------------------------------------------------------------------------

    def _device(self, tag: str, attributes: dict[str, str]) -> None:
        """A device begins. No start tags are heard until it ends; its properties are told apart by their end tags."""
        if tag != DEVICE:
            return
        kind = attributes.get(XSI_TYPE, "")
        wanted = _IS_CARD.get(kind)
        parser = self._parser
        if wanted is None:
            wanted = _may_be_card(kind)
        parser.StartElementHandler = None
        if wanted:
            self._nic, self._nic_type = {}, kind
            self._chars.clear()
            parser.EndElementHandler = self._card_end
        else:
            parser.CharacterDataHandler = None
            parser.EndElementHandler = self._pass_by

    def _device_ends(self) -> None:
        parser = self._parser
        parser.StartElementHandler, parser.EndElementHandler = self._device, self._devices_end
        parser.CharacterDataHandler = self._chars.append

    def _card_end(self, tag: str) -> None:
        name = _NIC_TAGS.get(tag)
        if name is not None and name not in self._nic:
            self._nic[name] = "".join(self._chars).strip()
        self._chars.clear()
        if tag == DEVICE:
            if "macAddress" in self._nic or self._nic_type in _IS_CARD:
                self._collected.append(self._card())
            self._device_ends()

    def _card(self) -> Nic:
        found = self._nic
        group = found.get("portgroupKey") or found.get("network") or ""
        switch = found.get("switchUuid", "")
        kind = self._nic_type.rpartition(":")[2]
        try:
            key, unit = _number(found["key"]), _number(found["unitNumber"]) if found.get("unitNumber") else None
        except (KeyError, ValueError):
            raise ProtocolError("a network card has no proper key") from None
        return Nic(
            key=key,
            mac=sys.intern(found.get("macAddress", "")),
            kind=sys.intern(kind),
            unit=unit,
            connected=found.get("connected") == "true",
            network=NetworkId(sys.intern(group)) if group else None,
            dvs_uuid=sys.intern(switch),
            port_key=sys.intern(found.get("portKey", "")),
        )

    def _devices_end(self, tag: str) -> None:
        if tag == VAL:
            self._row.values[self._path] = tuple(self._collected)
            self._chars.clear()
            self._plain()

    # -- values of other types ----------------------------------------------------------------------------------

    def _lend(self, tag: str, attributes: dict[str, str]) -> None:
        """Let the ordinary decoder have the parser until this value ends."""
        machine, parser = self._machine, self._parser

        def end(tag: str) -> None:
            machine.end(tag)
            if machine.idle:
                self._row.values[self._path] = machine.found.pop("val", None)
                self._chars.clear()
                self._plain()

        parser.StartElementHandler, parser.EndElementHandler = machine.start, end
        parser.CharacterDataHandler = machine.chars.append
        machine.start(tag, attributes)


class _PassBy(dict[str, None]):
    """Takes end tags as lookups: known ones cost a dictionary hit, that of the device calls ``ends``."""

    __slots__ = ("_ends",)

    def __init__(self, ends: Callable[[], None]) -> None:
        super().__init__()
        self._ends = ends

    def __missing__(self, tag: str) -> None:
        if tag == DEVICE:
            self._ends()
        elif len(self) < 1024:
            self[tag] = None


_number = functools.lru_cache(maxsize=1024)(int)
"""The same object for numbers that repeat: device keys, sizes of memory."""
_IS_CARD: dict[str, bool] = {}
"""xsi:type -> whether the class is a network card; only for classes we know."""


def _may_be_card(kind: str) -> bool:
    cls = class_named(VIM, kind.rpartition(":")[2], VIM)
    if cls is None:
        return True  # a newer vCenter's device: it is a card if it turns out to have a MAC address
    known = issubclass(cls, vim.vm.device.VirtualEthernetCard)
    if len(_IS_CARD) < 1024:
        _IS_CARD[kind] = known
    return known


# -- answers with characters that XML does not have -------------------------------------------------------------------

_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_REFERENCE = re.compile(r"&#(x[0-9A-Fa-f]{1,6}|[0-9]{1,7});")


def _legal_reference(match: re.Match[str]) -> str:
    text = match.group(1)
    code = int(text[1:], 16) if text[0] == "x" else int(text)
    illegal = (code < 0x20 and code not in (9, 10, 13)) or 0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF)
    return "\ufffd" if illegal or code > 0x10FFFF else match.group()


def cleaned(data: bytes) -> bytes:
    """The same answer with U+FFFD for every character, reference or byte that may not be in XML."""
    text = _ILLEGAL.sub("\ufffd", data.decode("utf-8", "replace"))
    return _REFERENCE.sub(_legal_reference, text).encode()


MAX_KEPT = 8 << 20
"""Bytes of one answer that are kept; a page of 1,000 virtual machines has about half of that."""


class RecoveringStream:
    """A PropertyStream that keeps the answer's bytes and, if they are not XML, reads them a second time, cleaned.

    Names and notes may hold control characters, which vCenter passes on; that must not cost the whole page.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = kinds
        self._stream: PropertyStream | None = PropertyStream(kinds)
        self._kept: list[bytes] | None = []
        self._size = 0
        self.recovered = False

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        self._size += len(data)
        if self._size > MAX_KEPT:
            self._kept = None
        elif self._kept is not None:
            self._kept.append(data)
        if self._stream is not None:
            try:
                self._stream.feed(data)
            except MalformedXml:
                if self._kept is None:
                    raise
                self._stream = None

    def close(self) -> Page:
        """The page; MalformedXml if it is broken beyond its characters."""
        if self._stream is not None:
            try:
                return self._stream.close()
            except MalformedXml:
                if self._kept is None:
                    raise
        if self._kept is None:
            raise MalformedXml("the answer is not XML, and too large to be read a second time")
        again = PropertyStream(self._kinds)
        again.feed(cleaned(b"".join(self._kept)))
        page = again.close()
        self.recovered = True
        return page
