"""Published packages on disk: copied in, checked while copied, renamed into place, and found again after a restart.

``<data_dir>/<digest>/`` holds the files of one package and ``package.json``, which says what they are. A directory
without a complete record is rubbish of an interrupted import and is removed at the next start. An import holds a lock
on its directory: another process, which may load at any time, can tell one under way from rubbish.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from contrail_vsphere.contrailvm.package.container import unsafe_name
from contrail_vsphere.contrailvm.package.values import Package, PackageFile
from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.descriptor import parse

CHUNK: Final = 1 << 20
RECORD: Final = "package.json"
_PARTIAL: Final = ".partial-"


class PackageStore:
    """The packages in ``data_dir``, by digest."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._packages: dict[str, Package] = {}
        self._damaged: dict[str, str] = {}
        self._lock = asyncio.Lock()

    @property
    def packages(self) -> dict[str, Package]:
        """What is there and sound, by digest, in the order of digests."""
        return dict(sorted(self._packages.items()))

    @property
    def damaged(self) -> dict[str, str]:
        """Directory name -> what is wrong with it; such a package is not served until it is published again."""
        return dict(self._damaged)

    def load(self) -> None:
        """Take stock of the directory: records, sizes, and the descriptor's digest."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            entries = sorted(self.data_dir.iterdir())
        except OSError as error:
            raise PackageError(
                f"{self.data_dir}: {error.strerror}", hint="give a directory that we may write"
            ) from error
        self._packages, self._damaged = {}, {}
        for entry in entries:
            if entry.name.startswith(_PARTIAL):
                _sweep(entry)
            elif entry.is_dir():
                try:
                    package = _read(entry)
                except PackageError as error:
                    self._damaged[entry.name] = str(error)
                else:
                    self._packages[package.digest] = package

    async def add(self, package: Package) -> Package:
        """Copy a verified package in; PackageError where its files are no longer what was verified.

        Copying gives way to others between pieces of 1 MB. A package that is there already is left as it is.
        """
        async with self._lock:
            if package.digest in self._packages:
                return self._packages[package.digest]
            final = self.data_dir / package.digest
            partial = self.data_dir / f"{_PARTIAL}{package.digest}-{os.getpid()}"
            try:
                partial.mkdir(parents=True)
                with _held(partial):
                    await self._fill(package, partial)
                    if final.exists():
                        shutil.rmtree(final)
                    partial.rename(final)
                _sync(self.data_dir)
            except OSError as error:
                raise PackageError(f"{error.filename}: {error.strerror}", hint="check path and free space") from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            stored = _read(final)
            self._packages[stored.digest] = stored
            self._damaged.pop(final.name, None)
            return stored

    async def _fill(self, package: Package, directory: Path) -> None:
        for file in package.files:
            if reason := unsafe_name(file.name):
                raise PackageError(f"{file.name!r} {reason}", hint="verify the package again")
            with file.open() as source, (directory / file.name).open("xb") as target:
                if await _copy(source, target) != file.sha256:
                    raise PackageError(f"{file.name} changed since it was verified", hint="verify the package again")
        record = directory / RECORD
        with record.open("xb") as target:
            target.write(json.dumps(_record(package), indent=1).encode())
            target.flush()
            os.fsync(target.fileno())
        _sync(directory)

    def remove(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Delete packages; returns the digests that were there. Downloads under way end well."""
        gone = []
        for digest in digests:
            if (package := self._packages.pop(digest, None)) is not None:
                # Renamed first: a crash in the middle leaves rubbish, not half a package.
                rubbish = self.data_dir / f"{_PARTIAL}{digest}"
                shutil.rmtree(rubbish, ignore_errors=True)
                package.directory.rename(rubbish)
                shutil.rmtree(rubbish)
                gone.append(digest)
        return tuple(gone)


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Hold a lock on a directory, which ends with the process; BlockingIOError where another has it."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _sweep(partial: Path) -> None:
    """Remove rubbish; what somebody is filling just now is not."""
    try:
        with _held(partial):
            shutil.rmtree(partial)
    except (BlockingIOError, FileNotFoundError):
        return


async def _copy(source: BinaryIO, target: BinaryIO) -> str:
    digest = hashlib.sha256()
    while data := source.read(CHUNK):
        digest.update(data)
        target.write(data)
        await asyncio.sleep(0)
    target.flush()
    os.fsync(target.fileno())
    return digest.hexdigest()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _record(package: Package) -> dict[str, Any]:
    return {
        "format": 1,
        "digest": package.digest,
        "descriptor": package.descriptor_name,
        "signer": package.signer,
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in package.files],
    }


def _read(directory: Path) -> Package:
    hint = "publish the package again"
    try:
        record = json.loads((directory / RECORD).read_bytes())
        files = tuple(PackageFile(**file, container=directory / file["name"]) for file in record["files"])
        by_name = {file.name: file for file in files}
        data = by_name[record["descriptor"]].container.read_bytes()
        wrong = [file.name for file in files if unsafe_name(file.name) or file.container.stat().st_size != file.size]
    except OSError as error:
        raise PackageError(f"{error.filename}: {error.strerror}", hint=hint) from error
    except (ValueError, KeyError, TypeError) as error:
        raise PackageError(f"{directory / RECORD} cannot be understood", hint=hint) from error
    if record["digest"] != directory.name:
        raise PackageError(f"{directory} holds the package {record['digest']}", hint=hint)
    if wrong or hashlib.sha256(data).hexdigest() != by_name[record["descriptor"]].sha256:
        raise PackageError(f"{directory}: {', '.join(wrong) or record['descriptor']} is not as published", hint=hint)
    descriptor = parse(data)
    return Package(
        name=descriptor.name,
        version=descriptor.version,
        digest=record["digest"],
        descriptor=descriptor,
        descriptor_name=record["descriptor"],
        files=files,
        directory=directory,
        signer=record["signer"],
    )
