"""Who may use the control API: bearer tokens with roles, in a file that only its owner can read.

One line per token: ``NAME ROLE TOKEN``. The command line of the same user reads the file too, which is how it needs no
login on the manager's own machine. A changed file counts from the next request on.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.pki.secrets import Secret, read_private, write_private

Role = Literal["viewer", "operator"]
"""``viewer`` may look; ``operator`` may also change."""

MIN_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token it is; the name goes to the log with everything the caller changes."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Operators may do what viewers may."""
        return self.role in ("operator", role)


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Caller
    token: Secret = field(repr=False)


class TokenFile:
    """The tokens of one file, made with an operator's and a viewer's if it does not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            lines = [f"{role} {role} {secrets.token_urlsafe(32)}\n" for role in ("operator", "viewer")]
            write_private(path, "".join(lines).encode())
        self._stamp = (0, 0)
        self._entries: tuple[_Entry, ...] = ()
        self._refresh()

    def caller(self, token: str) -> Caller | None:
        """Whose it is; None if nobody's. Takes the same time for every token of the file."""
        self._refresh()
        given = token.encode()
        found: Caller | None = None
        for entry in self._entries:
            if hmac.compare_digest(entry.token.reveal().encode(), given):
                found = entry.caller
        return found

    def token(self, role: Role) -> Secret:
        """A token for that role, for the command line; ``SettingsError`` if the file has none."""
        for entry in self._entries:
            if entry.caller.may(role):
                return entry.token
        raise SettingsError(f"{self.path} has no token for the role {role}")

    def _refresh(self) -> None:
        try:
            status = self.path.stat()
        except OSError as error:
            raise SettingsError(f"token file {self.path}: {error.strerror}") from error
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._entries = _parse(self.path)
            self._stamp = stamp


def _parse(path: Path) -> tuple[_Entry, ...]:
    entries: list[_Entry] = []
    for number, line in enumerate(read_private(path).decode().splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[1] not in get_args(Role):
            raise SettingsError(f"{path} line {number}: NAME ROLE TOKEN is expected", hint="roles: viewer, operator")
        if len(words[2]) < MIN_LENGTH:
            raise SettingsError(
                f"{path} line {number}: the token is too short", hint=f"at least {MIN_LENGTH} characters"
            )
        role: Role = "operator" if words[1] == "operator" else "viewer"
        entries.append(_Entry(Caller(words[0], role), Secret(words[2])))
    return tuple(entries)
