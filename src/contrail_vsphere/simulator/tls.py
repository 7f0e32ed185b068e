"""The simulated vCenter's certificates: a CA of its own, a server certificate, and the two TLS contexts.

The ordinary port never asks for a client certificate. The port behind the sdkTunnel takes any, as vCenter does: who the
client is gets decided by LoginExtensionByCertificate, which compares it with the registered one.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.pins import thumbprint
from contrail_vsphere.pki.secrets import write_private

TUNNEL_NAME = "sdkTunnel"
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name."""
HANDSHAKE, CERTIFICATE = 22, 11


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What the simulator shows to its clients."""

    ca_file: Path
    thumbprint: str
    """SHA-1 of the server certificate, as vCenter shows it."""
    plain: ssl.SSLContext
    tunnel: ssl.SSLContext


def make_identity(directory: Path, host: str) -> ServerIdentity:
    """Certificates in ``directory`` (the CA is kept there and reused); the server's is for ``host`` and loopback."""

    # Clients' TLS libraries look at the real clock, so the certificates must too, whatever time it is in the simulator.
    def now() -> datetime:
        return datetime.now(UTC)

    # The ready line is read by programs that run elsewhere.
    directory = directory.absolute()
    authority = CertificateAuthority.load_or_create(directory, name="Simulated vCenter CA", now=now)
    names = dict.fromkeys(["localhost", "127.0.0.1", host, TUNNEL_NAME])
    names.pop("0.0.0.0", None)  # noqa: S104 - an address to listen on, not one to be called
    issued = authority.issue_server([name for name in names if name])
    chain = directory / "server.pem"
    write_private(chain, issued.key_pem + issued.chain_pem)
    ca_file = directory / "ca.crt"
    write_private(ca_file, authority.trust_bundle.encode())
    return ServerIdentity(
        ca_file=ca_file,
        thumbprint=thumbprint(issued.cert_pem),
        plain=_context(chain),
        tunnel=_accept_any_certificate(_context(chain)),
    )


def _context(chain: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(chain)
    return context


def _accept_any_certificate(context: ssl.SSLContext) -> ssl.SSLContext:
    """Ask for a client certificate and take whatever comes, expired or not; the client still proves it has the key.

    The ssl module has no verification callback, and refuses an unknown certificate in the handshake, where vCenter lets
    it in and answers InvalidLogin. OpenSSL however looks into the trust store only after the message hook has seen the
    certificate, so the hook puts it there.
    """
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags |= NO_CHECK_TIME

    def seen(_connection: Any, direction: str, version: Any, content_type: Any, message_type: Any, data: bytes) -> None:
        if direction != "read" or int(content_type) != HANDSHAKE or int(message_type) != CERTIFICATE:
            return
        der = first_certificate(data, tls13=version == ssl.TLSVersion.TLSv1_3)
        if der:
            try:
                context.load_verify_locations(cadata=der)
            except ssl.SSLError:  # not a certificate: the handshake is about to fail for that reason
                return

    context._msg_callback = seen  # type: ignore[attr-defined]
    return context


def first_certificate(message: bytes, *, tls13: bool) -> bytes:
    """DER of the first certificate in a TLS Certificate message (RFC 8446 4.4.2, RFC 5246 7.4.2); empty if none."""
    body = message[4:]
    if tls13:
        body = body[1 + body[0] :] if body else b""
    size = int.from_bytes(body[3:6], "big")
    return body[6 : 6 + size] if len(body) >= 6 + size else b""
