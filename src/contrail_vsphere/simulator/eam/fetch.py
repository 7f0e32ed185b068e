"""Fetching OVF packages as EAM does: over HTTP or verified TLS, bounded in time and size, exact in length.

Nothing of a disk is kept: what matters is that it can be downloaded whole, from where the descriptor says, with the
length that both the server and the descriptor promise.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from contrail_vsphere.pki.pins import pinned_context, thumbprint
from contrail_vsphere.wire.ovf.descriptor import Descriptor, parse
from contrail_vsphere.wire.soap.types import eam

LARGEST_DESCRIPTOR: Final = 4 << 20
LARGEST_DISK: Final = 64 << 30
CHUNK: Final = 1 << 18

Reason = Literal["malformed", "unknown-host", "refused", "status", "untrusted", "timeout", "wrong-size", "invalid"]


class FetchError(Exception):
    """A URL could not be fetched whole; ``reason`` says how, ``status`` is the HTTP status if there was one."""

    def __init__(self, url: str, reason: Reason, detail: str = "", *, status: int | None = None) -> None:
        super().__init__(f"{url}: {reason}{f' ({detail})' if detail else ''}")
        self.url = url
        self.reason: Reason = reason
        self.detail = detail
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds of the event loop's time, bytes."""

    connect: float = 10.0
    read: float = 30.0
    """Longest silence."""
    total: float = 3600.0


class _LocalResolver(AbstractResolver):
    """Answers for ``localhost`` itself: aiohttp's own resolver uses a thread, on which virtual time would not wait."""

    def __init__(self) -> None:
        self._others: aiohttp.ThreadedResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host.rstrip(".") == "localhost":
            return [
                ResolveResult(
                    hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
            ]  # fmt: skip
        if self._others is None:
            self._others = aiohttp.ThreadedResolver()
        return await self._others.resolve(host, port, family)

    async def close(self) -> None:
        if self._others is not None:
            await self._others.close()


class Fetcher:
    """Downloads for EAM. ``trust`` is the appliance's own trust store; without one it trusts nobody."""

    def __init__(
        self,
        *,
        trust: ssl.SSLContext | None,
        verify: bool = True,
        limits: Limits | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._trust = trust or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._verify = verify
        self._limits = limits or Limits()
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._pinned: dict[str, ssl.SSLContext] = {}

    async def close(self) -> None:
        """Drop all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def descriptor(self, url: str, trust: Any = None) -> Descriptor:
        """The parsed descriptor. FetchError when it cannot be had, PackageError when it is not a descriptor."""
        return parse(await self.read(url, trust))

    async def read(self, url: str, trust: Any = None, *, limit: int = LARGEST_DESCRIPTOR) -> bytes:
        """A file, whole. FetchError when it cannot be had or has more than ``limit`` bytes (those of a descriptor)."""
        async with self._open("GET", url, trust) as response:
            body = await response.content.read(limit + 1)
            while not response.content.at_eof() and len(body) <= limit:
                body += await response.content.read(limit + 1 - len(body))
            if len(body) > limit:
                raise FetchError(url, "wrong-size", f"more than {limit} bytes")
            return body

    async def disks(self, url: str, descriptor: Descriptor, trust: Any = None) -> int:
        """Download every referenced file whole; the number of bytes. FetchError as soon as one cannot be had."""
        total = 0
        for file in descriptor.files:
            address = urljoin(url, file.href)
            length = await self._length(address, trust)
            if file.size is not None and length != file.size:
                raise FetchError(address, "wrong-size", f"{length} bytes, the descriptor says {file.size}")
            if length > LARGEST_DISK:
                raise FetchError(address, "wrong-size", f"larger than {LARGEST_DISK} bytes")
            total += await self._download(address, trust, expected=length)
        return total

    async def digest(self, url: str, algorithm: str, trust: Any = None) -> str:
        """Hex digest of a file, of which nothing is kept; ``algorithm`` by hashlib's name."""
        found = hashlib.new(algorithm, usedforsecurity=False)
        async with self._open("GET", url, trust) as response:
            async for chunk in response.content.iter_chunked(CHUNK):
                found.update(chunk)
        return found.hexdigest()

    async def _length(self, url: str, trust: Any) -> int:
        async with self._open("HEAD", url, trust) as response:
            if response.content_length is None:
                raise FetchError(url, "wrong-size", "no Content-Length")
            return response.content_length

    async def _download(self, url: str, trust: Any, *, expected: int) -> int:
        received = 0
        async with self._open("GET", url, trust) as response:
            async for chunk in response.content.iter_chunked(CHUNK):
                received += len(chunk)
                if received > expected:
                    break
        if received != expected:
            raise FetchError(url, "wrong-size", f"{received} bytes received, {expected} promised")
        return received

    def _tls(self, trust: Any) -> ssl.SSLContext:
        """How to verify, from ``Agent.SslTrust``."""
        if isinstance(trust, eam.Agent.AnyCertificate) or not self._verify:
            # The API lets a solution ask for it, and releases before 8.0 U2 never verify.
            careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            careless.check_hostname = False
            careless.verify_mode = ssl.CERT_NONE
            return careless
        if isinstance(trust, eam.Agent.PinnedPemCertificate):
            pem = str(trust.sslCertificate)
            if pem not in self._pinned:
                self._pinned[pem] = pinned_context(thumbprint(pem, "sha256"))
            return self._pinned[pem]
        return self._trust

    @asynccontextmanager
    async def _open(self, method: str, url: str, trust: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        _check(url)
        try:
            tls = self._tls(trust)
        except ValueError as error:
            raise FetchError(url, "untrusted", str(error)) from error
        limits = aiohttp.ClientTimeout(
            total=self._limits.total, sock_connect=self._limits.connect, sock_read=self._limits.read
        )
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=self._resolver or _LocalResolver(), force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        try:
            async with self._session.request(
                method, url, ssl=tls, timeout=limits, allow_redirects=False, headers={"Accept-Encoding": "identity"}
            ) as response:
                if response.status != 200:
                    raise FetchError(url, "status", str(response.status), status=response.status)
                yield response
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            raise FetchError(url, "untrusted", str(error)) from error
        except aiohttp.ClientConnectorDNSError as error:
            raise FetchError(url, "unknown-host", str(error)) from error
        except aiohttp.ClientConnectorError as error:
            raise FetchError(url, "refused", str(error)) from error
        except aiohttp.ClientPayloadError as error:
            raise FetchError(url, "wrong-size", str(error)) from error
        except TimeoutError as error:
            raise FetchError(url, "timeout", str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise FetchError(url, "refused", str(error)) from error


def _check(url: str) -> None:
    """FetchError for what is not an HTTP URL with a host."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        if host and ":" in host:
            ipaddress.ip_address(host)
    except ValueError as error:
        raise FetchError(url, "malformed", str(error)) from error
    if parts.scheme not in {"http", "https"} or not host:
        raise FetchError(url, "malformed", "not an http or https URL")
