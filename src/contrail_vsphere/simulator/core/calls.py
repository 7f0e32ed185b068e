"""One call as an operation sees it: who calls, over which session, in which version of the API."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.session import Session
    from contrail_vsphere.simulator.core.world import World


@dataclass(slots=True, kw_only=True)
class Call:
    """Given to every operation as its first argument."""

    world: World
    user: str = ""
    """Name of the logged-in user or key of the logged-in extension; empty for nobody."""
    version: str
    """pyVmomi's name of the version the client speaks, e.g. ``vim.version.v8_0_3_0``."""
    endpoint: str = "/sdk"
    session: Session | None = None
    certificate: bytes = field(default=b"", repr=False)
    """DER of the TLS client certificate; only what came through the sdkTunnel has one."""
    address: str = ""
    authority: str = ""
    """Host and port as the client calls us; URLs that lead back to us are made of it."""
    thumbprint: str = ""
    """SHA-1 of the certificate that the client saw."""
    agent: str = ""
    """User-Agent."""
    operation_id: str = ""
    method: str = ""
    """Wire name of the method that is being called."""
    args: Mapping[str, Any] = field(default_factory=dict, repr=False)
    opened: Session | None = None
    """Set by a login: the server then sends the session's cookie."""

    @property
    def extension(self) -> bool:
        """Whether an extension calls, logged in by its certificate."""
        return self.session is not None and self.session.extension


class Unavailable(Exception):  # noqa: N818 what HTTP calls it
    """The service takes no more of these now: the answer is HTTP 503, without a fault."""


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
"""The call being served, for the few properties whose value depends on who asks."""
