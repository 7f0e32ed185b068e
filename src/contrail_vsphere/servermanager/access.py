"""Who may use the API: bearer tokens with a role, of which the database knows only hashes.

A token has 256 random bits, so that a plain hash of it is enough. ``viewer`` looks; ``operator`` adds, provisions and
deletes; ``admin`` also hands out tokens and puts secrets.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import AlreadyExists, InvalidArgument, InvalidState, NotFound
from contrail_vsphere.pki.secrets import Secret, write_private
from contrail_vsphere.servermanager.records import SYSTEM, Actor, audit
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Token

Role = Literal["viewer", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
PREFIX: Final = "smt1."
FIRST: Final = "admin"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token a request bears."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Each role may do what the ones before it may."""
        return ROLES.index(self.role) >= ROLES.index(role)


def create_token(session: Session, actor: Actor, name: str, role: Role) -> Secret:
    """A new token; it is shown once and cannot be read again."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"{name!r} cannot name a token", hint="letters, digits, '.', '_', '@' and '-'")
    if session.get(Token, name) is not None:
        raise AlreadyExists(f"there is a token {name!r}", hint="delete it first, or choose another name")
    text = PREFIX + secrets.token_urlsafe(32)
    session.add(Token(name=name, role=role, digest=digest_of(text), created=actor.at))
    audit(session, actor, "add", kind="token", object_id=name, detail={"role": role})
    return Secret(text)


def delete_token(session: Session, actor: Actor, name: str) -> None:
    """``InvalidState`` for the last administrator's."""
    row = session.get(Token, name)
    if row is None:
        raise NotFound(f"no token {name!r}")
    admins = session.scalars(select(Token.name).where(Token.role == "admin")).all()
    if list(admins) == [name]:
        raise InvalidState("this is the last administrator's token", hint="create another one first")
    session.delete(row)
    audit(session, actor, "delete", kind="token", object_id=name)


def caller_of(session: Session, digest: str) -> Caller | None:
    """Whose token has this ``digest``; None if nobody's. By its hash, so that time tells nothing about the token."""
    row = session.scalar(select(Token).where(Token.digest == digest))
    if row is None:
        return None
    return Caller(row.name, next(role for role in ROLES if role == row.role))


def first_token(store: Store, path: Path) -> bool:
    """On the first start, an administrator's token into a file of its owner alone; False if there are tokens."""
    with store.writing() as session:
        if session.scalar(select(Token.name).limit(1)) is not None:
            return False
        token = create_token(session, Actor(SYSTEM, store.now()), FIRST, "admin")
        write_private(path, token.reveal().encode() + b"\n")
        return True


def digest_of(text: str) -> str:
    """What is known of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
