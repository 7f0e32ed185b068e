"""What a manager keeps on disk, and where: journal, CA, identities, packages; private, and one manager's at a time.

The plugin has such a directory too, and no packages: what only the ContrailVM Manager needs is imported where used.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.model.errors import InvalidState, SettingsError
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.secrets import private_directory, write_private

if TYPE_CHECKING:
    from contrail_vsphere.contrailvm.publish import PackageStore
    from contrail_vsphere.contrailvm.publish.bundles import BundleStore
    from contrail_vsphere.pki.ca import CertificateAuthority, Issued

MOVED = "moved"
"""Kind of the record that marks a journal as left behind: the present one is in ZooKeeper."""
RENEW_BEFORE = timedelta(days=30)
"""A server certificate that expires sooner is issued anew at start."""


class DataDirectory:
    """``[manager] data_dir``; everything in it is the manager's own. Made when something is put into it."""

    def __init__(self, path: Path, *, now: Callable[[], datetime]) -> None:
        self.path = path
        self._now = now

    def make(self) -> Path:
        """The directory, made where it is missing; ``SettingsError`` if that cannot be."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise SettingsError(
                f"manager.data_dir {self.path}: {error.strerror}", hint="set data_dir to a directory you may write"
            ) from error
        return self.path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other managers out while this one runs."""
        handle = os.open(self.make() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidState(
                    f"another manager runs with data_dir {self.path}", hint="stop it, or use its control API"
                ) from None
            yield
        finally:
            os.close(handle)

    def journal(self) -> Journal:
        """The journal; raises when it is corrupt or from a newer version."""
        return Journal(self.make() / "journal.sqlite", now=self._now)

    def authority(self) -> CertificateAuthority:
        """Our CA, made on first use."""
        from contrail_vsphere.pki.ca import CertificateAuthority

        return CertificateAuthority.load_or_create(
            self.make() / "ca", name="contrail-vsphere ContrailVM Manager", now=self._now
        )

    def bundles(self) -> BundleStore:
        """The published offline bundles."""
        from contrail_vsphere.contrailvm.publish.bundles import BundleStore

        store = BundleStore(self.path / "packages-vib")
        store.load()
        return store

    def packages(self) -> PackageStore:
        """The published packages as they lie on disk now."""
        from contrail_vsphere.contrailvm.publish import PackageStore

        store = PackageStore(self.path / "packages")
        if store.data_dir.exists():
            store.load()
        return store

    def users_of(self, digest: str) -> tuple[str, ...]:
        """Deployments on clusters that want a package, in words; read from the journal, a manager may run beside."""
        from contrail_vsphere.contrailvm.notebook import Notebook

        if not (self.path / "journal.sqlite").exists():
            return ()
        with self.journal() as journal:
            if journal.get(MOVED, "journal") is not None:
                raise InvalidState(
                    "the journal is in ZooKeeper: who uses the package is not known here",
                    hint="when no deployment of `contrailvm status` has it, delete its directory below packages",
                )
            desired = Notebook(journal).desired.values()
        return tuple(each.place for each in desired if each.package.digest == digest)

    def server_identity(self, name: str, hosts: Sequence[str], authority: CertificateAuthority) -> Identity:
        """The identity a listener presents, issued anew when the hosts changed or it is about to expire."""
        key, cert = self._files(name)
        record = key.with_suffix(".hosts")
        wanted = "\n".join(hosts)
        if cert.exists() and record.exists() and record.read_text() == wanted:
            identity = Identity(key, cert)
            # EAM pins the publisher's certificate, whoever issued it; guests trust the others for their issuer.
            issued = name == "publish" or authority.issued(identity.certificate)
            if issued and identity.expires - self._now() > RENEW_BEFORE:
                return identity
        made = self._install(name, authority.issue_server(hosts))
        record.write_text(wanted)
        return made

    def extension_identity(self, extension_key: str, authority: CertificateAuthority | None = None) -> Identity:
        """What we log in to vCenter with; made where an authority is given, else it must be there."""
        key, cert = self._files("extension")
        renewed = key.with_suffix(".pem")
        if renewed.exists():
            return Identity(renewed, renewed)
        if cert.exists():
            return Identity(key, cert)
        if authority is None:
            raise SettingsError(
                f"{self.path} holds no certificate of the extension {extension_key}",
                hint="run `contrail-vsphere contrailvm register` once, with an administrator's account",
            )
        # vCenter compares the certificate with the registered one; RSA is what every release accepts.
        return self._install("extension", authority.issue_client(extension_key, key_kind="rsa"))

    def next_extension(self, extension_key: str, authority: CertificateAuthority) -> Identity:
        """The successor of the extension's certificate, made if there is none; key and certificate in one file."""
        file = self._files("extension")[0].with_suffix(".next")
        if not file.exists():
            issued = authority.issue_client(extension_key, key_kind="rsa")
            write_private(file, issued.key_pem + issued.cert_pem)
        return Identity(file, file)

    def promote_extension(self) -> Identity | None:
        """Log in with the successor from now on; None if there is none. One rename: no crash leaves a mixture."""
        present = self._files("extension")[0]
        file = present.with_suffix(".next")
        if not file.exists():
            return None
        renewed = present.with_suffix(".pem")
        file.replace(renewed)
        return Identity(renewed, renewed)

    def _files(self, name: str) -> tuple[Path, Path]:
        directory = self.path / "identities"
        return directory / f"{name}.key", directory / f"{name}.crt"

    def _install(self, name: str, issued: Issued) -> Identity:
        key, cert = self._files(name)
        private_directory(key.parent)
        return Identity.install(issued.key_pem, issued.chain_pem, key_file=key, cert_file=cert)
