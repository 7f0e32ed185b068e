"""Trust in one certificate instead of a CA, the way vCenter names certificates: by thumbprint.

A pinned context checks the peer's certificate at the end of the handshake, before any byte of ours is sent, in every
place that takes an ``ssl.SSLContext`` (aiohttp, asyncio streams, plain sockets). aiohttp's own ``Fingerprint`` refuses
SHA-1, which is what vCenter and ESXi show, and cannot present a client certificate.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from collections.abc import Iterable
from typing import Any

from contrail_vsphere.model.errors import SettingsError

_BYTES = {20: "sha1", 32: "sha256"}


def thumbprint(certificate: bytes | str, algorithm: str = "sha1") -> str:
    """``AB:CD:...`` of a certificate in PEM or DER; SHA-1 by default, as vSphere's ``thumbprint`` fields have it."""
    return _colons(hashlib.new(algorithm, _der(certificate)).digest())


def parse_thumbprint(text: str) -> tuple[str, bytes]:
    """``("sha1" | "sha256", digest)`` of a thumbprint, with or without colons; else ``SettingsError``."""
    digits = re.sub(r"[:\s-]", "", text.removeprefix("sha256:").removeprefix("SHA256:"))
    try:
        digest = bytes.fromhex(digits)
    except ValueError:
        digest = b""
    if len(digest) not in _BYTES:
        raise SettingsError(
            f"{text!r} is not a thumbprint", hint="20 (SHA-1) or 32 (SHA-256) bytes in hexadecimal, as in AB:CD:..."
        )
    return _BYTES[len(digest)], digest


def matches(certificate: bytes | str, thumbprints: Iterable[str]) -> bool:
    """Whether one of the thumbprints, each SHA-1 or SHA-256, is the certificate's."""
    der = _der(certificate)
    pins = [parse_thumbprint(text) for text in thumbprints]
    return any(hmac.compare_digest(hashlib.new(name, der).digest(), digest) for name, digest in pins)


def pinned_context(*thumbprints: str) -> ssl.SSLContext:
    """A client context (TLS 1.2 or newer) that accepts exactly the certificates with these thumbprints.

    Chain, name and dates are not looked at: the pin says more than they do, and vCenter's self-signed certificates have
    none that hold. Another certificate raises ``ssl.SSLCertVerificationError`` out of the handshake. Load a client
    certificate into it with ``load_cert_chain`` as into any other.
    """
    if not thumbprints:
        raise SettingsError("no thumbprint to pin", hint="give one, or a CA file")
    for text in thumbprints:
        parse_thumbprint(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = type("PinnedObject", (_PinnedObject,), {"pins": thumbprints})
    context.sslsocket_class = type("PinnedSocket", (_PinnedSocket,), {"pins": thumbprints})
    return context


class _PinnedObject(ssl.SSLObject):
    """What asyncio handshakes with."""

    pins: tuple[str, ...] = ()

    def do_handshake(self) -> None:
        super().do_handshake()
        _check(self.getpeercert(binary_form=True), self.pins)


class _PinnedSocket(ssl.SSLSocket):
    """What blocking clients (pyVmomi's stub) handshake with."""

    pins: tuple[str, ...] = ()

    def do_handshake(self, *args: Any, **kwargs: Any) -> None:
        super().do_handshake(*args, **kwargs)
        _check(self.getpeercert(binary_form=True), self.pins)


def _check(der: bytes | None, pins: tuple[str, ...]) -> None:
    if der is not None and matches(der, pins):
        return
    seen = "no certificate" if der is None else f"a certificate with thumbprint {thumbprint(der)}"
    raise ssl.SSLCertVerificationError(1, f"the peer presents {seen}, which is not pinned")


def _der(certificate: bytes | str) -> bytes:
    data = certificate.encode() if isinstance(certificate, str) else certificate
    if not data.lstrip().startswith(b"-----BEGIN"):
        return data
    from cryptography import x509  # 8 MiB that who pins no file can do without
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(data).public_bytes(Encoding.DER)


def _colons(digest: bytes) -> str:
    return ":".join(f"{byte:02X}" for byte in digest)
