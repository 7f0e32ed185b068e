"""Releases of the API server that the simulator can be.

Two real servers, R1912 on Python 2 and the master of 2024, answered 224 requests with the same statuses; what differs
is quoting in some texts, a 403 without its body, and ``/watch``, which is not served here. Where the real behaviour is
not known, ``Switches`` has it as a named choice.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """One release."""

    name: str
    python2: bool
    """Whether texts show strings as ``u'x'``."""
    broken_403: bool
    """Whether a 403 has a Content-Length and no body."""


PROFILES = {
    "r1912": Profile("r1912", python2=True, broken_403=False),
    "master": Profile("master", python2=False, broken_403=True),
}


@dataclass(slots=True, kw_only=True)
class Switches:
    """Behaviour that depends on the server's configuration, or that nobody has observed."""

    max_pending: int = 4096
    """Notifications that may wait for the broker before writes are refused (``rabbit_max_pending_updates``)."""
    page_default: int = 1000
    """Objects in a page whose request has no ``page_limit``."""
    reply_delay: float = 0.0
    """Seconds before every answer; real servers show 0.044 on keep-alive connections (delayed ACK)."""
    keep_quota: bool = True
    """Whether ``project.quota`` is enforced."""
