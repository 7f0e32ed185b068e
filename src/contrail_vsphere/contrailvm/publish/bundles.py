"""Offline bundles on disk, beside the packages: files named ``<digest>.zip``, so that the name says what is in it."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from contrail_vsphere.contrailvm.package.bundle import OfflineBundle, verify_bundle
from contrail_vsphere.contrailvm.package.values import PackageFile
from contrail_vsphere.model.errors import PackageError


class BundleStore:
    """The bundles in ``data_dir``, by digest."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._bundles: dict[str, OfflineBundle] = {}
        self.damaged: dict[str, str] = {}
        """File name -> what is wrong with it."""

    @property
    def bundles(self) -> dict[str, OfflineBundle]:
        """What is there and sound, in the order of digests."""
        return dict(sorted(self._bundles.items()))

    def load(self) -> None:
        """Take stock; what is not what its name says is not served."""
        self._bundles, self.damaged = {}, {}
        for path in sorted(self.data_dir.glob("*.zip")) if self.data_dir.is_dir() else ():
            try:
                bundle = verify_bundle(path)
            except PackageError as error:
                self.damaged[path.name] = str(error)
                continue
            if path.name != f"{bundle.digest}.zip":
                self.damaged[path.name] = "it is not what its name says"
                continue
            self._bundles[bundle.digest] = bundle

    def add(self, bundle: OfflineBundle) -> OfflineBundle:
        """Copy a verified bundle in; PackageError where it changed meanwhile. Safe to repeat."""
        final = self.data_dir / f"{bundle.digest}.zip"
        if bundle.digest not in self._bundles:
            partial = self.data_dir / f".partial-{bundle.digest}-{os.getpid()}"
            try:
                self.data_dir.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.path, partial)
                if hashlib.sha256(partial.read_bytes()).hexdigest() != bundle.digest:
                    raise PackageError(f"{bundle.path} changed since it was verified", hint="verify it again")
                partial.rename(final)
            except OSError as error:
                raise PackageError(f"{error.filename}: {error.strerror}", hint="check path and free space") from error
            finally:
                partial.unlink(missing_ok=True)
            self._bundles[bundle.digest] = verify_bundle(final)
        return self._bundles[bundle.digest]

    def find(self, wanted: str) -> OfflineBundle | None:
        """By ``NAME VERSION`` of its first VIB, or by 12 digits or more of its digest; None for none or several."""
        found = [each for each in self._bundles.values() if f"{each.name} {each.version}" == wanted]
        if not found and len(wanted) >= 12:
            found = [each for each in self._bundles.values() if each.digest.startswith(wanted)]
        return found[0] if len(found) == 1 else None


def path_of(bundle: OfflineBundle) -> str:
    """Where it is served."""
    return f"/vib/{bundle.digest[:12]}/{bundle.name}-{bundle.version}.zip"


def file_of(bundle: OfflineBundle) -> PackageFile:
    """As the publishing server serves files."""
    return PackageFile(
        name=f"{bundle.name}-{bundle.version}.zip", size=bundle.size, sha256=bundle.digest, container=bundle.path
    )
