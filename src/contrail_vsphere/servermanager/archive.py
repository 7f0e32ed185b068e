"""Reads image archives that came from outside: ``docker save`` files, OCI layouts, and bundles of them.

Nothing in an archive is believed. Members are streamed to a scratch directory one by one under our own names, so no
path of theirs is ever opened; sizes are counted while they are written, against limits; every layer and config must
have the digest that the manifest says. Layers are kept as they are: what is pushed is then the same bytes on every
try, which is what lets a second try skip what the registry has.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, TypeGuard

from contrail_vsphere.model.errors import InvalidArgument

CHUNK: Final = 1 << 20

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"

_ARCHIVE = re.compile(r".*\.(tar|tar\.gz|tgz)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ROLE_FILE = re.compile(r"(?P<role>[a-z][a-z0-9-]*?)-(?:u\d|ubuntu|centos|debian|\d)[A-Za-z0-9._-]*")
_OTHER_PARTS = re.compile(
    r"contrail-(ansible|puppet|networking-.*|vcenter-dependents|install).*|openstack-docker-images.*"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may cost. ``nesting`` counts archives inside archives (a bundle has two)."""

    unpacked_bytes: int = 40 * 2**30
    members: int = 20_000
    document_bytes: int = 8 * 2**20
    nesting: int = 3
    expansion: int = 1_100
    """Unpacked bytes per packed byte; DEFLATE cannot do more than 1,032."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Checked bytes on disk."""

    digest: str
    size: int
    path: Path
    media_type: str


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """One container image, checked: its config and its layers, the lowest first."""

    name: str
    """Of the archive's file, without its ending."""
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Everything but the manifest, each once."""
        return tuple({blob.digest: blob for blob in (*self.layers, self.config)}.values())

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs)

    def manifest(self) -> bytes:
        """Schema 2, the same bytes every time."""
        body = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "size": self.config.size, "digest": self.config.digest},
            "layers": [
                {"mediaType": layer.media_type, "size": layer.size, "digest": layer.digest} for layer in self.layers
            ],
        }
        return json.dumps(body, separators=(",", ":")).encode()

    @property
    def role_hint(self) -> str:
        """What the file's name says the role is: ``contrail-controller-u16.04-4.1.tar.gz`` -> contrail-controller."""
        match = _ROLE_FILE.fullmatch(self.name)
        return match["role"] if match else self.name


def read_archive(path: Path, scratch: Path, *, limits: Limits | None = None) -> tuple[ContainerImage, ...]:
    """All container images of a file; ``InvalidArgument`` says what is wrong. ``scratch`` is the caller's to delete."""
    limits = limits or Limits()
    try:
        if not path.is_file():
            raise InvalidArgument(f"{path} is not a file")
        budget = _Budget(limits, packed=path.stat().st_size)
        return tuple(_read(path, scratch, budget, depth=1))
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror or error}") from error


@dataclass(slots=True)
class _Budget:
    limits: Limits
    packed: int
    written: int = 0
    members: int = 0

    def spend(self, size: int) -> None:
        """Before or while ``size`` bytes are written."""
        self.written += size
        if self.written > self.limits.unpacked_bytes:
            raise InvalidArgument(f"it unpacks to more than {self.limits.unpacked_bytes:,} bytes")
        if self.written > self.packed * self.limits.expansion + CHUNK:
            raise InvalidArgument("it unpacks to far more than an honest archive of its size")

    def claim(self, size: int) -> None:
        """A header announces ``size`` bytes; refuse what cannot be before it is read."""
        if size < 0 or self.written + size > self.limits.unpacked_bytes:
            raise InvalidArgument(f"a member claims {size:,} bytes")
        if self.written + size > self.packed * self.limits.expansion + CHUNK:
            raise InvalidArgument(f"a member claims {size:,} bytes, which cannot be in a file of {self.packed:,}")

    def member(self) -> None:
        self.members += 1
        if self.members > self.limits.members:
            raise InvalidArgument(f"it has more than {self.limits.members:,} members")


@dataclass(slots=True)
class _Member:
    path: Path
    digest: str
    size: int


@dataclass(slots=True)
class _Content:
    """What one tar held: its files under our names, and which member is a link to which."""

    files: dict[str, _Member] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> _Member:
        for _ in range(8):
            if name in self.files:
                return self.files[name]
            if name not in self.links:
                break
            name = self.links[name]
        raise InvalidArgument(f"the member {name!r}, which the manifest names, is not there")

    def document(self, name: str, limits: Limits) -> Any:
        member = self.get(name)
        if member.size > limits.document_bytes:
            raise InvalidArgument(f"{name} has {member.size:,} bytes")
        try:
            return json.loads(member.path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"{name} is not JSON") from error


def _read(path: Path, scratch: Path, budget: _Budget, *, depth: int) -> Iterator[ContainerImage]:
    if depth > budget.limits.nesting:
        raise InvalidArgument(f"archives are nested more than {budget.limits.nesting} deep")
    content = _unpack(path, scratch, budget)
    name = re.sub(r"\.(tar\.gz|tgz|tar)$", "", path.name)
    if "manifest.json" in content.files:
        yield from _docker_archive(content, name, budget)
    elif "index.json" in content.files:
        yield from _oci_layout(content, name, budget)
    else:
        inner = [each for each in sorted(content.files) if _ARCHIVE.fullmatch(each.lower())]
        inner = [each for each in inner if not _OTHER_PARTS.fullmatch(PurePosixPath(each).name)]
        if not inner:
            raise InvalidArgument(f"{path.name} is neither a docker archive, nor an OCI layout, nor a bundle of them")
        for number, each in enumerate(inner):
            below = scratch / f"in{depth}-{number}"
            below.mkdir()
            # The inner archive gets its own name back: it says the role.
            packed = below / re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(each).name)
            content.files[each].path.rename(packed)
            yield from _read(packed, below, budget, depth=depth + 1)
            packed.unlink()


def _unpack(path: Path, scratch: Path, budget: _Budget) -> _Content:
    content = _Content()
    with _broken_tar_is_wrong(path.name), _plain(path) as source, tarfile.open(fileobj=source, mode="r|") as tar:
        for number, member in enumerate(tar):
            budget.member()
            name = _safe_name(member.name)
            if member.isdir():
                continue
            if member.issym() or member.islnk():
                base = PurePosixPath(name).parent if member.issym() else PurePosixPath()
                content.links[name] = _inside(base, member.linkname)
                continue
            if not member.isreg():
                raise InvalidArgument(f"the member {name!r} is a device or a pipe")
            budget.claim(member.size)
            stream = tar.extractfile(member)
            if stream is None:
                raise InvalidArgument(f"the member {name!r} cannot be read")
            content.files[name] = _copy(stream, scratch / f"m{number}", member.size, budget)
    return content


def _copy(stream: IO[bytes], target: Path, size: int, budget: _Budget) -> _Member:
    digest = hashlib.sha256()
    done = 0
    with target.open("xb") as file:
        while block := stream.read(CHUNK):
            budget.spend(len(block))
            done += len(block)
            digest.update(block)
            file.write(block)
    if done != size:
        raise InvalidArgument(f"the archive ends after {done:,} of {size:,} bytes of a member")
    return _Member(target, f"sha256:{digest.hexdigest()}", done)


@contextmanager
def _plain(path: Path) -> Iterator[IO[bytes]]:
    """The file without its compression."""
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic != b"\x1f\x8b":
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked  # type: ignore[misc]


@contextmanager
def _broken_tar_is_wrong(name: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
        raise InvalidArgument(f"{name} is damaged or cut off: {error}") from error


def _safe_name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise InvalidArgument(f"the member {name!r} points outside of the archive")
    return str(path)


def _inside(base: PurePosixPath, target: str) -> str:
    parts = list(base.parts)
    path = PurePosixPath(target)
    if path.is_absolute():
        raise InvalidArgument(f"a link points to {target!r}, outside of the archive")
    for part in path.parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise InvalidArgument(f"a link points to {target!r}, outside of the archive")
    return "/".join(parts)


def _docker_archive(content: _Content, name: str, budget: _Budget) -> Iterator[ContainerImage]:
    manifest = content.document("manifest.json", budget.limits)
    if not isinstance(manifest, list) or len(manifest) != 1 or not isinstance(manifest[0], dict):
        raise InvalidArgument(f"{name}: manifest.json must describe exactly one image")
    entry = manifest[0]
    if not isinstance(entry.get("Config"), str) or not _texts(entry.get("Layers")):
        raise InvalidArgument(f"{name}: manifest.json lacks Config or Layers")
    config = content.get(_safe_name(entry["Config"]))
    named = re.search(r"[0-9a-f]{64}", entry["Config"])
    if named and config.digest != f"sha256:{named[0]}":
        raise InvalidArgument(f"{name}: the config has digest {config.digest}, not that of its name")
    members = [content.get(_safe_name(layer)) for layer in entry["Layers"]]
    yield _image(content.document(_safe_name(entry["Config"]), budget.limits), config, members, name, budget)


def _oci_layout(content: _Content, name: str, budget: _Budget) -> Iterator[ContainerImage]:
    index = content.document("index.json", budget.limits)
    entries = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(entries, list) or len(entries) != 1:
        raise InvalidArgument(f"{name}: index.json must name exactly one image")
    manifest = json.loads(_blob(content, entries[0], budget.limits.document_bytes).path.read_bytes())
    if not isinstance(manifest, dict) or not isinstance(manifest.get("layers"), list):
        raise InvalidArgument(f"{name}: the image is for several platforms, or has no layers")
    config = _blob(content, manifest.get("config"), budget.limits.document_bytes)
    members = [_blob(content, each, budget.limits.unpacked_bytes) for each in manifest["layers"]]
    try:
        document = json.loads(config.path.read_bytes())
    except ValueError as error:
        raise InvalidArgument(f"{name}: the config is not JSON") from error
    yield _image(document, config, members, name, budget)


def _blob(content: _Content, descriptor: Any, most: int) -> _Member:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise InvalidArgument("a descriptor has no sha256 digest")
    member = content.get(f"blobs/sha256/{digest.removeprefix('sha256:')}")
    if member.digest != digest or member.size != descriptor.get("size") or member.size > most:
        raise InvalidArgument(f"the blob {digest} has digest {member.digest} and {member.size:,} bytes")
    return member


def _image(document: Any, config: _Member, members: list[_Member], name: str, budget: _Budget) -> ContainerImage:
    rootfs = document.get("rootfs") if isinstance(document, Mapping) else None
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not _texts(diff_ids) or len(diff_ids) != len(members):
        raise InvalidArgument(f"{name}: the config does not list the {len(members)} layers")
    layers = []
    for diff_id, member in zip(diff_ids, members, strict=True):
        media_type = DOCKER_LAYER
        if member.digest != diff_id:
            found = _unpacked_digest(member.path, budget)
            media_type = DOCKER_LAYER_GZIP
            if found != diff_id:
                raise InvalidArgument(f"{name}: a layer has digest {found or member.digest}, not {diff_id}")
        layers.append(Blob(member.digest, member.size, member.path, media_type))
    return ContainerImage(name, Blob(config.digest, config.size, config.path, DOCKER_CONFIG), tuple(layers))


def _unpacked_digest(path: Path, budget: _Budget) -> str:
    """Of a gzip file's content, counted against the limits; empty if it is none."""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return ""
    digest = hashlib.sha256()
    with _broken_tar_is_wrong(path.name), gzip.open(path) as unpacked:
        while block := unpacked.read(CHUNK):
            budget.spend(len(block))
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
