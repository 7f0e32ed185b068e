"""The guest's record of its own enrolment, and the documents exchanged to get it.

The record is written last and at once: either the guest is enrolled and every file is there, or it is not and asks
again with the same key, which the manager takes for the same guest. Its firmware UUID is part of it, so that a clone of
an enrolled disk knows that the certificate on it is not its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import asdict, dataclass

from contrailvm_guest.configuration import BadConfiguration, Configuration, read_configuration
from contrailvm_guest.ovf_environment import BadEnvironment, OvfEnvironment

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the OVF properties tell: where the manager is, how to know it, and the ticket to it."""

    manager_url: str
    ca_sha256: str
    """Of the manager's CA certificate (DER), lower-case hex."""
    agency_id: str
    instance_uuid: str
    token_sha256: str
    """Tells tokens apart in records without holding one; empty when no token is given."""

    @classmethod
    def read(cls, environment: OvfEnvironment) -> Settings:
        """Read and check the properties; BadEnvironment names the one that is missing or malformed."""
        url = environment.property("manager_url").rstrip("/")
        if not _URL.fullmatch(url):
            raise BadEnvironment("property manager_url must be https://HOST[:PORT]")
        digest = environment.property("manager_ca_sha256").replace(":", "").lower()
        if not _DIGEST.fullmatch(digest):
            raise BadEnvironment("property manager_ca_sha256 must be a SHA-256 digest in hex")
        token = environment.property("bootstrap_token")
        return cls(
            manager_url=url,
            ca_sha256=digest,
            agency_id=environment.property("agency_id"),
            instance_uuid=environment.property("instance_uuid").lower(),
            token_sha256=hashlib.sha256(token.encode()).hexdigest() if token else "",
        )


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That this guest is enrolled; kept in ``enrolment.json``."""

    bios_uuid: str
    token_sha256: str
    """Of the token that was redeemed: another one in the OVF environment is a new chance."""
    authority: str = ""
    """Digest of the CA that issued the certificate; empty when the manager did not say."""
    trusted_since: str = ""
    """Digest in ``manager_ca_sha256`` when a renewal replaced the trusted CAs: while it stands, theirs is the word."""
    version: int = 1

    def render(self) -> bytes:
        """The file's content."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def parse(cls, content: bytes | None) -> Enrolment | None:
        """Read the file; None when there is none, or none that this program wrote."""
        try:
            document = json.loads(content or b"null")
        except ValueError:
            return None
        if not isinstance(document, dict) or document.get("version") != 1:
            return None
        bios_uuid, token, authority, trusted = (
            str(document.get(name, "")) for name in ("bios_uuid", "token_sha256", "authority", "trusted_since")
        )
        return cls(bios_uuid=bios_uuid, token_sha256=token, authority=authority, trusted_since=trusted)


@dataclass(frozen=True, slots=True)
class Granted:
    """What a redeemed token gives."""

    certificate: bytes
    configuration: Configuration
    configuration_document: bytes

    @classmethod
    def parse(cls, body: bytes) -> Granted:
        """Read the manager's answer; BadConfiguration says what is wrong with it."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise BadConfiguration("the answer to the enrolment is not JSON") from None
        certificate = document.get("certificate") if isinstance(document, dict) else None
        if not isinstance(certificate, str) or not _PEM.search(certificate.encode("ascii", "replace")):
            raise BadConfiguration("the answer to the enrolment holds no certificate")
        raw = document.get("configuration")
        return cls(certificate.encode("ascii"), read_configuration(raw), json.dumps(raw).encode())


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a renewal gives, as it is kept until every file of it is in its place."""

    certificate: bytes
    authority: bytes
    """The CAs to trust from now on."""
    issuer: str
    """Digest of the one that issued the certificate."""

    @classmethod
    def parse(cls, body: bytes) -> Renewed:
        """Read the manager's answer; BadConfiguration says what is wrong with it."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise BadConfiguration("the answer to the renewal is not JSON") from None
        found = [document.get(name) if isinstance(document, dict) else None for name in ("certificate", "ca")]
        pems = [each.encode("ascii", "replace") for each in found if isinstance(each, str)]
        if len(pems) != 2 or not all(_PEM.search(pem) for pem in pems):
            raise BadConfiguration("the answer to the renewal holds no certificate, or no CA")
        return cls(pems[0], pems[1], str(document.get("authority", "")))

    def render(self) -> bytes:
        """The content of the file."""
        document = {"certificate": self.certificate.decode(), "ca": self.authority.decode(), "authority": self.issuer}
        return json.dumps(document).encode()


def render_request(*, environment: OvfEnvironment, settings: Settings, bios_uuid: str, csr: bytes) -> bytes:
    """The body of ``POST /v1/bootstrap``. Holds the token."""
    identity = {
        "instance_uuid": settings.instance_uuid,
        "bios_uuid": bios_uuid,
        "vm_id": environment.vm_id,
        "agency_id": settings.agency_id,
        "macs": sorted({adapter.mac for adapter in environment.adapters if adapter.mac}),
    }
    token = environment.property("bootstrap_token")
    return json.dumps({"version": 1, "token": token, "csr": csr.decode("ascii"), "identity": identity}).encode()


def authority_with(digest: str, document: bytes) -> bytes | None:
    """The one certificate of a PEM document that has this SHA-256 digest, or None.

    While the manager changes its CA the document holds several; only the one we were told of is trusted.
    """
    for found in _PEM.finditer(document):
        try:
            der = base64.b64decode(found[1])
        except binascii.Error:
            continue
        if hashlib.sha256(der).hexdigest() == digest:
            return found[0] + b"\n"
    return None


def refusal(body: bytes) -> str:
    """The reason in a refusing answer, as one bounded line."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return "no reason given"
    reason = document.get("error") if isinstance(document, dict) else None
    return " ".join(str(reason).split())[:200] if reason else "no reason given"
