"""Single-use tokens: how a ContrailVM proves, once, that it is the one that was just deployed.

A token is an identifier and 256 random bits; only the hash of the bits is stored, bound to attributes (deployment,
host, instance UUID, ...) and a time to live. Redeeming spends it. A guest whose answer got lost may ask again
with the same proof (the hash of the public key in its CSR) and gets the same answer; anybody else is refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from contrail_vsphere.model.errors import AuthenticationFailed, Conflict
from contrail_vsphere.pki.secrets import Secret

KIND = "token"
_PREFIX = "cvt1"


class StoredToken(Protocol):
    """A record of the storage."""

    @property
    def key(self) -> str:
        """The token's identifier."""
        ...

    @property
    def version(self) -> int:
        """Counts the record's writes."""
        ...

    @property
    def value(self) -> Mapping[str, Any]:
        """What was put."""
        ...


class TokenStorage(Protocol):
    """Durable records; ``engine.journal.Journal`` is one."""

    def get(self, kind: str, key: str) -> StoredToken | None:
        """One record."""
        ...

    def items(self, kind: str) -> Sequence[StoredToken]:
        """All records of a kind."""
        ...

    def put(self, kind: str, key: str, value: Mapping[str, Any], *, expect: int | None = None) -> int:
        """Write; ``Conflict`` if the record's version is not ``expect``."""
        ...

    def delete(self, kind: str, key: str, *, expect: int | None = None) -> bool:
        """Remove; whether it was there."""
        ...


class TokenRefused(AuthenticationFailed):
    """The token is not accepted. The message is for our log; the bearer learns only that it failed."""


class TokenReused(TokenRefused):
    """A bearer with every attribute right shows a token that another key has redeemed: one of the two is a thief."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        super().__init__("the token was used before, with another key")
        self.attributes = dict(attributes)


class TokenStore:
    """Mints and redeems; ``now`` gives aware UTC times."""

    def __init__(self, storage: TokenStorage, *, now: Callable[[], datetime], ttl: timedelta) -> None:
        self._storage = storage
        self._now = now
        self._ttl = ttl

    def mint(self, attributes: Mapping[str, str], *, ttl: timedelta | None = None) -> Secret:
        """A new token for the bearer that these attributes describe; this is the only time its text exists here."""
        identifier, bits = secrets.token_hex(8), secrets.token_bytes(32)
        expires = self._now() + (self._ttl if ttl is None else ttl)
        value = {"hash": _hash(bits), "attributes": dict(attributes), "expires": expires.isoformat(), "proof": ""}
        self._storage.put(KIND, identifier, value, expect=0)
        return Secret(f"{_PREFIX}.{identifier}.{base64.urlsafe_b64encode(bits).decode().rstrip('=')}")

    def check(self, token: str, presented: Mapping[str, str], *, proof: str = "") -> dict[str, str]:
        """The attributes of a token that ``redeem`` would take; it is not spent. ``TokenRefused`` as there."""
        return self._checked(token, presented, proof)[1]

    def redeem(self, token: str, presented: Mapping[str, str], *, proof: str = "") -> dict[str, str]:
        """Spend the token and return the attributes it was minted with; ``TokenRefused`` otherwise.

        Every attribute in ``presented`` that the token is bound to must be equal. A right token in the wrong hands is
        spent all the same: it has leaked. With a ``proof`` the spent token answers that proof again until it expires;
        another proof gets ``TokenReused``.
        """
        record, attributes = self._checked(token, presented, proof)
        if not record.value["proof"]:
            self._spend(record, proof)
        return attributes

    def _checked(self, token: str, presented: Mapping[str, str], proof: str) -> tuple[StoredToken, dict[str, str]]:
        identifier, bits = _parse(token)
        record = self._storage.get(KIND, identifier)
        stored = record.value if record is not None else _NOBODY
        # Compared even when there is no such token, so that the time taken does not tell which identifiers exist.
        genuine = hmac.compare_digest(_hash(bits), str(stored["hash"]))
        if record is None or not genuine:
            raise TokenRefused("unknown token")
        if datetime.fromisoformat(stored["expires"]) <= self._now():
            self._storage.delete(KIND, identifier)
            raise TokenRefused("the token has expired")
        attributes: dict[str, str] = dict(stored["attributes"])
        wrong = sorted(name for name, value in presented.items() if attributes.get(name, value) != value)
        if wrong:
            self._storage.delete(KIND, identifier)
            raise TokenRefused(f"the token was presented by another bearer: {', '.join(wrong)} differ; it is void now")
        if stored["proof"] and not (proof and hmac.compare_digest(str(stored["proof"]), proof)):
            raise TokenReused(attributes)
        return record, attributes

    def revoke(self, **attributes: str) -> int:
        """Void every token that has all these attributes; return how many."""
        if not attributes:
            raise ValueError("name the attributes of the tokens to revoke")
        wanted = attributes.items()
        chosen = [record for record in self._storage.items(KIND) if wanted <= record.value["attributes"].items()]
        return sum(self._storage.delete(KIND, record.key) for record in chosen)

    def sweep(self) -> int:
        """Drop the expired ones; return how many."""
        now = self._now()
        old = [record for record in self._storage.items(KIND) if datetime.fromisoformat(record.value["expires"]) <= now]
        return sum(self._storage.delete(KIND, record.key) for record in old)

    def _spend(self, record: StoredToken, proof: str) -> None:
        """Exactly one redeemer wins, also against another process: the write names the version that was read."""
        try:
            if proof:
                self._storage.put(KIND, record.key, {**record.value, "proof": proof}, expect=record.version)
            else:
                self._storage.delete(KIND, record.key, expect=record.version)
        except Conflict as error:
            raise TokenRefused("the token was used before") from error


def _hash(bits: bytes) -> str:
    return hashlib.sha256(bits).hexdigest()


_NOBODY: Mapping[str, Any] = {"hash": _hash(b"nobody")}


def _parse(token: str) -> tuple[str, bytes]:
    prefix, _, rest = token.partition(".")
    identifier, _, text = rest.partition(".")
    try:
        bits = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        bits = b""
    if prefix != _PREFIX or len(bits) != 32 or len(identifier) != 16:
        raise TokenRefused("not a token")
    return identifier, bits
