"""Where a vCenter is, how its certificate is trusted, and who logs in."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from contrail_vsphere.pki.identity import Identity, client_context
from contrail_vsphere.pki.secrets import Secret


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A vCenter Server, trusted by ``thumbprint``, else by ``ca_file``, else by the system's store; never blindly."""

    host: str
    port: int = 443
    ca_file: str = ""
    thumbprint: str = ""
    """SHA-1 or SHA-256 of the server's own certificate; several with commas, so that one may follow the other."""
    tunnel: tuple[str, int] | None = None
    """Proxy that forwards CONNECT sdkTunnel:8089; None: port 80 of ``host``."""

    @property
    def name(self) -> str:
        """``host:port``, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def context(self, identity: Identity | None = None) -> ssl.SSLContext:
        """A verifying TLS context, presenting a client certificate if there is one. SettingsError for a bad CA file."""
        ca_file = Path(self.ca_file) if self.ca_file else None
        pins = tuple(part.strip() for part in self.thumbprint.split(",") if part.strip())
        if identity is None:
            return client_context(ca_file=ca_file, thumbprints=pins)
        return identity.client_context(ca_file=ca_file, thumbprints=pins)


@dataclass(frozen=True, slots=True)
class PasswordLogin:
    """``SessionManager.Login``."""

    username: str
    password: Secret | str = field(repr=False)

    def reveal(self) -> str:
        """The password, for the one call that needs it."""
        return self.password if isinstance(self.password, str) else self.password.reveal()


@dataclass(frozen=True, slots=True)
class ExtensionLogin:
    """``LoginExtensionByCertificate`` through the sdkTunnel: the session then has all rights of the extension."""

    key: str
    identity: Identity = field(repr=False)


@dataclass(frozen=True, slots=True)
class TicketLogin:
    """``CloneSession``: somebody who has a session vouches for us, and no password or key of vCenter is kept here.

    ``ticket`` asks for one; each is good for a single login, within a minute or so. ``name`` says who vouches.
    """

    name: str
    ticket: Callable[[], Awaitable[Secret]] = field(repr=False)


Credentials = PasswordLogin | ExtensionLogin | TicketLogin
