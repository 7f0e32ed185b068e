"""What images and tags are called: the seed's ``<image_id>-<image_type>-<version>``, made into registry references.

A registry answers a bad name with a plain 404 or not at all (an upper-case id once hung ``add image``), so names are
checked before any work. The grammar is that of the Docker Registry API's repository components and tags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from contrail_vsphere.model.errors import InvalidArgument

_ID = re.compile(r"[a-z][a-z0-9]*(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SKU = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_FOREIGN = re.compile(
    r"(?P<registry>[A-Za-z0-9.-]+(?::\d{1,5})?|\[[0-9A-Fa-f:]+\](?::\d{1,5})?)/"
    r"(?P<name>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_OBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Release:
    """An image's version: what becomes the tag, and the optional OpenStack SKU that becomes part of the name."""

    version: str
    sku: str = ""

    @classmethod
    def parse(cls, text: str) -> Release:
        """``4.1.1.0-1`` or ``liberty:3.1.1.0-29``; ``InvalidArgument`` for what cannot be a tag."""
        sku, colon, version = text.rpartition(":")
        if (colon and not _SKU.fullmatch(sku)) or not _TAG.fullmatch(version):
            raise InvalidArgument(
                f"version {text!r} cannot be an image tag",
                hint="letters, digits, '.', '_', '-', at most 128; a SKU may stand before it: liberty:3.1.1.0-29",
            )
        return cls(version, sku)


def check_image_id(text: str) -> str:
    """The id, fit to begin a repository name; else ``InvalidArgument``."""
    if not _ID.fullmatch(text) or len(text) > 128:
        raise InvalidArgument(
            f"image id {text!r} cannot begin a repository name",
            hint="lower-case letters and digits, '.', '_' or '-' between them, a letter first, at most 128",
        )
    return text


def check_object_id(text: str, *, kind: str) -> str:
    """The id of a server or cluster, fit for a path and a file name; else ``InvalidArgument``."""
    if not _OBJECT.fullmatch(text):
        raise InvalidArgument(f"{kind} id {text!r}: letters, digits, '.', '_' and '-' only, at most 100")
    return text


def repository(image_id: str, role: str, release: Release) -> str:
    """The repository's name in our registry: ``contrail-container-controller-liberty``."""
    return "-".join(part for part in (image_id, role, release.sku) if part)


@dataclass(frozen=True, slots=True)
class Reference:
    """A container image in a registry."""

    registry: str
    name: str
    tag: str
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """``HOST[:PORT]/NAME[:TAG][@DIGEST]``; ``InvalidArgument`` if it is not."""
        match = _FOREIGN.fullmatch(text)
        if match is None:
            raise InvalidArgument(f"{text!r} is no image reference", hint="REGISTRY:PORT/NAME:TAG is expected")
        return cls(match["registry"], match["name"], match["tag"] or "latest", match["digest"] or "")

    def __str__(self) -> str:
        """By digest where it is known, so that nobody can move it."""
        end = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.name}{end}"
