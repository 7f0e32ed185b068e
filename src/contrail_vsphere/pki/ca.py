"""Our own certificate authority: it names the ContrailVMs, the publisher and the bootstrap server.

Private to one manager and kept in one directory (0700, files 0600). It is replaced in three steps, with an overlap in
which both the old and the new one are trusted, so that no peer is cut off: ``prepare`` (the new one joins the trust
bundle; hand the bundle out), ``activate`` (the new one issues), ``retire`` (the old one leaves the bundle). A peer that
knows only the old one trusts what the new one issues all the same: the old one's last act is to certify the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contrail_vsphere.model.errors import AlreadyExists, InvalidArgument, InvalidState, SettingsError
from contrail_vsphere.pki.secrets import private_directory, read_private, write_private

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
KeyKind = Literal["ec", "rsa"]
"""``ec``: P-256, the default. ``rsa``: 2048 bits, for what vCenter registers or an OVF signature needs."""

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=397)
SKEW = timedelta(hours=24)
"""How far a peer's clock may run behind ours before it takes a new certificate for one of the future."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its chain, and its key if we made it; PEM. The key does not show in the repr."""

    cert_pem: bytes
    chain_pem: bytes
    """The certificate and then its issuer's; during a rotation the one that leads back to the issuer before."""
    key_pem: bytes = b""
    expires: datetime | None = None

    def __repr__(self) -> str:
        return f"Issued(expires={self.expires})"


class CertificateAuthority:
    """Made by ``create`` or ``load``; ``now`` gives aware UTC times."""

    def __init__(self, directory: Path, *, now: Callable[[], datetime]) -> None:
        self._directory = directory
        self._now = now
        self._key, self._certificate = _read_pair(directory / "issuer.pem")

    @classmethod
    def create(cls, directory: Path, *, name: str, now: Callable[[], datetime]) -> CertificateAuthority:
        """A new one in the directory, which must not hold one already."""
        private_directory(directory)
        if (directory / "issuer.pem").exists():
            raise AlreadyExists(f"{directory} holds a certificate authority already")
        _write_pair(directory / "issuer.pem", *_self_signed(name, now()))
        return cls(directory, now=now)

    @classmethod
    def load(cls, directory: Path, *, now: Callable[[], datetime]) -> CertificateAuthority:
        """The one in the directory; ``SettingsError`` if it is absent, damaged, or open to others."""
        return cls(private_directory(directory), now=now)

    @classmethod
    def load_or_create(cls, directory: Path, *, name: str, now: Callable[[], datetime]) -> CertificateAuthority:
        """The one in the directory, made first if there is none."""
        private_directory(directory)
        exists = (directory / "issuer.pem").exists()
        return cls.load(directory, now=now) if exists else cls.create(directory, name=name, now=now)

    def reload(self) -> bool:
        """Take up another issuer that was put into the directory, and say whether; ``SettingsError`` as ``load``."""
        before = self._certificate
        self._key, self._certificate = _read_pair(self._directory / "issuer.pem")
        return self._certificate != before

    @property
    def cert_pem(self) -> str:
        """The certificate that signs what is issued now."""
        return _pem(self._certificate).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of that certificate, in hexadecimal."""
        return self._certificate.fingerprint(SHA256()).hex()

    @property
    def expires(self) -> datetime:
        """Aware, UTC."""
        return self._certificate.not_valid_after_utc

    @property
    def trust_bundle(self) -> str:
        """All certificates that peers are to trust: the issuing one, a prepared one, retired ones not yet expired."""
        prepared = [_read_pair(self._next)[1]] if self._next.exists() else []
        old = [x509.load_pem_x509_certificate(path.read_bytes()) for path in sorted(self._retired.glob("*.crt"))]
        valid = [certificate for certificate in old if certificate.not_valid_after_utc > self._now()]
        return b"".join(_pem(certificate) for certificate in [self._certificate, *prepared, *valid]).decode()

    def issue_server(
        self, hosts: Sequence[str], *, lifetime: timedelta = LEAF_LIFETIME, key_kind: KeyKind = "ec"
    ) -> Issued:
        """A server certificate for these DNS names and IP addresses; the first is its common name."""
        if not hosts:
            raise InvalidArgument("a server certificate needs a name or an address")
        key = _new_key(key_kind)
        extra = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._issue(
            hosts[0], key.public_key(), usage=ExtendedKeyUsageOID.SERVER_AUTH, names=extra, lifetime=lifetime, key=key
        )

    def issue_client(
        self, common_name: str, *, lifetime: timedelta = LEAF_LIFETIME, key_kind: KeyKind = "ec"
    ) -> Issued:
        """A client certificate with this common name."""
        key = _new_key(key_kind)
        return self._issue(
            common_name, key.public_key(), usage=ExtendedKeyUsageOID.CLIENT_AUTH, lifetime=lifetime, key=key
        )

    def sign_csr(self, csr_pem: bytes, *, common_name: str, lifetime: timedelta = LEAF_LIFETIME) -> Issued:
        """A client certificate for the key of the request.

        ``common_name`` is who we know the requester to be; ``InvalidArgument`` if the request says otherwise, is not
        signed by its own key, or brings a weak key. Its extensions are ignored: what a certificate may do is our say.
        """
        try:
            request = x509.load_pem_x509_csr(csr_pem)
            genuine = request.is_signature_valid
            key = request.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidArgument(f"not a certificate request: {error}") from error
        if not genuine:
            raise InvalidArgument("the certificate request is not signed by its own key")
        names = [attribute.value for attribute in request.subject]
        if names != [common_name] or request.subject.rdns[0] != _name(common_name).rdns[0]:
            raise InvalidArgument(
                f"the certificate request is for {request.subject.rfc4514_string()}, not {common_name}"
            )
        return self._issue(common_name, _strong(key), usage=ExtendedKeyUsageOID.CLIENT_AUTH, lifetime=lifetime)

    def prepare(self) -> str:
        """First step of a rotation: make the successor, trusted but not yet issuing; return the new trust bundle."""
        if not self._next.exists():
            common_name = str(self._certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
            _write_pair(self._next, *_self_signed(common_name, self._now()))
        return self.trust_bundle

    def activate(self) -> None:
        """Second step: the successor issues from now on; the old one stays trusted."""
        if not self._next.exists():
            raise InvalidState("no successor is prepared", hint="prepare the rotation first and hand out the bundle")
        private_directory(self._retired)
        write_private(self._retired / f"{self._certificate.serial_number:x}.crt", _pem(self._certificate))
        before = self._cross.read_bytes() if self._cross.exists() else b""
        write_private(self._cross, _pem(self._certify(_read_pair(self._next)[1])) + before)
        # One rename switches key and certificate together; a crash before it leaves the old issuer, trusted twice.
        self._next.replace(self._directory / "issuer.pem")
        self._key, self._certificate = _read_pair(self._directory / "issuer.pem")

    def retire(self) -> int:
        """Third step: trust only the issuing one; return how many left the bundle. Certificates under them end here."""
        old = list(self._retired.glob("*.crt"))
        for path in old:
            path.unlink()
        self._cross.unlink(missing_ok=True)
        return len(old)

    @property
    def stage(self) -> Literal["steady", "prepared", "activated"]:
        """How far a rotation is."""
        if self._next.exists():
            return "prepared"
        return "activated" if any(self._retired.glob("*.crt")) else "steady"

    def issued(self, certificate: x509.Certificate) -> bool:
        """Whether the present issuer, and not one before it, has signed it."""
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True

    def _certify(self, successor: x509.Certificate) -> x509.Certificate:
        """The successor's name and key, signed by the present issuer: self-issued, since both have one name."""
        key = successor.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise SettingsError(f"{self._next}: an EC or RSA key is expected")
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key())  # type: ignore[arg-type]
        builder = x509.CertificateBuilder(
            issuer_name=self._certificate.subject,
            subject_name=successor.subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=successor.not_valid_before_utc,
            not_valid_after=min(self.expires, successor.not_valid_after_utc),
        )
        return (
            builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(issuer_id, critical=False)
            .sign(self._key, SHA256())
        )

    @property
    def _next(self) -> Path:
        return self._directory / "next.pem"

    @property
    def _cross(self) -> Path:
        return self._directory / "cross.crt"

    @property
    def _retired(self) -> Path:
        return self._directory / "retired"

    def _issue(
        self,
        common_name: str,
        public_key: PublicKey,
        *,
        usage: x509.ObjectIdentifier,
        lifetime: timedelta,
        names: x509.SubjectAlternativeName | None = None,
        key: PrivateKey | None = None,
    ) -> Issued:
        now = self._now()
        expires = min(now + lifetime, self.expires)
        if expires <= now:
            raise InvalidState(f"our certificate authority expired on {self.expires:%Y-%m-%d}", hint="rotate it")
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key())  # type: ignore[arg-type]
        builder = (
            _builder(common_name, public_key, since=now - SKEW, until=expires)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(issuer_id, critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        cert = _pem(builder.sign(self._key, SHA256()))
        issuer = self._cross.read_bytes() if self._cross.exists() else _pem(self._certificate)
        return Issued(cert, cert + issuer, b"" if key is None else _key_pem(key), expires)


def _self_signed(name: str, now: datetime) -> tuple[PrivateKey, x509.Certificate]:
    key = _new_key("ec")
    certificate = (
        _builder(name, key.public_key(), since=now - SKEW, until=now + CA_LIFETIME)
        .issuer_name(_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, SHA256())
    )
    return key, certificate


def _builder(common_name: str, key: PublicKey, *, since: datetime, until: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    except ValueError as error:
        raise InvalidArgument(f"{common_name!r} cannot be a common name: {error}") from error


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _new_key(kind: KeyKind) -> PrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _strong(key: object) -> PublicKey:
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.key_size >= 256:
            return key
        case rsa.RSAPublicKey() if key.key_size >= 2048:
            return key
    raise InvalidArgument("the key is too weak", hint="use P-256 or stronger, or RSA with at least 2048 bits")


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _write_pair(path: Path, key: PrivateKey, certificate: x509.Certificate) -> None:
    write_private(path, _key_pem(key) + _pem(certificate))


def _read_pair(path: Path) -> tuple[PrivateKey, x509.Certificate]:
    content = read_private(path)
    try:
        key = load_pem_private_key(content, password=None)
        certificate = x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise SettingsError(f"{path} is damaged: {error}", hint="restore it, or create a new authority") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise SettingsError(f"{path}: an EC or RSA key is expected")
    return key, certificate
