"""The OVF environment document: how vSphere tells a VM its properties and its ethernet adapters.

It comes from outside the guest and is read before anything is trusted: bounded in size, depth and number, document type
declarations refused (so no entity can be defined), unknown elements passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

ENVIRONMENT = "http://schemas.dmtf.org/ovf/environment/1"
VMWARE = "http://www.vmware.com/schema/ovfenv"

MAX_SIZE = 256 * 1024
MAX_DEPTH = 16
MAX_ITEMS = 512


class BadEnvironment(Exception):  # noqa: N818
    """The document is not an OVF environment that we accept; the message never holds its content."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An ethernet adapter of the VM, as vSphere sees it."""

    mac: str
    """Lower case, with colons."""
    network: str
    """Name of the network or port group."""
    unit: int | None
    """``unitNumber`` on the virtual PCI bus."""


@dataclass(frozen=True, slots=True)
class OvfEnvironment:
    """Properties by full id (``class.key.instance``), adapters in document order."""

    vm_id: str = ""
    """vCenter's id of the VM (``vm-17``), empty on a bare host."""
    properties: dict[str, str] = field(default_factory=dict, repr=False)
    adapters: tuple[Adapter, ...] = ()

    def property(self, name: str) -> str:
        """The value of a property by its plain key, whatever its class; empty when unset.

        BadEnvironment when two classes set it to different values.
        """
        found = {value for key, value in self.properties.items() if key == name or key.endswith("." + name)}
        if len(found) > 1:
            raise BadEnvironment(f"property {name} is set twice, to different values")
        return found.pop() if found else ""


def parse_environment(document: bytes) -> OvfEnvironment:
    """Read the document; BadEnvironment says why it is refused."""
    if len(document) > MAX_SIZE:
        raise BadEnvironment(f"the OVF environment is longer than {MAX_SIZE} bytes")
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(document, True)
    except expat.ExpatError as wrong:
        reason = expat.errors.messages.get(wrong.code, "not well-formed")
        raise BadEnvironment(f"the OVF environment is not XML: {reason} at line {wrong.lineno}") from None
    except (ValueError, LookupError):
        raise BadEnvironment("the OVF environment is in an encoding that is not supported") from None
    return reader.result()


class _Reader:
    def __init__(self) -> None:
        self.depth = 0
        self.root = False
        self.vm_id = ""
        self.properties: dict[str, str] = {}
        self.adapters: list[Adapter] = []

    def doctype(self, *_declaration: object) -> None:
        raise BadEnvironment("the OVF environment has a document type declaration")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise BadEnvironment("the OVF environment is nested too deeply")
        if self.depth == 1:
            if name != f"{ENVIRONMENT} Environment":
                raise BadEnvironment("the document is not an OVF environment")
            self.root = True
            self.vm_id = attributes.get(f"{VMWARE} vCenterId", "")
        elif name == f"{ENVIRONMENT} Property":
            self._property(attributes)
        elif name == f"{VMWARE} Adapter":
            self._adapter(attributes)
        if len(self.properties) + len(self.adapters) > MAX_ITEMS:
            raise BadEnvironment(f"the OVF environment has more than {MAX_ITEMS} entries")

    def end(self, _name: str) -> None:
        self.depth -= 1

    def _property(self, attributes: dict[str, str]) -> None:
        key = attributes.get(f"{ENVIRONMENT} key", "")
        if not key:
            raise BadEnvironment("a property has no key")
        if key in self.properties:
            raise BadEnvironment("a property is given twice")
        self.properties[key] = attributes.get(f"{ENVIRONMENT} value", "")

    def _adapter(self, attributes: dict[str, str]) -> None:
        unit = attributes.get(f"{VMWARE} unitNumber", "")
        self.adapters.append(
            Adapter(
                mac=attributes.get(f"{VMWARE} mac", "").lower(),
                network=attributes.get(f"{VMWARE} network", ""),
                unit=int(unit) if unit.isascii() and unit.isdigit() else None,
            )
        )

    def result(self) -> OvfEnvironment:
        if not self.root:
            raise BadEnvironment("the OVF environment is empty")
        return OvfEnvironment(vm_id=self.vm_id, properties=self.properties, adapters=tuple(self.adapters))
