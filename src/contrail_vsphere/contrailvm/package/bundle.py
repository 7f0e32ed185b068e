"""Third-party offline bundles: verified before an agency names one. We build none.

Checked is all that can be without a host: the zip and its indexes, the VIBs' descriptors against the VIBs themselves,
payload sizes and checksums, and that whatever claims more than community acceptance is signed.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.vib.archive import VibFile, read_vib
from contrail_vsphere.wire.vib.bundle import LARGEST_BUNDLE, Bundle, Vib, parse, version_key

INDEXES: Final = ("index.xml", "vendor-index.xml", "metadata.zip")


@dataclass(frozen=True, slots=True)
class OfflineBundle:
    """A bundle that holds together; ``warnings`` are for whoever deploys it."""

    name: str
    """Of its first VIB."""
    version: str
    digest: str
    """SHA-256 of the file, in hex."""
    size: int
    path: Path
    vibs: tuple[Vib, ...]
    bulletins: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def verify_bundle(path: Path) -> OfflineBundle:
    """Check a bundle; PackageError lists everything that is wrong with it."""
    try:
        if path.stat().st_size > LARGEST_BUNDLE:
            raise PackageError(f"{path} is larger than {LARGEST_BUNDLE >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path}: {error.strerror}") from error
    bundle = parse(data)
    problems, files = _look_inside(data)
    problems += _compare(bundle, files)
    if problems:
        raise PackageError.of(str(path), problems)
    first = bundle.vibs[0]
    return OfflineBundle(
        name=first.name,
        version=first.version,
        digest=hashlib.sha256(data).hexdigest(),
        size=len(data),
        path=path,
        vibs=bundle.vibs,
        bulletins=bundle.bulletins,
        warnings=_warnings(bundle),
    )


def downgrades(before: OfflineBundle, after: OfflineBundle) -> tuple[str, ...]:
    """VIBs that ``after`` has in an older version; EAM replaces a VIB by a newer one only."""
    present = {vib.name: vib.version for vib in before.vibs}
    return tuple(
        f"{vib.name} {vib.version} is older than {present[vib.name]}"
        for vib in after.vibs
        if vib.name in present and version_key(vib.version) < version_key(present[vib.name])
    )


def _look_inside(data: bytes) -> tuple[list[str], list[VibFile]]:
    problems: list[str] = []
    files: list[VibFile] = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
        problems += [f"{each} is missing" for each in INDEXES if each not in names]
        inside = sorted(each for each in names if each.startswith("vib20/") and each.endswith(".vib"))
        for name in inside:
            try:
                files.append(read_vib(archive.read(name), name))
            except PackageError as error:
                problems += error.problems
            except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
                problems.append(f"{name} cannot be unpacked: {error}")
    return problems, files


def _compare(bundle: Bundle, files: list[VibFile]) -> list[str]:
    """The metadata's word against the VIBs'."""
    problems = []
    listed = {(vib.name, vib.version): vib for vib in bundle.vibs}
    found = {(file.name, file.version): file for file in files}
    problems += [f"{name} {version} is in the metadata but not in vib20/" for name, version in listed.keys() - found]
    problems += [f"{name} {version} is in vib20/ but not in the metadata" for name, version in found.keys() - listed]
    for which in sorted(listed.keys() & found):
        vib, file = listed[which], found[which]
        if vib.acceptance_level != file.acceptance_level:
            problems.append(f"{vib.name}: the metadata says {vib.acceptance_level}, the VIB {file.acceptance_level}")
        if file.acceptance_level != "community" and not file.signed:
            problems.append(f"{vib.name} claims acceptance level {file.acceptance_level} but is not signed")
    return problems


def _warnings(bundle: Bundle) -> tuple[str, ...]:
    said = []
    for vib in bundle.vibs:
        if vib.acceptance_level == "community":
            said.append(f"{vib.name} is a community VIB: hosts with Secure Boot, and images, refuse it")
        if vib.maintenance_mode:
            said.append(f"{vib.name} needs every host in maintenance mode; each time is asked for approval")
        if not vib.live_install:
            said.append(f"{vib.name} needs every host to reboot; each time is asked for approval")
    if not bundle.bulletins:
        said.append("it has no bulletin: vSphere 7.0 and later cannot put it into a cluster's image")
    return tuple(said)
