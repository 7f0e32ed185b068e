"""Manifests and signatures; openssl is asked as an independent witness."""

from __future__ import annotations

import datetime
import hashlib
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.certificate import load_signer, parse_certificate, render_certificate
from contrail_vsphere.wire.ovf.manifest import parse_manifest, render_manifest


def identity(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "packager")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, start, start + datetime.timedelta(days=9999))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, certificate


@pytest.fixture(scope="module")
def signer():
    key, certificate = identity(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    return load_signer(key_pem=key, certificate_pem=certificate)


@given(
    st.dictionaries(
        st.text("abc() .-_é", min_size=1, max_size=12).filter(lambda s: s == s.strip()), st.binary(max_size=9)
    ),
    st.sampled_from(["SHA1", "SHA256", "SHA512"]),
)
def test_manifests_round_trip(contents, algorithm):
    digests = {name: hashlib.new(algorithm, data).hexdigest() for name, data in contents.items()}
    data = render_manifest(digests, algorithm=algorithm)
    if digests:
        found = parse_manifest(data)
        assert {line.name: line.hex for line in found.digests} == digests
        assert all(line.algorithm == algorithm for line in found.digests)


def test_manifest_of_other_tools_is_read():
    found = parse_manifest(b"SHA1 (a.ovf) = " + b"AB" * 20 + b"\r\n\nSHA512(b c.vmdk)=" + b"0" * 128)
    assert found.of("a.ovf").hex == "ab" * 20
    assert found.of("b c.vmdk").algorithm == "SHA512"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "is empty"),
        (b"MD5(a)= 00", "line 1: .* is not understood"),
        (b"SHA3(a)= 00", "algorithm SHA3 is not known"),
        (b"SHA256(a)= 00", "wrong length"),
        (b"\xff", "is not text"),
        (b"SHA1(a)= " + b"0" * 40 + b"\nSHA1(a)= " + b"0" * 40, "line 2: 'a' is there twice"),
    ],
)
def test_bad_manifests_are_named(data, complaint):
    with pytest.raises(PackageError, match=complaint):
        parse_manifest(data)


def test_signature_holds_only_for_its_manifest(signer):
    manifest = render_manifest({"a.ovf": "00" * 32})
    signature = parse_certificate(render_certificate(manifest, manifest_name="a.mf", signer=signer))
    assert signature.manifest_name == "a.mf"
    signature.verify(manifest)
    with pytest.raises(PackageError, match="does not match"):
        signature.verify(manifest + b"\n")


def test_openssl_agrees_with_the_signature(signer, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    manifest = render_manifest({"a.ovf": "00" * 32})
    certificate = render_certificate(manifest, manifest_name="a.mf", signer=signer)
    (tmp_path / "a.mf").write_bytes(manifest)
    (tmp_path / "signature").write_bytes(parse_certificate(certificate).value)
    (tmp_path / "key").write_bytes(
        signer.certificate.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    command = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "signature", "a.mf"]
    assert b"Verified OK" in subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=20).stdout


def test_signing_identity_is_checked(signer):
    key, certificate = identity(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    other = signer.certificate.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(PackageError, match="another key"):
        load_signer(key_pem=key, certificate_pem=other)
    with pytest.raises(PackageError, match="not RSA"):
        load_signer(key_pem=identity(ec.generate_private_key(ec.SECP256R1()))[0], certificate_pem=certificate)
    with pytest.raises(PackageError, match="cannot be read"):
        load_signer(key_pem=b"x", certificate_pem=certificate)
    assert "PRIVATE" not in repr(signer)


@given(st.binary(max_size=120))
def test_noise_is_no_certificate(data):
    with pytest.raises(PackageError):
        parse_certificate(b"SHA256(a.mf)= 00\n-----BEGIN CERTIFICATE-----" + data + b"-----END CERTIFICATE-----")
