"""One exception tree for the whole product; each outside world is translated into it once, at its door.

ContrailVsphereError            message says what, hint says what to do
├── UsageError                  the caller asked for something that cannot be (CLI exit 2)
│   ├── SettingsError           a settings file
│   ├── DesiredStateError       a deployments file
│   ├── DocumentError           a JSON document of Server Manager
│   └── PackageError            an OVF, OVA or VIB that does not hold together
├── TransientError              the same call may succeed later; retried with backoff
│   ├── Unreachable             no connection, time-out, connection dropped
│   │   └── OutcomeUnknown      it was sent, but nobody knows whether it was done
│   ├── NotAuthenticated        the session is gone; a new login is due
│   ├── NotReadyYet             the service is up but still loading
│   ├── Busy                    TaskInProgress, ResourceInUse, too many requests
│   └── Conflict                somebody else changed the object first (optimistic locking)
├── RefusedError                the same call will fail again until something changes
│   ├── AuthenticationFailed    wrong credentials or certificate
│   ├── Untrusted               TLS verification failed
│   ├── NoPermission            a privilege is missing
│   ├── NotFound                the object does not exist (any more)
│   ├── AlreadyExists
│   ├── InvalidArgument
│   ├── InvalidState            not possible in the object's present state
│   ├── UrlRefused              EAM could not fetch or trust a URL of ours
│   └── OutOfResources          CPU, memory, space, or the EsxAgents a host must have first
├── ProtocolError               the peer sent what its own contract does not allow
│   └── MalformedXml            not even XML (some servers pass on control characters)
├── JournalError                the journal file is damaged, foreign, newer, or cannot be written
├── BrakeEngaged                too many deletions at once; waits for a person
└── NotConverged                a deadline passed before the wanted state was reached (CLI exit 3)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence


class ContrailVsphereError(Exception):
    """Root of the tree. ``str()`` is one line; ``hint`` says what the reader can do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(ContrailVsphereError):
    """The caller asked for something that cannot be."""


class SettingsError(UsageError):
    """A settings file or environment variable is wrong."""


class DesiredStateError(UsageError):
    """A deployments file is wrong."""


class DocumentError(UsageError):
    """A JSON document of Server Manager is wrong; ``problems`` has a line for each thing, with its JSON path."""

    def __init__(self, message: str, *, hint: str = "", problems: Iterable[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems) or (str(self),)

    @classmethod
    def of(cls, subject: str, problems: Sequence[str]) -> DocumentError:
        """One error for several problems of ``subject``."""
        if len(problems) == 1:
            return cls(f"{subject}: {problems[0]}", problems=problems)
        return cls(f"{subject} has {len(problems)} problems, the first: {problems[0]}", problems=problems)


class PackageError(UsageError):
    """An OVF, OVA or VIB that does not hold together; ``problems`` has a line for each thing that is wrong."""

    def __init__(self, message: str, *, hint: str = "", problems: Iterable[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems) or (str(self),)

    @classmethod
    def of(cls, subject: str, problems: Sequence[str]) -> PackageError:
        """One error for several problems of ``subject``."""
        if len(problems) == 1:
            return cls(f"{subject}: {problems[0]}", problems=problems)
        return cls(f"{subject} has {len(problems)} problems, the first: {problems[0]}", problems=problems)


class TransientError(ContrailVsphereError):
    """The same call may succeed later."""


class Unreachable(TransientError):
    """No connection, time-out, or the connection was dropped."""


class OutcomeUnknown(Unreachable):
    """The request was sent and may have been carried out: look before it is sent again."""


class NotAuthenticated(TransientError):
    """The session is gone; a new login is due."""


class NotReadyYet(TransientError):
    """The service answers but is still loading (EamServiceNotInitialized)."""


class Busy(TransientError):
    """Another operation holds the object."""


class Conflict(TransientError):
    """Somebody else changed the object first; read again, then retry."""


class RefusedError(ContrailVsphereError):
    """The same call will fail again until something changes."""


class AuthenticationFailed(RefusedError):
    """Wrong credentials or certificate."""


class Untrusted(RefusedError):
    """TLS verification failed."""


class NoPermission(RefusedError):
    """A privilege is missing."""


class NotFound(RefusedError):
    """The object does not exist, or no longer."""


class AlreadyExists(RefusedError):
    """The name or key is taken."""


class InvalidArgument(RefusedError):
    """The peer does not accept an argument."""


class InvalidState(RefusedError):
    """Not possible in the object's present state."""


class UrlRefused(RefusedError):
    """EAM could not fetch, or would not trust, a URL that we publish."""


class OutOfResources(RefusedError):
    """CPU, memory, space, or EsxAgents that a host must have first."""


class ProtocolError(ContrailVsphereError):
    """The peer sent what its own contract does not allow."""


class MalformedXml(ProtocolError):
    """The peer sent what is not XML: cut off, or with characters that XML does not have."""


class JournalError(ContrailVsphereError):
    """The journal file is damaged, not ours, written by a newer version, or cannot be written."""


class BrakeEngaged(ContrailVsphereError):
    """Too many deletions at once; a person must release the brake."""


class NotConverged(ContrailVsphereError):
    """A deadline passed before the wanted state was reached."""


def why_no_connection(error: OSError) -> str:
    """What the system says, where asyncio says ``Connect call failed`` and how Python writes the address."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    # The resolver's codes are below zero and have words of their own.
    return error.strerror or str(error)
