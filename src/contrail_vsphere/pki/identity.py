"""A key and its certificate in files, and the TLS contexts made from them; renewed without a restart."""

from __future__ import annotations

import re
import ssl
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from contrail_vsphere.model.errors import ContrailVsphereError, SettingsError
from contrail_vsphere.pki.pins import pinned_context, thumbprint
from contrail_vsphere.pki.secrets import read_private, write_private

if TYPE_CHECKING:
    from cryptography import x509

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def client_context(
    *, ca_file: Path | None = None, ca_pem: str = "", thumbprints: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """A verifying client context (TLS 1.2 or newer) without a client certificate.

    Trust comes from the thumbprints, else the CA file and text, else the system's own store; it is never absent.
    """
    if thumbprints:
        return pinned_context(*thumbprints)
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None, cadata=ca_pem or None)
    except (OSError, ssl.SSLError) as error:
        source = ca_file or "the CA text"
        raise SettingsError(f"{source}: {error}", hint="it must hold PEM certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Identity:
    """Who we are in TLS. ``SettingsError`` if a file is absent, open to others, or the two do not match."""

    def __init__(self, key_file: Path, cert_file: Path) -> None:
        self.key_file = key_file
        self.cert_file = cert_file
        self._contexts: list[ssl.SSLContext] = []
        self._pem = self._read()

    @classmethod
    def install(cls, key_pem: bytes, cert_pem: bytes, *, key_file: Path, cert_file: Path) -> Identity:
        """Write both files (mode 0600), replacing what is there, and load them."""
        check_pair(key_pem, cert_pem)
        write_private(key_file, key_pem)
        write_private(cert_file, cert_pem)
        return cls(key_file, cert_file)

    @property
    def cert_pem(self) -> str:
        """The certificate and what follows it in the file, as loaded."""
        return self._pem

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hexadecimal."""
        from cryptography.hazmat.primitives.hashes import SHA256

        return self.certificate.fingerprint(SHA256()).hex()

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate, as loaded."""
        from cryptography import x509  # 8 MiB that who only connects can do without

        return x509.load_pem_x509_certificate(self._pem.encode())

    @property
    def expires(self) -> datetime:
        """Aware, UTC."""
        return self.certificate.not_valid_after_utc

    def thumbprint(self, algorithm: Literal["sha1", "sha256"] = "sha1") -> str:
        """In vCenter's form."""
        return thumbprint(self._pem, algorithm)

    def server_context(
        self, *, client_ca_pem: str = "", clients: Literal["none", "optional", "required"] = "none"
    ) -> ssl.SSLContext:
        """For a listener; with ``clients`` it asks for certificates issued under ``client_ca_pem``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if clients != "none":
            if not client_ca_pem:
                raise SettingsError("client certificates are asked for, but no CA is given to check them")
            context.load_verify_locations(cadata=client_ca_pem)
            context.verify_mode = ssl.CERT_REQUIRED if clients == "required" else ssl.CERT_OPTIONAL
        return self.present_in(context)

    def client_context(
        self, *, ca_file: Path | None = None, ca_pem: str = "", thumbprints: tuple[str, ...] = ()
    ) -> ssl.SSLContext:
        """As the module's ``client_context``, presenting this certificate."""
        return self.present_in(client_context(ca_file=ca_file, ca_pem=ca_pem, thumbprints=thumbprints))

    def present_in(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Load key and certificate into the context, now and on every ``reload``."""
        context.load_cert_chain(self.cert_file, self.key_file)
        self._contexts.append(context)
        return context

    def reload(self) -> bool:
        """Take up changed files in every context made so far; return whether they had changed.

        New handshakes present the new certificate, open connections stay. Files that do not hold together leave
        everything as it was and raise ``SettingsError``.
        """
        before, after = self._pem, self._read()
        if after == before:
            return False
        for context in self._contexts:
            context.load_cert_chain(self.cert_file, self.key_file)
        self._pem = after
        return True

    def _read(self) -> str:
        key = read_private(self.key_file)
        try:
            cert = self.cert_file.read_bytes()
        except OSError as error:
            raise SettingsError(f"certificate {self.cert_file}: {error.strerror}") from error
        try:
            check_pair(key, cert)
        except ContrailVsphereError as error:
            raise SettingsError(f"{self.cert_file} and {self.key_file}: {error.message}", hint=error.hint) from error
        # The key may lie in the same file, and must not come along.
        return "".join(f"{each}\n" for each in _CERTIFICATE.findall(cert.decode()))


def check_pair(key_pem: bytes, cert_pem: bytes) -> None:
    """``SettingsError`` unless OpenSSL accepts the two together."""
    # OpenSSL's own loader reads files only; these have no name, so that a kill leaves no copy of the key behind. A
    # context that fails half-way is thrown away.
    with tempfile.TemporaryFile() as key, tempfile.TemporaryFile() as cert:
        for file, pem in ((key, key_pem), (cert, cert_pem)):
            file.write(pem)
            file.seek(0)
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(f"/dev/fd/{cert.fileno()}", f"/dev/fd/{key.fileno()}")
        except ssl.SSLError as error:
            reason = "do not belong together" if "MISMATCH" in str(error) else f"cannot be loaded: {error}"
            raise SettingsError(f"key and certificate {reason}") from error
