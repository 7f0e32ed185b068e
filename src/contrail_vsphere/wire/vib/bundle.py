"""Offline bundles, as far as EAM looks into one: which VIBs it has, what they need of a host, whether it is whole.

``archive`` looks further, into the VIBs themselves.

A bundle is a zip with ``metadata.zip`` (itself with one descriptor per VIB under ``vibs/`` and bulletins) and the VIBs
under ``vib20/``. Fields and layout are those of VMware's offline bundles (descriptor version 5.0). Signatures are not
verified: whether a host takes a VIB follows from the acceptance level that its descriptor claims.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from contrail_vsphere.model.errors import PackageError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LARGEST_BUNDLE: Final = 64 << 20
LARGEST_METADATA: Final = 4 << 20
MOST_FILES: Final = 1000
LEVELS: Final = ("community", "partner", "accepted", "certified")
"""Acceptance levels, least trusted first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """Another VIB by name, and which versions of it; without a comparison any."""

    name: str
    comparison: str = ""
    version: str = ""

    def matches(self, vib: Vib) -> bool:
        """Whether that VIB is one the relation speaks of."""
        if vib.name != self.name and self.name not in vib.provides:
            return False
        if not self.comparison:
            return True
        here, there = version_key(vib.version), version_key(self.version)
        return {
            "<<": here < there, "<": here < there, "<=": here <= there, "=": here == there,
            ">=": here >= there, ">>": here > there, ">": here > there,
        }.get(self.comparison, False)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Vib:
    """What a descriptor says; the defaults are those of a VIB that asks for nothing."""

    name: str
    version: str
    vendor: str = ""
    summary: str = ""
    release_date: str = ""
    acceptance_level: str = "community"
    maintenance_mode: bool = False
    """The host must be in maintenance mode while it is installed or removed."""
    live_install: bool = True
    """Else it counts from the next boot of the host on."""
    live_remove: bool = True
    depends: tuple[Relation, ...] = ()
    conflicts: tuple[Relation, ...] = ()
    provides: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    """Hardware vendors that it runs on; empty: any."""
    tags: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """As esxcli names it: vendor, kind, name and version."""
        return f"{self.vendor}_bootbank_{self.name}_{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that holds together."""

    vibs: tuple[Vib, ...]
    bulletins: tuple[str, ...] = ()


def version_key(version: str) -> tuple[tuple[int, int | str], ...]:
    """For comparing: numbers as numbers, part by part, numbers after words."""
    parts = re.findall(r"[0-9]+|[A-Za-z]+", version)
    return tuple((1, int(part)) if part.isdigit() else (0, part) for part in parts)


def parse(data: bytes) -> Bundle:
    """Raises PackageError for anything that is not a whole offline bundle with at least one VIB."""
    bundle = _open(data, "the bundle")
    metadata = _open(_member(bundle, "metadata.zip", LARGEST_METADATA), "metadata.zip")
    vibs = []
    for name in sorted(metadata.namelist()):
        if name.startswith("vibs/") and name.endswith(".xml"):
            descriptor = _xml(_member(metadata, name, LARGEST_METADATA), name)
            vibs.append(_vib(descriptor, name))
            _check_payload(bundle, descriptor, name)
    if not vibs:
        raise PackageError("the bundle has no VIB", hint="name an offline bundle (zip), not a bare .vib")
    bulletins = [
        _text(_xml(_member(metadata, name, LARGEST_METADATA), name), "id")
        for name in sorted(metadata.namelist())
        if name.startswith("bulletins/") and name.endswith(".xml")
    ]
    return Bundle(vibs=tuple(vibs), bulletins=tuple(item for item in bulletins if item))


def _open(data: bytes, what: str) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise PackageError(f"{what} is not a zip archive: {error}") from error
    if len(archive.infolist()) > MOST_FILES:
        raise PackageError(f"{what} has more than {MOST_FILES} files")
    return archive


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A file of the archive, never more than ``limit`` bytes whatever its header says."""
    try:
        with archive.open(name) as file:
            data = file.read(limit + 1)
    except KeyError as error:
        raise PackageError(f"{name} is missing") from error
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise PackageError(f"{name} cannot be unpacked: {error}") from error
    if len(data) > limit:
        raise PackageError(f"{name} is larger than {limit} bytes")
    return data


def _xml(data: bytes, name: str) -> Element:
    try:
        root: Element = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except (DefusedXmlException, SyntaxError, ValueError) as error:
        raise PackageError(f"{name} is not XML: {error}") from error
    return root


def _check_payload(bundle: zipfile.ZipFile, descriptor: Element, name: str) -> None:
    """The VIB that the descriptor points to is in the bundle, with the checksum it promises."""
    path = _text(descriptor, "relative-path")
    if not path:
        return
    data = _member(bundle, path, LARGEST_BUNDLE)
    promised = _text(descriptor, "checksum/checksum").lower()
    if promised and _text(descriptor, "checksum/checksum-type") in {"", "sha-256"}:
        found = hashlib.sha256(data).hexdigest()
        if found != promised:
            raise PackageError(f"{path} has another checksum than {name} says")


def _vib(root: Element, where: str) -> Vib:
    if root.tag != "vib":
        raise PackageError(f"{where} is not a VIB descriptor")
    name, version = _text(root, "name"), _text(root, "version")
    level = _text(root, "acceptance-level") or "community"
    if not name or not version or level not in LEVELS:
        raise PackageError(f"{where} lacks a name, a version or a known acceptance level")
    required = root.find("system-requires")
    return Vib(
        name=name,
        version=version,
        vendor=_text(root, "vendor"),
        summary=_text(root, "summary"),
        release_date=_text(root, "release-date"),
        acceptance_level=level,
        maintenance_mode=required is not None and _text(required, "maintenance-mode") == "true",
        live_install=_text(root, "live-install-allowed") != "false",
        live_remove=_text(root, "live-remove-allowed") != "false",
        depends=tuple(_relations(root, "depends")),
        conflicts=tuple(_relations(root, "conflicts")),
        provides=tuple(item.name for item in _relations(root, "provides")),
        platforms=tuple(item.get("vendor", "") for item in root.iterfind("system-requires/hwplatform")),
        tags=tuple(item.text or "" for item in root.iterfind("software-tags/tag")),
    )


def _relations(root: Element, kind: str) -> Iterator[Relation]:
    for item in root.iterfind(f"relationships/{kind}/constraint"):
        yield Relation(name=item.get("name", ""), comparison=item.get("relation", ""), version=item.get("version", ""))


def _text(root: Element, path: str) -> str:
    return (root.findtext(path) or "").strip()
