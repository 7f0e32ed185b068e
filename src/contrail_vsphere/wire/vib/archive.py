"""A VIB file itself: a Unix ``ar`` archive of ``descriptor.xml``, ``sig.pkcs7`` and the payloads that it names.

Nothing is unpacked: payloads are compared, as they lie there, with the sizes and checksums that the descriptor states.
Whether the signature is one that a host accepts only the host can tell; here it is there, or it is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from contrail_vsphere.model.errors import PackageError

MAGIC: Final = b"!<arch>\n"
HEADER: Final = 60
MOST_MEMBERS: Final = 100
DESCRIPTOR: Final = "descriptor.xml"
SIGNATURE: Final = "sig.pkcs7"


@dataclass(frozen=True, slots=True)
class VibFile:
    """What a VIB file says of itself."""

    name: str
    version: str
    acceptance_level: str
    signed: bool
    payloads: tuple[str, ...]


def read_vib(data: bytes, where: str) -> VibFile:
    """Check one VIB file; PackageError says, with ``where``, what does not hold together."""
    members = dict(_members(data, where))
    if list(members)[:2] != [DESCRIPTOR, SIGNATURE]:
        raise PackageError(f"{where}: the first members of a VIB are {DESCRIPTOR} and {SIGNATURE}")
    try:
        root = defusedxml.ElementTree.fromstring(members[DESCRIPTOR], forbid_dtd=True)
    except (DefusedXmlException, SyntaxError, ValueError) as error:
        raise PackageError(f"{where}: {DESCRIPTOR} is not XML: {error}") from error
    payloads = []
    for item in root.iterfind("payloads/payload"):
        name = item.get("name", "")
        payloads.append(name)
        if name not in members:
            raise PackageError(f"{where}: payload {name!r} is missing")
        _check_payload(members[name], item, f"{where}: payload {name!r}")
    stray = sorted(set(members) - {DESCRIPTOR, SIGNATURE, *payloads})
    if stray:
        raise PackageError(f"{where}: {stray[0]!r} is in the VIB but not in its descriptor")
    return VibFile(
        name=(root.findtext("name") or "").strip(),
        version=(root.findtext("version") or "").strip(),
        acceptance_level=(root.findtext("acceptance-level") or "community").strip(),
        signed=bool(members[SIGNATURE].strip()),
        payloads=tuple(payloads),
    )


def _members(data: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    if not data.startswith(MAGIC):
        raise PackageError(f"{where} is not a VIB: it is no ar archive")
    at, seen = len(MAGIC), set[str]()
    while at < len(data):
        header = data[at : at + HEADER]
        size_text = header[48:58].strip()
        if len(header) < HEADER or header[58:] != b"`\n" or not size_text.isdigit():
            raise PackageError(f"{where}: the archive is broken at byte {at}")
        size, name = int(size_text), header[:16].decode("ascii", "replace").strip().removesuffix("/")
        start = at + HEADER
        if start + size > len(data):
            raise PackageError(f"{where}: {name!r} is cut off")
        if name in seen or len(seen) >= MOST_MEMBERS:
            raise PackageError(f"{where}: {name!r} is in it twice, or it has too many members")
        seen.add(name)
        yield name, data[start : start + size]
        at = start + size + size % 2


def _check_payload(data: bytes, item: object, where: str) -> None:
    get = item.get  # type: ignore[attr-defined]
    stated = str(get("size", ""))
    if stated and stated != str(len(data)):
        raise PackageError(f"{where} has {len(data)} bytes, its descriptor says {stated}")
    for checksum in item.iterfind("checksum"):  # type: ignore[attr-defined]
        # A checksum with verify-process is that of the unpacked payload.
        if checksum.get("checksum-type", "") != "sha-256" or checksum.get("verify-process", ""):
            continue
        if hashlib.sha256(data).hexdigest() != (checksum.text or "").strip().lower():
            raise PackageError(f"{where} has another checksum than its descriptor says")
