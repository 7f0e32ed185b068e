"""API versions as they appear on the wire, and which of them both sides know.

A client names the version it speaks in the SOAPAction header; everything newer is then left out of the answer. vCenter
publishes what it speaks in ``/sdk/vimServiceVersions.xml``; EAM publishes nothing, its version follows from vCenter's
(facts: the EAM API versions that go with each vSphere release).
"""

from __future__ import annotations

import functools
import xml.parsers.expat
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pyVmomi import VmomiSupport

from contrail_vsphere.model.errors import ProtocolError

VIM = "urn:vim25"
EAM = "urn:eam"


@dataclass(frozen=True, slots=True)
class ServiceVersions:
    """The versions pyVmomi's tables know of one service; versions are pyVmomi's names (``vim.version.v8_0_3_0``)."""

    namespace: str
    newest: str
    by_id: Mapping[str, str]
    """Id on the wire (``8.0.3.0``) -> version."""

    def prior(self, version: str) -> tuple[str, ...]:
        """Ids of all released versions that ``version`` includes, itself left out, newest first."""
        parents = VmomiSupport.parentMap[version]
        older = [known for known in self.by_id.values() if known in parents and known != version]
        older.sort(key=lambda known: len(VmomiSupport.parentMap[known]), reverse=True)
        return tuple(version_id(known) for known in older)


def _service(namespace: str, package: str) -> ServiceVersions:
    prefix = f"{package}.version."
    by_id = {
        VmomiSupport.versionIdMap[version]: version
        for version in VmomiSupport.GetServiceVersions(namespace.removeprefix("urn:"))
        if version.startswith(prefix) and not VmomiSupport.versionIdMap[version].startswith("m")
    }
    return ServiceVersions(namespace, VmomiSupport.newestVersions.GetName(package), MappingProxyType(by_id))


VERSIONS: Mapping[str, ServiceVersions] = MappingProxyType({VIM: _service(VIM, "vim"), EAM: _service(EAM, "eam")})


def version_id(version: str) -> str:
    """Id on the wire, e.g. ``8.0.3.0``."""
    return str(VmomiSupport.versionIdMap[version])


def soap_action(version: str) -> str:
    """The SOAPAction header, quoted as SOAP 1.1 wants it."""
    return f'"urn:{VmomiSupport.GetVersionNamespace(version)}"'


@functools.lru_cache(maxsize=256)
def version_of(action: str, namespace: str = VIM) -> str:
    """The version a SOAPAction header asks for; the newest one for a header we cannot place. Never fails.

    Clients send it quoted (pyVmomi) or not (govmomi), without an id (old ones) or with one that was never released.
    """
    service, _, identifier = action.strip().strip('"').partition("/")
    known = VERSIONS.get(service) or VERSIONS[namespace if namespace in VERSIONS else VIM]
    return known.by_id.get(identifier, known.newest)


@functools.lru_cache(maxsize=4096)
def includes(version: str, feature: str) -> bool:
    """Whether a peer that speaks ``version`` knows what came with version ``feature``."""
    return bool(VmomiSupport.IsChildVersion(version, feature))


def render_versions(version: str) -> bytes:
    """``/sdk/vimServiceVersions.xml`` of a vCenter whose newest version is ``version``."""
    prior = "".join(f"<version>{identifier}</version>" for identifier in VERSIONS[VIM].prior(version))
    return (
        '<?xml version="1.0" encoding="UTF-8" ?>\n<namespaces version="1.0">\n'
        f"<namespace><name>{VIM}</name><version>{version_id(version)}</version>"
        f"<priorVersions>{prior}</priorVersions></namespace>\n</namespaces>\n"
    ).encode()


def parse_versions(document: bytes) -> dict[str, tuple[str, ...]]:
    """Namespace -> ids the server speaks, its newest first. Raises ProtocolError for anything but that document."""
    found: dict[str, tuple[str, ...]] = {}
    text: list[str] = []
    name = ""
    offered: list[str] = []
    seen_root = False

    def start(tag: str, _attributes: dict[str, str]) -> None:
        nonlocal name, seen_root
        text.clear()
        seen_root = seen_root or tag == "namespaces"
        if tag == "namespace":
            name = ""
            offered.clear()

    def end(tag: str) -> None:
        nonlocal name
        if tag == "name":
            name = "".join(text).strip()
        elif tag == "version":
            offered.append("".join(text).strip())
        elif tag == "namespace":
            found[name] = tuple(offered)

    def refuse(*_: object) -> None:
        raise ProtocolError("the versions document has a DTD")

    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(document, True)
    except xml.parsers.expat.ExpatError as error:
        raise ProtocolError(f"the versions document is not XML: {error}") from error
    if not seen_root:
        raise ProtocolError("the versions document lacks its root element", hint="is this address a vCenter?")
    return found


def newest_common(offered: tuple[str, ...]) -> str:
    """The newest vim version that we and a server with these ids speak (ids newest first, as the document has them)."""
    known = VERSIONS[VIM].by_id
    for identifier in offered:
        if identifier in known:
            return known[identifier]
    raise ProtocolError(
        f"no common API version; the server speaks {', '.join(offered[:3]) or 'none'}",
        hint="this needs vCenter 5.0 or newer",
    )


def eam_version_for(api_version: str) -> str:
    """The EAM version to speak with a vCenter of that ``about.apiVersion`` (``8.0.3.0`` or ``6.7``)."""
    parts = [int(part) if part.isdigit() else 0 for part in api_version.split(".")[:3]]
    release = tuple(parts + [0] * (3 - len(parts)))
    for since, identifier in _EAM_BY_RELEASE:
        if release >= since:
            return VERSIONS[EAM].by_id[identifier]
    return VERSIONS[EAM].by_id["6.0"]


_EAM_BY_RELEASE = (
    ((9, 0, 0), "9.0.0.0"),
    ((8, 0, 3), "8.3"),
    ((8, 0, 2), "8.2"),
    ((8, 0, 0), "7.6"),
    ((7, 0, 3), "7.5"),
    ((7, 0, 0), "7.0"),
    ((6, 7, 0), "6.8"),
    ((6, 5, 0), "6.5"),
)
