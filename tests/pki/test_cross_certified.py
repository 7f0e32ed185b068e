"""Peers that know only the CA of before trust what its successors issue, through two rotations."""

import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509

from contrail_vsphere.pki.ca import CertificateAuthority


def now():
    return datetime.now(UTC)


def shake(server_pem, trusted):
    """A TLS handshake in memory: raises what the client finds wrong."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cadata=trusted)
    server.load_cert_chain(server_pem)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(up, down, server_hostname="127.0.0.1"), server.wrap_bio(down, up, server_side=True)]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def written(path, issued):
    path.write_bytes(issued.key_pem + issued.chain_pem)
    return path


def test_one_that_never_heard_of_the_rotation_trusts_its_outcome(tmp_path):
    authority = CertificateAuthority.create(tmp_path / "ca", name="manager", now=now)
    roots = [authority.cert_pem]
    for _ in range(2):
        authority.prepare()
        assert authority.stage == "prepared"
        authority.activate()
        roots.append(authority.cert_pem)
    assert authority.stage == "activated" and len(set(roots)) == 3
    leaf = written(tmp_path / "leaf.pem", authority.issue_server(["127.0.0.1"]))
    for root in roots:
        shake(leaf, root)
    assert authority.retire() == 2 and authority.stage == "steady"
    alone = written(tmp_path / "alone.pem", authority.issue_server(["127.0.0.1"]))
    shake(alone, roots[2])
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(alone, roots[0])


def test_who_issued_a_certificate_is_told_apart_although_the_names_are_one(tmp_path):
    authority = CertificateAuthority.create(tmp_path / "ca", name="manager", now=now)
    old = x509.load_pem_x509_certificate(authority.issue_server(["127.0.0.1"]).cert_pem)
    assert authority.issued(old)
    authority.prepare()
    authority.activate()
    assert not authority.issued(old)
