"""What a guest may ask of the bootstrap server, checked before anything else sees it (pure, no I/O).

The body comes from a machine that has proved nothing yet, so it is bounded, of exact shape, and the certificate request
must be signed by the key it asks for. A token is spent only after all of that held: no malformed request burns one.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrail_vsphere.model.errors import ContrailVsphereError, InvalidArgument

MAX_BODY = 16 * 1024
MAX_MACS = 16
MAX_REASON = 300

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ID = re.compile(r"[A-Za-z0-9._:-]{0,80}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,256}")


class EnrolmentRefused(ContrailVsphereError):  # noqa: N818 - as in model.errors
    """The token does not entitle this guest to a certificate; ``message`` is told to the guest, so no secrets in it."""


@dataclass(frozen=True, slots=True)
class GuestIdentity:
    """What a guest says about itself, and what the connection says about it.

    Only ``key_sha256`` and ``address`` are facts; the rest are claims that the token's binding must confirm.
    """

    instance_uuid: str
    """``config.instanceUuid``; empty when the OVF properties do not carry it."""
    bios_uuid: str
    """``config.uuid``, from the guest's firmware tables."""
    vm_id: str
    """Managed object id, from the OVF environment (``ve:vCenterId``); may be empty."""
    agency_id: str
    macs: tuple[str, ...]
    """Lower case, sorted."""
    key_sha256: str
    """Of the public key (SubjectPublicKeyInfo, DER) to be certified: who redeems again with it is the same guest."""
    address: str = ""
    """Where the connection came from."""

    @property
    def common_name(self) -> str:
        """The name that the certificate is for; the guest puts the same into its request."""
        return self.instance_uuid or self.bios_uuid or self.vm_id


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The certificate a guest proved to hold in the TLS handshake; it chains to our CA."""

    common_name: str
    serial: int
    key_sha256: str
    sha256: str
    """Of the certificate, DER."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A well-formed request of ``POST /v1/bootstrap``. The token is kept out of ``repr``."""

    token: Token
    csr_pem: bytes
    identity: GuestIdentity


class Token(str):
    """A secret string that does not show itself in logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Token(***)"


def parse_enrolment(body: bytes, *, address: str = "") -> Enrolment:
    """Read the body of ``POST /v1/bootstrap``; InvalidArgument says which field is wrong, never what it held."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidArgument("the body is not JSON") from None
    if not isinstance(document, dict) or document.get("version") != 1:
        raise InvalidArgument("version must be 1", hint="the guest's first-boot program is of another generation")
    token = document.get("token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise InvalidArgument("token is missing or malformed")
    csr_pem, key_sha256, subject = _csr(document.get("csr"))
    claims = document.get("identity")
    if not isinstance(claims, dict):
        raise InvalidArgument("identity must be an object")
    identity = GuestIdentity(
        instance_uuid=_uuid(claims, "instance_uuid"),
        bios_uuid=_uuid(claims, "bios_uuid"),
        vm_id=_id(claims, "vm_id"),
        agency_id=_id(claims, "agency_id"),
        macs=_macs(claims.get("macs")),
        key_sha256=key_sha256,
        address=address,
    )
    if not identity.common_name or subject != [identity.common_name]:
        raise InvalidArgument("the subject of csr is not the identity")
    return Enrolment(token=Token(token), csr_pem=csr_pem, identity=identity)


@dataclass(frozen=True, slots=True)
class RenewalRequest:
    """A well-formed request of ``POST /v1/renewal``: the holder of a certificate wants one for another key."""

    csr_pem: bytes
    key_sha256: str


def parse_renewal(body: bytes, *, certificate: ClientCertificate) -> RenewalRequest:
    """Read the body of ``POST /v1/renewal``; InvalidArgument says which field is wrong."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidArgument("the body is not JSON") from None
    if not isinstance(document, dict) or document.get("version") != 1:
        raise InvalidArgument("version must be 1", hint="the guest's program is of another generation")
    csr_pem, key_sha256, subject = _csr(document.get("csr"))
    if subject != [certificate.common_name]:
        raise InvalidArgument("the subject of csr is not that of the certificate")
    return RenewalRequest(csr_pem, key_sha256)


def read_client_certificate(der: bytes) -> ClientCertificate:
    """The parts of a verified client certificate that identify a guest."""
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if len(names) != 1:
        raise InvalidArgument("the client certificate must have exactly one common name")
    return ClientCertificate(
        common_name=str(names[0].value),
        serial=certificate.serial_number,
        key_sha256=_key_digest(certificate.public_key()),
        sha256=hashlib.sha256(der).hexdigest(),
    )


def either_order(uuid: str) -> str:
    """One spelling for a firmware UUID: from hardware version 13 on guests read its first fields in the other order."""
    try:
        plain = UUID(uuid)
    except ValueError:
        return ""
    return min(str(plain), str(UUID(bytes_le=plain.bytes)))


@dataclass(frozen=True, slots=True)
class SyncedReport:
    """What the plugin of a host says of itself."""

    synced: bool
    """Every port that it owes its host is plugged."""
    reason: str = ""
    """What is missing."""


def parse_synced(body: bytes) -> SyncedReport:
    """Read the body of ``POST /v1/synced``; InvalidArgument says which field is wrong."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidArgument("the body is not JSON") from None
    if not isinstance(document, dict) or document.get("version") != 1:
        raise InvalidArgument("version must be 1", hint="the plugin is of another generation")
    synced, reason = document.get("synced"), document.get("reason", "")
    if not isinstance(synced, bool) or not isinstance(reason, str):
        raise InvalidArgument("synced must be true or false, and reason a text")
    return SyncedReport(synced, "".join(each if each.isprintable() else " " for each in reason[:MAX_REASON]))


def _csr(value: Any) -> tuple[bytes, str, list[str]]:
    if not isinstance(value, str) or len(value) > 8192:
        raise InvalidArgument("csr must be a PEM certificate request")
    try:
        request = x509.load_pem_x509_csr(value.encode("ascii"))
        key = request.public_key()
        valid = request.is_signature_valid
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        raise InvalidArgument("csr is not a readable certificate request") from None
    if not valid:
        raise InvalidArgument("csr is not signed by the key it asks to certify")
    strong = (isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256) or (
        isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 8192
    )
    if not strong:
        raise InvalidArgument("csr has a key that is too weak", hint="EC from P-256, or RSA from 2048 bits")
    return value.encode("ascii"), _key_digest(key), [str(attribute.value) for attribute in request.subject]


def _key_digest(key: Any) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _uuid(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if value == "":
        return ""
    if not isinstance(value, str) or len(value) > 64:
        raise _malformed(name)
    try:
        return str(UUID(value))
    except ValueError:
        raise _malformed(name) from None


def _id(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _malformed(name)
    return value


def _macs(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_MACS:
        raise _malformed("macs")
    macs = [str(item).lower() for item in value]
    if not all(_MAC.fullmatch(mac) for mac in macs):
        raise _malformed("macs")
    return tuple(sorted(set(macs)))


def _malformed(name: str) -> InvalidArgument:
    return InvalidArgument(f"identity.{name} is malformed")
