"""The door through which Contrail's HTTP answers come in: addresses, bounds, and errors translated once.

A request that could not be sent is told apart from one whose answer did not come: only the first may be repeated
without looking.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import aiohttp

from contrail_vsphere.model.errors import (
    InvalidArgument,
    OutcomeUnknown,
    ProtocolError,
    Unreachable,
    Untrusted,
    why_no_connection,
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens; ``str()`` gives the form that goes into a URL."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, port: int) -> Address:
        """Read ``HOST`` or ``HOST:PORT`` (IPv6 in brackets when a port follows); ``port`` where none is given."""
        host, colon, rest = text.rpartition(":")
        if not colon or (":" in host and not host.startswith("[")) or text.endswith("]"):
            host, rest = text, str(port)
        host = host.strip("[]")
        if not host or not rest.isdigit() or not 0 < int(rest) < 65536 or set(host) & set("/?#@ \\"):
            raise InvalidArgument(f"{text!r} is not an address", hint="HOST or HOST:PORT")
        return cls(host, int(rest))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@contextmanager
def door(what: str) -> Iterator[None]:
    """Translate what aiohttp raises; ``what`` names the peer in the message.

    Untrusted, Unreachable (never sent), OutcomeUnknown (sent, no whole answer), ProtocolError.
    """
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as wrong:
        reason = " ".join(str(wrong.certificate_error).split())
        raise Untrusted(f"{what}: {reason}", hint="give the ca_file that its certificate comes from") from wrong
    except aiohttp.ClientSSLError as wrong:
        raise Untrusted(f"{what}: TLS failed: {wrong}", hint="does it speak HTTPS there?") from wrong
    except aiohttp.ConnectionTimeoutError as late:
        raise Unreachable(f"{what} did not take the connection in time") from late
    except TimeoutError as late:
        raise OutcomeUnknown(f"{what} did not answer in time") from late
    except aiohttp.ClientConnectorError as gone:
        raise Unreachable(f"{what} cannot be reached: {why_no_connection(gone.os_error)}") from gone
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError) as gone:
        raise OutcomeUnknown(f"{what} closed the connection: {gone or type(gone).__name__}") from gone
    except aiohttp.ClientError as wrong:
        raise ProtocolError(f"{what} does not speak HTTP as it should: {wrong or type(wrong).__name__}") from wrong


_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux only."""


def acknowledge_now(reply: aiohttp.ClientResponse) -> None:
    """Acknowledge the head of an answer whose body has not come.

    The API server (gevent's WSGI) sends both as segments of their own with Nagle's algorithm on: the body waits until
    the head is acknowledged, which our kernel would delay by 40 ms, for every call on a kept connection.
    """
    connection = reply.connection  # None once the whole answer is there
    transport = connection.transport if connection is not None else None
    wire = transport.get_extra_info("socket") if transport is not None else None
    if wire is None or _QUICKACK is None or wire.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with suppress(OSError):  # closed by the peer; reading the body will say so
        wire.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


async def bounded_read(reply: aiohttp.ClientResponse, *, most: int) -> bytes:
    """The whole body, or ProtocolError when it is longer than ``most`` bytes."""
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > most:
            raise ProtocolError(f"the answer of {reply.url.host} is longer than {most} bytes")
    return bytes(body)
