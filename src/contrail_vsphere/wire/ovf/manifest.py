"""Manifests (``.mf``): one digest for every file of a package, the descriptor included.

The OVF 1.x text names SHA1; vSphere 6.5 and later take SHA256 and SHA512, and so do we. Ours are always SHA256.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from contrail_vsphere.model.errors import PackageError

DIGEST_BYTES: Final = {"SHA1": 20, "SHA256": 32, "SHA512": 64}
"""Algorithms by the name a manifest gives them; ``hashlib`` knows them in lower case."""
MAX_MANIFEST: Final = 1 << 20
LINE: Final = re.compile(r"(SHA-?[0-9]+)\s*\(([^\n]+)\)\s*=\s*([0-9a-fA-F]*)\s*")


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One line; ``hex`` in lower case."""

    name: str
    algorithm: str
    hex: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All lines, in the order written."""

    digests: tuple[FileDigest, ...]

    def of(self, name: str) -> FileDigest | None:
        """The line of a file."""
        return next((known for known in self.digests if known.name == name), None)


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in ``data``; PackageError with a line for each thing wrong."""
    if len(data) > MAX_MANIFEST:
        raise PackageError(f"the manifest has {len(data)} bytes", hint="is this the right file?")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise PackageError("the manifest is not text", hint="is this the right file?") from error
    problems: list[str] = []
    digests: dict[str, FileDigest] = {}
    for count, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        digest, reason = _digest(line)
        if digest is None:
            problems.append(f"manifest line {count}: {reason}")
        elif digest.name in digests:
            problems.append(f"manifest line {count}: {digest.name!r} is there twice (keep one line for each file)")
        else:
            digests[digest.name] = digest
    if not digests and not problems:
        problems.append("the manifest is empty (write a line for each file, or leave the manifest out)")
    if problems:
        raise PackageError.of("the manifest", problems)
    return Manifest(tuple(digests.values()))


def _digest(line: str) -> tuple[FileDigest | None, str]:
    match = LINE.fullmatch(line)
    if match is None:
        return None, f"{line[:60]!r} is not understood (write SHA256(name)= digest)"
    algorithm = match[1].replace("-", "")
    if algorithm not in DIGEST_BYTES:
        return None, f"algorithm {match[1]} is not known (use SHA256)"
    if len(match[3]) != 2 * DIGEST_BYTES[algorithm]:
        return None, f"the digest of {match[2]!r} has the wrong length (write {2 * DIGEST_BYTES[algorithm]} hex digits)"
    return FileDigest(match[2], algorithm, match[3].lower()), ""


def render_manifest(digests: Mapping[str, str], *, algorithm: str = "SHA256") -> bytes:
    """A manifest of hex digests by file name, in the mapping's order."""
    return "".join(f"{algorithm}({name})= {digest.lower()}\n" for name, digest in digests.items()).encode()
