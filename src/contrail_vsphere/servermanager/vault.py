"""Secret values: encrypted in the database, replaced by a reference in every document, masked wherever people look.

A document comes in with values in it; ``seal`` takes out those that are secret (by role data, or by their name) and
leaves ``{"secret": NAME}``. Only a plan that goes to the Ansible server is opened again. An operator may also put a
secret under a name of his choice and refer to it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import InvalidArgument, NotFound, SettingsError
from contrail_vsphere.pki.secrets import read_private, write_private
from contrail_vsphere.servermanager.tables import Secret as SecretRow

MASK: Final = "*****"
"""What people see; a document that brings it back means: as it was."""

_SECRET_NAME = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|token|private_key|ssh_private_key|mon_key|osd_key|adm_key|community)s?$",
    re.I,
)

_FINGERPRINT: Final = "/fingerprint"

IsSecret = Callable[[tuple[str, ...]], bool]


def secret_by_name(path: tuple[str, ...]) -> bool:
    """Whether a value at this place of a document is secret by its name."""
    return bool(path) and _SECRET_NAME.search(path[-1]) is not None


def is_reference(value: object) -> bool:
    """Whether the value stands for a secret: ``{"secret": NAME}``."""
    return isinstance(value, dict) and set(value) == {"secret"} and isinstance(value["secret"], str)


def masked(value: Any) -> Any:
    """The document for people's eyes: references become the mask."""
    if is_reference(value):
        return MASK
    if isinstance(value, dict):
        return {key: masked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [masked(each) for each in value]
    return value


def unsealed_masked(value: Any, *, is_secret: IsSecret = secret_by_name, path: tuple[str, ...] = ()) -> Any:
    """As ``masked``, for a document that was not sealed: what would be taken out becomes the mask."""
    if is_reference(value) or (path and is_secret(path) and _holds_text(value)):
        return MASK
    if isinstance(value, dict):
        return {k: unsealed_masked(v, is_secret=is_secret, path=(*path, str(k))) for k, v in value.items()}
    if isinstance(value, list):
        return [unsealed_masked(v, is_secret=is_secret, path=(*path, str(i))) for i, v in enumerate(value)]
    return value


class Vault:
    """Encrypts with the first key of a file (mode 0600, one key per line) and decrypts with any of them."""

    def __init__(self, key_file: Path) -> None:
        if not key_file.exists():
            write_private(key_file, Fernet.generate_key() + b"\n")
        try:
            keys = [Fernet(line) for line in read_private(key_file).split()]
        except ValueError as error:
            raise SettingsError(f"{key_file}: a line is not a key", hint="restore it from your backup") from error
        self._keys = MultiFernet(keys)

    def put(self, session: Session, name: str, text: str) -> None:
        """Store a secret under its name, replacing what is there."""
        cipher = self._keys.encrypt(text.encode())
        row = session.get(SecretRow, name)
        if row is None:
            session.add(SecretRow(name=name, cipher=cipher))
        else:
            row.cipher = cipher

    def get(self, session: Session, name: str) -> str:
        """The text of a secret; ``NotFound`` if there is none of that name."""
        row = session.get(SecretRow, name)
        if row is None:
            raise NotFound(f"no secret {name!r}", hint="put it with PUT /v1/secrets/NAME, or give the value itself")
        try:
            return self._keys.decrypt(row.cipher).decode()
        except InvalidToken as error:
            raise SettingsError(
                f"secret {name!r} was encrypted with another key", hint="restore the key file"
            ) from error

    def rotate(self, session: Session) -> int:
        """Encrypt every secret anew with the first key; returns how many there are."""
        rows = session.scalars(select(SecretRow)).all()
        for row in rows:
            row.cipher = self._keys.rotate(row.cipher)
        return len(rows)

    def seal(
        self,
        session: Session,
        document: Mapping[str, Any],
        *,
        owner: str,
        before: Mapping[str, Any] | None = None,
        is_secret: IsSecret = secret_by_name,
    ) -> dict[str, Any]:
        """The document with its secret values stored as ``OWNER/PATH``; the mask stands for what ``before`` has.

        ``InvalidArgument`` for a reference to what another object owns: it would show in this one's files.
        """
        place = _Place(session, owner, is_secret)
        return dict(self._sealed(place, dict(document), (), before or {}))

    def open(self, session: Session, value: Any) -> Any:
        """The document with its secret values back in it."""
        if is_reference(value):
            return self.get(session, value["secret"])
        if isinstance(value, dict):
            return {key: self.open(session, each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.open(session, each) for each in value]
        return value

    def forget(self, session: Session, owner: str, *, keep: Any = None) -> None:
        """Delete the owner's secrets, but for those that the document ``keep`` still refers to."""
        kept = set(references(keep))
        names = session.scalars(select(SecretRow.name).where(SecretRow.name.startswith(owner + "/", autoescape=True)))
        gone = [name for name in names if name not in kept]
        if gone:
            session.execute(delete(SecretRow).where(SecretRow.name.in_(gone)))

    def fingerprint(self, session: Session) -> Callable[[bytes], str]:
        """A keyed fingerprint for this database; its key is made once and survives the rotation of ours."""
        if session.get(SecretRow, _FINGERPRINT) is None:
            self.put(session, _FINGERPRINT, token_hex(32))
            session.flush()
        key = self.get(session, _FINGERPRINT).encode()
        return lambda content: hmac.new(key, content, "sha256").hexdigest()

    def _sealed(self, place: _Place, value: Any, path: tuple[str, ...], before: Any) -> Any:
        if is_reference(value):
            name = value["secret"]
            if "/" in name and not name.startswith(place.owner + "/"):
                raise InvalidArgument(f"{'.'.join(path)}: the secret {name!r} belongs to another object")
            return value
        if path and place.is_secret(path) and _holds_text(value):
            if value == MASK and is_reference(before):
                return before
            name = f"{place.owner}/{'.'.join(path)}"
            self.put(place.session, name, str(value))
            return {"secret": name}
        if isinstance(value, dict):
            old = before if isinstance(before, dict) else {}
            return {k: self._sealed(place, each, (*path, str(k)), old.get(k)) for k, each in value.items()}
        if isinstance(value, list):
            olds = before if isinstance(before, list) else []
            return [
                self._sealed(place, each, (*path, str(i)), olds[i] if i < len(olds) else None)
                for i, each in enumerate(value)
            ]
        return value


@dataclass(frozen=True, slots=True)
class _Place:
    session: Session
    owner: str
    is_secret: IsSecret


def references(value: Any) -> Iterator[str]:
    """The names of all secrets a document refers to."""
    if is_reference(value):
        yield value["secret"]
    elif isinstance(value, dict):
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def _holds_text(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
