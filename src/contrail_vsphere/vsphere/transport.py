"""SOAP over HTTPS for asyncio: one POST, streamed into a decoder, with a deadline.

Connections are kept and used again. A server may close one just as we send on it; such a call is repeated only when no
byte of an answer came and the method cannot change anything (``safe``), because otherwise nobody knows whether it was
carried out. Everything else that can go wrong on the way becomes Unreachable, Untrusted, NotReadyYet or ProtocolError.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp

from contrail_vsphere.engine.breaker import CircuitBreaker, Health
from contrail_vsphere.model.errors import (
    ContrailVsphereError,
    NotReadyYet,
    ProtocolError,
    Unreachable,
    Untrusted,
    why_no_connection,
)
from contrail_vsphere.vsphere.endpoint import Endpoint
from contrail_vsphere.wire.soap.decode import ResponseDecoder
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import Method
from contrail_vsphere.wire.soap.versions import soap_action

log = logging.getLogger(__name__)

COOKIE = "vmware_soap_session"
KEEP_ALIVE = 20.0
"""Seconds an idle connection is kept; shorter than what servers keep theirs, so that they seldom close first."""
CONNECT_DEADLINE = 10.0

_SAFE = ("Retrieve", "Query", "Fetch", "Find", "Get", "CurrentTime", "Agency", "Agent", "Check", "Continue", "Session")
_NOT_SAFE = ("Agency_", "ContinueRetrieve", "AgencyAdd", "RetrieveDiskPartition", "CheckCustomization")


def safe(method: str) -> bool:
    """Whether calling the method twice is the same as calling it once, judged by its name on the wire."""
    return method.startswith(_SAFE) and not method.startswith(_NOT_SAFE)


class Sink(Protocol):
    """What an answer is streamed into: a ResponseDecoder, or the bulk readers' own."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the body."""
        ...

    def close(self) -> Any:
        """The result."""
        ...


class SoapTransport:
    """The connections to one vCenter; ``/sdk`` and ``/eam/sdk`` share them."""

    def __init__(self, endpoint: Endpoint, *, breaker: CircuitBreaker | None = None) -> None:
        self.endpoint = endpoint
        self.breaker = breaker or CircuitBreaker()
        self._base = f"https://{endpoint.name}"
        self._http: aiohttp.ClientSession | None = None

    @property
    def health(self) -> Health:
        """Whether it answers."""
        return self.breaker.health

    async def close(self) -> None:
        """Close all connections; a later call opens new ones."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def get(self, path: str, *, deadline: float) -> bytes:
        """A small document, e.g. ``/sdk/vimServiceVersions.xml``. ProtocolError unless it is there."""
        document, _ = await self._guarded(self._get(path), deadline=deadline, what=f"GET {path}")
        return bytes(document)

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        method: Method,
        version: str,
        cookie: str,
        deadline: float,
        sink: Sink | None = None,
    ) -> tuple[Any, str]:
        """Call a method; returns its result and the session cookie the answer set, if any.

        ``sink`` takes the body of a good answer instead of the ordinary decoder. ``deadline`` is seconds for all of it.
        Raises SoapFault for a fault, and errors of ``model.errors``.
        """
        headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": soap_action(version)}
        if cookie:
            headers["Cookie"] = f'{COOKIE}="{cookie}"'
        work = self._post(path, body, headers, method, sink)
        return await self._guarded(work, deadline=deadline, what=method.name)

    async def _guarded(self, work: Any, *, deadline: float, what: str) -> tuple[Any, str]:
        """Run one exchange under the breaker and the deadline, and name what went wrong."""
        name = self.endpoint.name
        try:
            self.breaker.admit(name)
        except Unreachable:
            work.close()
            raise
        try:
            async with asyncio.timeout(deadline):
                answer: tuple[Any, str] = await work
        except (ContrailVsphereError, aiohttp.ClientError, OSError, TimeoutError) as error:
            translated = connection_error(error, name=name, what=what, deadline=deadline)
            if isinstance(translated, Unreachable | Untrusted):
                self.breaker.failed(translated.message)
            else:
                self.breaker.succeeded()
            if isinstance(translated, Untrusted):
                await self._forget_trust()
            raise translated from error
        except SoapFault:
            self.breaker.succeeded()  # it is an answer
            raise
        self.breaker.succeeded()
        return answer

    async def _forget_trust(self) -> None:
        """Read what is trusted anew for the next call: a CA file may have been replaced along with the certificate."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            connector = aiohttp.TCPConnector(
                ssl=self.endpoint.context(), limit=0, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=60
            )
            self._http = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE),
                headers={"User-Agent": "contrail-vsphere", "Accept-Encoding": "identity"},
            )
        return self._http

    async def _get(self, path: str) -> tuple[bytes, str]:
        async with self._session().get(self._base + path, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise _unexpected(response, path)
            return await response.content.read(1 << 20), ""

    async def _post(
        self, path: str, body: bytes, headers: dict[str, str], method: Method, sink: Sink | None
    ) -> tuple[Any, str]:
        attempts = 2 if safe(method.name) else 1
        while True:
            attempts -= 1
            try:
                response = await self._session().post(
                    self._base + path, data=body, headers=headers, allow_redirects=False
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if attempts and not isinstance(error, aiohttp.ClientConnectorError):
                    log.debug("%s: %s was closed while idle; %s is sent again", path, self.endpoint.name, method.name)
                    continue
                raise
            async with response:
                return await self._read(response, path, method, sink)

    async def _read(
        self, response: aiohttp.ClientResponse, path: str, method: Method, sink: Sink | None
    ) -> tuple[Any, str]:
        if "xml" not in response.content_type or response.status not in (
            HTTPStatus.OK,
            HTTPStatus.INTERNAL_SERVER_ERROR,
        ):
            raise _unexpected(response, path)
        plain = sink is None or response.status != HTTPStatus.OK
        decoder: Sink = ResponseDecoder(method) if plain or sink is None else sink
        async for chunk in response.content.iter_any():
            decoder.feed(chunk)
        morsel = response.cookies.get(COOKIE)
        return decoder.close(), morsel.value.strip('"') if morsel is not None else ""


def _unexpected(response: aiohttp.ClientResponse, path: str) -> ContrailVsphereError:
    status, kind = response.status, response.content_type
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT):
        return NotReadyYet(f"{path} answers {status}", hint="the service behind the proxy is not up yet")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unreachable(f"{path} answers {status} without a SOAP fault")
    return ProtocolError(f"{path} answers {status} ({kind})", hint="is this address a vCenter?")


def connection_error(error: BaseException, *, name: str, what: str, deadline: float) -> ContrailVsphereError:
    """What went wrong on the way to ``name`` and back, as one of ours; one of ours stays as it is."""
    if isinstance(error, ContrailVsphereError):
        return error
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        reason = getattr(error, "certificate_error", error)
        return Untrusted(
            f"{name}: {' '.join(str(reason).split())}",
            hint="give the right ca_file, or the thumbprint of its certificate",
        )
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Untrusted(f"{name}: TLS failed: {error}", hint="is the port one of HTTPS?")
    if isinstance(error, TimeoutError):
        return Unreachable(f"{name}: no answer to {what} within {deadline:g} s")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unreachable(f"{name}: {why_no_connection(error.os_error)}", hint="is vCenter up, is this its address?")
    if isinstance(error, aiohttp.ClientPayloadError):
        return Unreachable(f"{name}: the connection broke in the middle of the answer to {what}")
    return Unreachable(f"{name}: the connection broke during {what}: {error or type(error).__name__}")
