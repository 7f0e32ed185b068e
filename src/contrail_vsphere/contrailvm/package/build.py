"""Builds a package: an exploded OVF with manifest, signed if asked, and the OVA of it if asked.

Everything is written beside its destination and renamed into place when it has been verified, so that nobody ever
finds half a package. The same description and disks give the same bytes, hence the same digest.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from contrail_vsphere.contrailvm.package.compose import compose
from contrail_vsphere.contrailvm.package.container import Member, write_ova
from contrail_vsphere.contrailvm.package.description import Description, Disk, load_description
from contrail_vsphere.contrailvm.package.values import Package
from contrail_vsphere.contrailvm.package.verify import verify
from contrail_vsphere.contrailvm.package.vmdk import MEGABYTE, DiskInfo, check, is_vmdk, write_vmdk
from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.certificate import Signer, render_certificate
from contrail_vsphere.wire.ovf.descriptor import OvfDisk, OvfFile, render
from contrail_vsphere.wire.ovf.manifest import render_manifest

CHUNK: Final = 1 << 20


def build(
    description: Description | Path, out_dir: Path, *, ova: Path | None = None, signer: Signer | None = None
) -> Package:
    """Build the package into the new directory ``out_dir``, and the OVA of it at ``ova``.

    Both may exist already if they are the same package. PackageError for a description, disk or destination that will
    not do; then neither has been touched.
    """
    given = load_description(description) if isinstance(description, Path) else description
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out_dir.name}.", dir=out_dir.parent) as scratch:
            directory = Path(scratch, "package")
            directory.mkdir(mode=0o755)
            _write(given, directory, signer)
            package = verify(directory)
            there = _already(package, out_dir)
            if ova is not None:
                _write_ova(package, ova)
            return there or _put(package, out_dir)
    except OSError as error:
        raise PackageError(
            f"{error.filename or out_dir}: {error.strerror}", hint="check path and free space"
        ) from error


def _write(given: Description, directory: Path, signer: Signer | None) -> None:
    files: list[OvfFile] = []
    disks: list[OvfDisk] = []
    digests: dict[str, str] = {}
    for number, disk in enumerate(given.disks, start=1):
        target = directory / f"{given.file_name}-disk{number}.vmdk"
        info = _disk(disk, target)
        digests[target.name] = _sha256(target)
        files.append(OvfFile(f"file{number}", target.name, target.stat().st_size))
        disks.append(OvfDisk(f"disk{number}", f"file{number}", info.capacity, populated_size=info.populated))
    descriptor = directory / f"{given.file_name}.ovf"
    descriptor.write_bytes(render(compose(given, files=files, disks=disks)))
    manifest = render_manifest({descriptor.name: _sha256(descriptor), **digests})
    directory.joinpath(f"{given.file_name}.mf").write_bytes(manifest)
    if signer is not None:
        signature = render_certificate(manifest, manifest_name=f"{given.file_name}.mf", signer=signer)
        directory.joinpath(f"{given.file_name}.cert").write_bytes(signature)


def _disk(disk: Disk, target: Path) -> DiskInfo:
    try:
        with disk.file.open("rb") as source, target.open("w+b") as sink:
            if not is_vmdk(source):
                _refuse_other_formats(source, disk.file)
                capacity = None if disk.capacity_mb is None else disk.capacity_mb * MEGABYTE
                return write_vmdk(source, sink, name=target.name, capacity=capacity)
            if disk.capacity_mb is not None:
                raise PackageError("capacity_mb is for raw images", hint="remove it; a VMDK knows its capacity")
            shutil.copyfileobj(source, sink, CHUNK)
            sink.flush()
            return check(source)
    except OSError as error:
        raise PackageError(f"disk {disk.file}: {error.strerror}", hint="give the path of the disk image") from error
    except PackageError as error:
        raise PackageError(f"disk {disk.file}: {error.message}", hint=error.hint) from error


_FORMATS: Final = {
    b"QFI\xfb": "qcow2",
    b"# Disk DescriptorFile": "a VMDK descriptor without its extent",
    b"COWD": "an ESXi sparse VMDK",
    b"conectix": "VHD",
    b"vhdxfile": "VHDX",
    b"<<< ": "VDI",
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
}


def _refuse_other_formats(source: BinaryIO, path: Path) -> None:
    start = source.read(64)
    source.seek(0)
    for magic, name in _FORMATS.items():
        if start.startswith(magic):
            raise PackageError(f"{path.name} is {name}, not raw", hint="convert it to raw or to streamOptimized VMDK")


def _write_ova(package: Package, ova: Path) -> None:
    members = [Member(file.name, file.size, file.container, file.offset) for file in package.files]
    ova.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{ova.name}.", dir=ova.parent) as scratch:
        partial = Path(scratch, ova.name)
        with partial.open("wb") as target:
            write_ova(target, members)
        if ova.exists() and not ova.is_dir() and _sha256(ova) != _sha256(partial):
            raise PackageError(f"{ova} is there already and differs", hint="remove it or choose another name")
        partial.replace(ova)


def _already(package: Package, out_dir: Path) -> Package | None:
    """The same package where ``out_dir`` holds it already; PackageError where it holds anything else."""
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return None
    try:
        there = verify(out_dir)
    except PackageError as error:
        raise PackageError(f"{out_dir} is there already", hint="remove it or choose another directory") from error
    if [(f.name, f.sha256) for f in there.files] != [(f.name, f.sha256) for f in package.files]:
        raise PackageError(f"{out_dir} holds another package", hint="remove it or choose another directory")
    return there


def _put(package: Package, out_dir: Path) -> Package:
    package.directory.replace(out_dir)
    files = tuple(replace(file, container=out_dir / file.name) for file in package.files)
    return replace(package, directory=out_dir, files=files)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
