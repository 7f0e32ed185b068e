"""Signatures (``.cert``): who made a package.

The file is one line, ``SHA256(<name>.mf)= <hex of an RSA PKCS#1 v1.5 signature over the manifest>``, and the signer's
certificate in PEM after it (openssl's ``dgst -sign`` makes the same). A signature says that the manifest is what the
holder of the key wrote; whether that holder is trusted is for the reader to decide by the certificate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.manifest import LINE, MAX_MANIFEST

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "SHA1": hashes.SHA1(),  # noqa: S303 - packages of others, from the time when OVF named nothing else
    "SHA256": hashes.SHA256(),
    "SHA512": hashes.SHA512(),
}
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\s*", re.DOTALL)
_HINT: Final = "sign the manifest again"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private RSA key and the certificate that goes with it; ``repr`` keeps the key to itself."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def __repr__(self) -> str:
        return f"Signer({self.certificate.subject.rfc4514_string()!r})"


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed ``.cert`` file."""

    manifest_name: str
    algorithm: str
    value: bytes
    certificate: x509.Certificate

    def verify(self, manifest: bytes) -> None:
        """PackageError unless the signature is that of ``manifest`` by this certificate's key."""
        key = self.certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise PackageError("the signer's certificate has no RSA key", hint="sign with an RSA key")
        try:
            key.verify(self.value, manifest, padding.PKCS1v15(), _HASHES[self.algorithm])
        except InvalidSignature as error:
            raise PackageError("the signature does not match the manifest", hint=_HINT) from error


def load_signer(*, key_pem: bytes, certificate_pem: bytes) -> Signer:
    """A signer from PEM; PackageError where key and certificate do not load, do not match, or are not RSA."""
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except (ValueError, TypeError) as error:
        raise PackageError(f"the signing identity cannot be read: {error}", hint="give PEM without password") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise PackageError("the signing key is not RSA", hint="vSphere checks RSA signatures only")
    if certificate.public_key() != key.public_key():
        raise PackageError("the signing certificate belongs to another key", hint="give the certificate of this key")
    return Signer(key, certificate)


def render_certificate(manifest: bytes, *, manifest_name: str, signer: Signer) -> bytes:
    """The ``.cert`` file for a manifest."""
    value = signer.key.sign(manifest, padding.PKCS1v15(), hashes.SHA256())
    pem = signer.certificate.public_bytes(serialization.Encoding.PEM)
    return f"SHA256({manifest_name})= {value.hex()}\n".encode() + pem


def parse_certificate(data: bytes) -> Signature:
    """The signature in a ``.cert`` file; PackageError where it cannot be understood."""
    if len(data) > MAX_MANIFEST:
        raise PackageError(f"the certificate file has {len(data)} bytes", hint="is this the right file?")
    line, _, rest = data.partition(b"\n")
    match = LINE.fullmatch(line.decode("utf-8", "replace"))
    if match is None or match[1] not in _HASHES or not match[3] or len(match[3]) % 2:
        raise PackageError("the first line of the certificate file is no signature", hint=_HINT)
    block = _PEM.search(rest)
    if block is None:
        raise PackageError("the certificate file has no PEM certificate", hint=_HINT)
    try:
        certificate = x509.load_pem_x509_certificate(block[0])
    except ValueError as error:
        raise PackageError(f"the signer's certificate cannot be read: {error}", hint=_HINT) from error
    return Signature(match[2], match[1], bytes.fromhex(match[3]), certificate)
