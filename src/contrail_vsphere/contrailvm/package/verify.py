"""Verification: everything that is wrong with an OVF directory, descriptor or OVA, said at once.

Rules come from what vSphere imports and EAM deploys (DSP0243 1.1; EAM cannot accept a licence or fill in a property it
was not given), and from what the ContrailVM Manager needs to bring a ContrailVM up. Each problem is one line that says
what is wrong and what to do. Files are read once, in pieces, whatever their size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from contrail_vsphere.contrailvm.package.container import Member, read_directory, read_ova, unsafe_name
from contrail_vsphere.contrailvm.package.rules import check_rules
from contrail_vsphere.contrailvm.package.values import Package, PackageFile, package_digest
from contrail_vsphere.contrailvm.package.vmdk import check, read_info
from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.certificate import parse_certificate
from contrail_vsphere.wire.ovf.descriptor import STREAM_OPTIMIZED, Descriptor, parse
from contrail_vsphere.wire.ovf.manifest import MAX_MANIFEST, Manifest, parse_manifest
from contrail_vsphere.wire.ovf.parse import MAX_DESCRIPTOR

CHUNK: Final = 1 << 20


def verify(path: Path, *, read_disks: bool = True, need_manifest: bool = True) -> Package:
    """The package at ``path`` (a directory, an ``.ovf`` or an ``.ova``), or PackageError with all problems.

    ``read_disks``: inflate every grain of every disk, not just the headers.
    """
    try:
        return _Verification(path, read_disks=read_disks, need_manifest=need_manifest).run()
    except OSError as error:
        raise PackageError(f"{error.filename or path}: {error.strerror}", hint="give an OVF package") from error


@dataclass(slots=True)
class _Verification:
    """One run: what was found so far, and what is wrong with it."""

    path: Path
    read_disks: bool
    need_manifest: bool
    problems: list[str] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    digests: dict[str, dict[str, str]] = field(default_factory=dict)
    """File name -> algorithm -> hex."""
    signer: str = ""

    def run(self) -> Package:
        """All checks, in the order in which one makes sense of the next."""
        found = self._find()
        if found is None:
            raise PackageError.of(str(self.path), self.problems)
        descriptor = self._descriptor(found)
        stem = found.name.removesuffix(".ovf")
        manifest = self._manifest(stem)
        names = self._references(descriptor, [found.name, f"{stem}.mf", f"{stem}.cert"])
        self._hash([found.name, *names], manifest)
        self._compare(manifest, [found.name, *names])
        self._signature(stem)
        if descriptor is not None:
            self._disks(descriptor)
            check_rules(descriptor, self.problems)
        if self.problems or descriptor is None:
            raise PackageError.of(str(self.path), self.problems)
        return self._package(found.name, descriptor, [found.name, f"{stem}.mf", f"{stem}.cert", *names], names)

    def _say(self, what: str, hint: str) -> None:
        self.problems.append(f"{what} ({hint})")

    def _take(self, error: PackageError, where: str = "") -> None:
        self.problems.extend(f"{where}: {line}" if where else line for line in error.problems)

    def _find(self) -> Member | None:
        """All files, and which is the descriptor."""
        if self.path.is_dir():
            members = read_directory(self.path, self.problems)
        elif self.path.suffix.lower() == ".ova":
            members = read_ova(self.path, self.problems)
            if members and not members[0].name.endswith(".ovf"):
                self._say(f"the OVA begins with {members[0].name!r}", "store the descriptor first")
        elif self.path.suffix.lower() == ".ovf":
            # Other packages may share its directory; only what it refers to is its own.
            members = read_directory(self.path.parent, [])
        else:
            raise PackageError(f"{self.path} is no OVF package", hint="give a directory, an .ovf or an .ova")
        self.members = {member.name: member for member in members}
        if self.path.suffix.lower() == ".ovf" and not self.path.is_dir():
            if self.path.name not in self.members:
                self._say(f"{self.path.name!r} is not there or not a regular file", "give the descriptor itself")
            return self.members.get(self.path.name)
        descriptors = [member for member in members if member.name.endswith(".ovf")]
        if len(descriptors) != 1:
            self._say(f"there are {len(descriptors)} .ovf files", "a package has exactly one")
            return None
        return descriptors[0]

    def _descriptor(self, member: Member) -> Descriptor | None:
        with member.open() as source:
            data = source.read(MAX_DESCRIPTOR + 1)
        try:
            return parse(data)
        except PackageError as error:
            self._take(error, member.name)
            return None

    def _manifest(self, stem: str) -> Manifest | None:
        member = self.members.get(f"{stem}.mf")
        if member is None:
            if self.need_manifest:
                self._say(f"there is no manifest {stem}.mf", "write one, with the SHA256 of every file")
            return None
        try:
            with member.open() as source:
                return parse_manifest(source.read(MAX_MANIFEST + 1))
        except PackageError as error:
            self._take(error, member.name)
            return None

    def _references(self, descriptor: Descriptor | None, own: list[str]) -> list[str]:
        """Names of the referenced files that are there, in order."""
        if descriptor is None:
            return []
        names: list[str] = []
        for file in descriptor.files:
            member = self.members.get(file.href)
            if reason := unsafe_name(file.href):
                self._say(f"file {file.id!r}: href {file.href!r} {reason}", "refer to a file beside the descriptor")
            elif file.href in own or file.href in names:
                self._say(f"file {file.id!r}: href {file.href!r} is in use", "refer to every file once")
            elif file.compression or file.chunk_size:
                self._say(f"file {file.id!r} is compressed or in chunks", "store it whole, as streamOptimized VMDK")
            elif member is None:
                self._say(f"file {file.href!r} is missing", "add it, or remove its File element")
            else:
                names.append(file.href)
                if file.size is not None and file.size != member.size:
                    self._say(f"{file.href!r} has {member.size} bytes, ovf:size says {file.size}", "correct ovf:size")
        if self.path.suffix.lower() != ".ovf" or self.path.is_dir():
            hrefs = {file.href for file in descriptor.files}
            for name in sorted(self.members.keys() - hrefs - set(own)):
                self._say(f"{name!r} belongs to nothing in the descriptor", "remove it, or refer to it")
            self._order([*own, *names])
        return names

    def _order(self, wanted: list[str]) -> None:
        if self.path.is_dir():
            return
        stored = [name for name in self.members if name in wanted]
        if stored != [name for name in wanted if name in self.members]:
            self._say("the OVA's files are out of order", "store .ovf, .mf, .cert, then files in References order")

    def _hash(self, names: list[str], manifest: Manifest | None) -> None:
        for name in names:
            algorithms = {"SHA256"}
            if manifest is not None and (line := manifest.of(name)) is not None:
                algorithms.add(line.algorithm)
            running = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in sorted(algorithms)}
            with self.members[name].open() as source:
                while data := source.read(CHUNK):
                    for digest in running.values():
                        digest.update(data)
            self.digests[name] = {algorithm: digest.hexdigest() for algorithm, digest in running.items()}

    def _compare(self, manifest: Manifest | None, names: list[str]) -> None:
        if manifest is None:
            return
        for name in names:
            line = manifest.of(name)
            if line is None:
                self._say(f"{name!r} is not in the manifest", "write the manifest again")
            elif line.hex != self.digests[name][line.algorithm]:
                self._say(f"{name!r} does not have the {line.algorithm} of the manifest", "it was changed or damaged")
        for line in manifest.digests:
            if line.name not in self.members:
                self._say(f"the manifest names {line.name!r}, which is missing", "add it or write the manifest again")

    def _signature(self, stem: str) -> None:
        member = self.members.get(f"{stem}.cert")
        signed = self.members.get(f"{stem}.mf")
        if member is None:
            return
        if signed is None:
            self._say(f"there is a signature {member.name} and no manifest", "add the manifest")
            return
        try:
            with member.open() as source, signed.open() as text:
                signature = parse_certificate(source.read(MAX_MANIFEST + 1))
                if signature.manifest_name != signed.name:
                    self._say(f"{member.name} signs {signature.manifest_name!r}", f"sign {signed.name}")
                signature.verify(text.read(MAX_MANIFEST + 1))
            self.signer = signature.certificate.subject.rfc4514_string()
        except PackageError as error:
            self._take(error, member.name)

    def _disks(self, descriptor: Descriptor) -> None:
        for disk in descriptor.disks:
            if not disk.file:
                continue
            file = descriptor.file(disk.file)
            if disk.format.lower() != STREAM_OPTIMIZED.lower():
                self._say(f"disk {disk.id!r} is of format {disk.format!r}", "vSphere imports streamOptimized VMDK only")
            elif file.href in self.digests:
                self._disk(self.members[file.href], disk.id, disk.capacity)

    def _disk(self, member: Member, disk_id: str, capacity: int) -> None:
        try:
            with member.open() as source:
                info = check(source) if self.read_disks else read_info(source)
        except PackageError as error:
            self._take(error, member.name)
            return
        if info.capacity != capacity:
            self._say(
                f"disk {disk_id!r}: capacity is {capacity} bytes in the descriptor, {info.capacity} in {member.name}",
                "correct ovf:capacity",
            )

    def _package(self, descriptor_name: str, descriptor: Descriptor, order: list[str], names: list[str]) -> Package:
        extra = [name for name in order if name in self.members and name not in self.digests]
        self._hash(extra, None)
        return Package(
            name=descriptor.name,
            version=descriptor.version,
            digest=package_digest((name, self.digests[name]["SHA256"]) for name in [descriptor_name, *names]),
            descriptor=descriptor,
            descriptor_name=descriptor_name,
            files=tuple(
                PackageFile(name, member.size, self.digests[name]["SHA256"], member.container, member.offset)
                for name in order
                if (member := self.members.get(name)) is not None
            ),
            directory=self.path if self.path.is_dir() or self.path.suffix.lower() == ".ova" else self.path.parent,
            signer=self.signer,
        )
