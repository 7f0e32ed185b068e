"""Secret files and single-use tokens."""

import copy
import os
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.model.errors import AuthenticationFailed, SettingsError
from contrail_vsphere.pki.secrets import Secret, read_secret, write_private
from contrail_vsphere.pki.tokens import KIND, TokenRefused, TokenStore


def test_a_secret_does_not_show():
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r}", repr([secret]), "%s" % secret):  # noqa: UP031
        assert "hunter2" not in text
    assert secret == Secret("hunter2")
    assert secret != "hunter2"
    for leak in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            leak(secret)


def test_a_secret_file_is_read_without_its_line_break(tmp_path):
    path = tmp_path / "password"
    write_private(path, b" with spaces \n")
    assert read_secret(path).reveal() == " with spaces "
    assert [entry.name for entry in tmp_path.iterdir()] == ["password"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_secret_file_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "password"
    path.write_text("hunter2")
    path.chmod(mode)
    with pytest.raises(SettingsError, match=r"others can read it.*chmod 600") as caught:
        read_secret(path)
    assert "hunter2" not in str(caught.value)


def test_a_secret_file_that_is_no_such_thing(tmp_path):
    with pytest.raises(SettingsError, match="No such file"):
        read_secret(tmp_path / "absent")
    with pytest.raises(SettingsError, match="Is a directory"):
        read_secret(tmp_path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(SettingsError, match="not a regular file"):
        read_secret(tmp_path / "fifo")
    write_private(tmp_path / "empty", b"\n")
    with pytest.raises(SettingsError, match="is empty"):
        read_secret(tmp_path / "empty")


class Clock:
    time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def journal(tmp_path, clock):
    with Journal(tmp_path / "journal.db", now=clock) as journal:
        yield journal


@pytest.fixture
def store(journal, clock):
    return TokenStore(journal, now=clock, ttl=timedelta(hours=1))


BEARER = {"deployment": "dc1", "host": "host-7", "instance_uuid": "50-1"}


def test_a_token_is_redeemed_once(store):
    token = store.mint(BEARER).reveal()
    assert store.redeem(token, {"instance_uuid": "50-1", "unbound": "ignored"}) == BEARER
    with pytest.raises(TokenRefused):
        store.redeem(token, BEARER)


def test_the_same_proof_may_ask_again_and_no_other(store, clock):
    token = store.mint(BEARER).reveal()
    for _ in range(3):
        assert store.redeem(token, BEARER, proof="key-a") == BEARER
    for proof in ("key-b", ""):
        with pytest.raises(TokenRefused, match="used before"):
            store.redeem(token, BEARER, proof=proof)
    clock.time += timedelta(hours=1)
    with pytest.raises(TokenRefused, match="expired"):
        store.redeem(token, BEARER, proof="key-a")


def test_only_hashes_are_stored(store, journal):
    token = store.mint(BEARER).reveal()
    stored = str(journal.items(KIND))
    assert token.split(".")[2] not in stored
    assert token not in stored


def test_a_token_in_the_wrong_hands_is_void(store):
    token = store.mint(BEARER).reveal()
    with pytest.raises(TokenRefused, match="another bearer: host, instance_uuid differ"):
        store.redeem(token, {"host": "host-8", "instance_uuid": "50-2"})
    with pytest.raises(TokenRefused):
        store.redeem(token, BEARER)


def test_time_to_live(store, clock):
    short, normal = store.mint(BEARER, ttl=timedelta(minutes=1)), store.mint(BEARER)
    clock.time += timedelta(minutes=1)
    with pytest.raises(TokenRefused, match="expired"):
        store.redeem(short.reveal(), BEARER)
    assert store.redeem(normal.reveal(), BEARER) == BEARER


def test_revocation_is_by_attributes(store):
    mine, other = store.mint(BEARER), store.mint(BEARER | {"host": "host-8"})
    assert store.revoke(deployment="dc1", host="host-7") == 1
    with pytest.raises(TokenRefused):
        store.redeem(mine.reveal(), {})
    assert store.redeem(other.reveal(), {})["host"] == "host-8"
    with pytest.raises(ValueError, match="name the attributes"):
        store.revoke()


def test_a_sweep_drops_what_has_expired(store, journal, clock):
    store.mint(BEARER)
    store.mint(BEARER, ttl=timedelta(days=1))
    clock.time += timedelta(hours=2)
    assert store.sweep() == 1
    assert len(journal.items(KIND)) == 1


def test_of_two_redeemers_at_the_same_moment_one_wins(store, journal, clock):
    class Interleaved:
        """Another process redeems between this one's read and write."""

        def __init__(self):
            self.rival = TokenStore(journal, now=clock, ttl=timedelta(hours=1))

        def get(self, kind, key):
            record = journal.get(kind, key)
            self.rival.redeem(token, {}, proof="rival")
            return record

        items, put, delete = journal.items, journal.put, journal.delete

    token = store.mint(BEARER).reveal()
    for proof in ("", "mine"):
        with pytest.raises(TokenRefused):
            TokenStore(Interleaved(), now=clock, ttl=timedelta(hours=1)).redeem(token, {}, proof=proof)
        token = store.mint(BEARER).reveal()


class Nothing:
    def get(self, kind, key):
        return None


@given(st.text() | st.from_regex(r"\Acvt1\.[0-9a-f]{16}\.[A-Za-z0-9_-]{43}\Z"))
def test_anything_else_is_refused_and_nothing_more(text):
    store = TokenStore(Nothing(), now=Clock(), ttl=timedelta(hours=1))
    with pytest.raises(AuthenticationFailed):
        store.redeem(text, {})


def test_a_token_with_one_bit_changed_is_unknown_and_the_real_one_still_works(store):
    token = store.mint(BEARER).reveal()
    prefix, identifier, bits = token.split(".")
    changed = ("A" if bits[0] != "A" else "B") + bits[1:]
    with pytest.raises(TokenRefused, match="unknown"):
        store.redeem(f"{prefix}.{identifier}.{changed}", BEARER)
    assert store.redeem(token, BEARER) == BEARER
