"""The one door a ContrailVM has to its manager (port 8444): enrolment and configuration; and the health document.

    GET  /v1/ca                 our CA certificate; the guest holds its digest (OVF property) and trusts nothing else
    POST /v1/bootstrap          single-use token + certificate request -> client certificate + host configuration
    GET  /v1/configuration      host configuration, for the holder of a client certificate
    POST /v1/renewal            the next client certificate, for the holder of one that is not revoked
    POST /v1/vcenter-ticket     one login to vCenter, for the plugin of the host with that certificate
    POST /v1/synced             whether that plugin has plugged all ports of its host
    GET  /health/health.xml     vimhealth document

The rules are here and in ``request``; the judgement is the caller's: ``redeem`` decides whether a token
entitles this guest, ``configuration`` what a certified guest gets. A refused token is a 403 with a plain reason and one
audit line that never holds the token. A guest that crashed between the two sides of its redemption asks again with the
same token *and the same key*; ``redeem`` is told the key (``identity.key_sha256``) so that it can allow exactly that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from contrail_vsphere.contrailvm.bootstrap.host_configuration import HostConfiguration
from contrail_vsphere.contrailvm.bootstrap.request import (
    MAX_BODY,
    ClientCertificate,
    EnrolmentRefused,
    GuestIdentity,
    RenewalRequest,
    SyncedReport,
    parse_enrolment,
    parse_renewal,
    parse_synced,
    read_client_certificate,
)
from contrail_vsphere.contrailvm.notices.health_document import HealthNode, render_health
from contrail_vsphere.model.errors import InvalidArgument, NotReadyYet, TransientError
from contrail_vsphere.pki.tokens import TokenRefused

audit = logging.getLogger("contrail_vsphere.audit.bootstrap")

BACKLOG = 1024
"""Connections that wait to be taken: the guests of a whole estate may boot at once."""

Redeem = Callable[[str, GuestIdentity], Awaitable[HostConfiguration]]
"""Spend the token for this guest, which must be bound to everything in ``identity`` that the manager knows.

Raises TokenRefused (its message is only logged), EnrolmentRefused (its message goes to the guest), TransientError when
it cannot be judged now.
"""
Configure = Callable[[ClientCertificate], Awaitable[HostConfiguration]]
"""Raises EnrolmentRefused for a certificate that is no longer wanted (the VM was redeployed)."""
Renew = Callable[[ClientCertificate, RenewalRequest], Awaitable[bytes]]
"""A certificate (PEM) for the requested key. Raises EnrolmentRefused for a certificate that is no longer wanted."""
Vouch = Callable[[], Awaitable[str]]
"""A clone ticket of our own vCenter session, good for one login."""
Report = Callable[[ClientCertificate, SyncedReport], None]
"""The plugin of a host says how it stands."""
Sign = Callable[[bytes, GuestIdentity], bytes]
"""CSR (PEM, already checked) to client certificate (PEM) for ``identity.common_name``."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many refused requests an address may make: ``burst`` at once, then one per ``every`` seconds.

    Only refusals count, so a thousand guests booting at once behind one address are served, and guessing is not.
    """

    burst: int = 10
    every: float = 6.0
    addresses: int = 4096
    """Remembered at most; the one that was quiet longest is forgotten first."""


class BootstrapServer:
    """Serves the routes over TLS. ``tls`` asks for client certificates but serves those who have none yet.

    Without ``vouch`` nobody gets into vCenter through us, without ``report`` no plugin says how it stands, without
    ``renew`` a certificate ends when it expires.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        ca_pem: Callable[[], bytes],
        redeem: Redeem,
        configuration: Configure,
        sign: Sign,
        health: Callable[[], HealthNode],
        listen: str = "127.0.0.1:8444",
        limit: RateLimit | None = None,
        vouch: Vouch | None = None,
        report: Report | None = None,
        renew: Renew | None = None,
    ) -> None:
        self._tls = tls
        self._renew = renew
        self._vouch = vouch
        self._report = report
        self._ca_pem = ca_pem
        self._redeem = redeem
        self._configuration = configuration
        self._sign = sign
        self._health = health
        self._listen = listen
        self._refusals = _Refusals(limit or RateLimit())
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None
        self._socket: socket.socket | None = None
        self.address: tuple[str, int] = ("", 0)
        """Host and port that are really listened on, once started."""

    async def present(self, tls: ssl.SSLContext) -> None:
        """Judge and answer every new connection by this context; whoever is connected has to come again.

        A listener of its own takes the place of the one before, on the same socket: no context forgets a CA, or a
        session that may be resumed without showing a certificate.
        """
        before, self._tls = self._site, tls
        if before is not None:
            self._site = await self._listen_with(tls)
            await before.stop()

    async def start(self) -> None:
        """Listen; OSError when the port is taken."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.router.add_get("/v1/ca", self._get_ca)
        app.router.add_post("/v1/bootstrap", self._post_bootstrap)
        app.router.add_get("/v1/configuration", self._get_configuration)
        app.router.add_post("/v1/renewal", self._post_renewal)
        app.router.add_post("/v1/vcenter-ticket", self._post_ticket)
        app.router.add_post("/v1/synced", self._post_synced)
        app.router.add_get("/health/health.xml", self._get_health)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=15)
        await runner.setup()
        try:
            self._socket = _listening(self._listen)
            self._runner = runner
            self._site = await self._listen_with(self._tls)
        except BaseException:
            await self.stop()
            await runner.cleanup()
            raise
        self.address = self._socket.getsockname()[:2]

    async def _listen_with(self, tls: ssl.SSLContext) -> web.SockSite:
        assert self._runner is not None and self._socket is not None  # noqa: S101 - started
        site = web.SockSite(self._runner, self._socket.dup(), ssl_context=tls)
        await site.start()
        return site

    async def stop(self) -> None:
        """Close the port and every connection."""
        runner, listening = self._runner, self._socket
        self._runner = self._site = self._socket = None
        if runner is not None:
            await runner.cleanup()
        if listening is not None:
            listening.close()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        address = request.remote or ""
        if not self._refusals.allows(address):
            return _problem(429, "too many refused requests from this address; wait a minute", retry_after=60)
        try:
            async with asyncio.timeout(30):
                return await handler(request)
        except EnrolmentRefused as refused:
            self._refusals.count(address)
            return _problem(403, refused.message)
        except InvalidArgument as wrong:
            self._refusals.count(address)
            audit.warning("refused a malformed request: %s (path %s, from %s)", wrong.message, request.path, address)
            return _problem(400, str(wrong))
        except (TransientError, TimeoutError) as later:
            return _problem(503, "the manager cannot judge this now", retry_after=5, log=later)

    async def _get_ca(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._ca_pem(), content_type="application/x-pem-file")

    async def _get_health(self, _request: web.Request) -> web.Response:
        return web.Response(body=render_health(self._health()), content_type="text/xml", charset="utf-8")

    async def _post_bootstrap(self, request: web.Request) -> web.Response:
        enrolment = parse_enrolment(await request.read(), address=request.remote or "")
        identity = enrolment.identity
        who = f"vm {identity.vm_id or '?'}, instance {identity.instance_uuid or '?'}, from {identity.address}"
        try:
            configuration = await self._redeem(enrolment.token, identity)
        except TokenRefused as refused:
            audit.warning("enrolment refused: %s (%s)", refused.message, who)
            raise EnrolmentRefused("the token is unknown, used, expired, or another VM's") from None
        except EnrolmentRefused as refused:
            audit.warning("enrolment refused: %s (%s)", refused.message, who)
            raise
        certificate = self._sign(enrolment.csr_pem, identity)
        audit.info("enrolled (%s, key %s)", who, identity.key_sha256[:16])
        return _json(
            {
                "version": 1,
                "certificate": certificate.decode("ascii"),
                "ca": self._ca_pem().decode("ascii"),
                "configuration": configuration.as_json(),
            }
        )

    async def _get_configuration(self, request: web.Request) -> web.Response:
        _, configuration = await self._certified(request)
        return _json(configuration.as_json())

    async def _post_renewal(self, request: web.Request) -> web.Response:
        certificate, configuration = await self._certified(request)
        if self._renew is None:
            raise EnrolmentRefused("this manager renews no certificates")
        wanted = parse_renewal(await request.read(), certificate=certificate)
        renewed = await self._renew(certificate, wanted)
        audit.info("renewed (%s, key %s)", certificate.common_name, wanted.key_sha256[:16])
        return _json(
            {
                "version": 1,
                "certificate": renewed.decode("ascii"),
                "ca": self._ca_pem().decode("ascii"),
                "authority": configuration.authority,
            }
        )

    async def _post_ticket(self, request: web.Request) -> web.Response:
        certificate, configuration = await self._certified(request)
        if self._vouch is None:
            raise EnrolmentRefused("plugins of hosts do not get into vCenter through this manager")
        ticket = await self._vouch()
        audit.info("let into vCenter: the plugin of %s (%s)", configuration.host_name, certificate.common_name)
        return _json({"version": 1, "ticket": ticket, "host": configuration.host})

    async def _post_synced(self, request: web.Request) -> web.Response:
        certificate, _ = await self._certified(request)
        if self._report is None:
            raise EnrolmentRefused("this manager asks a central plugin")
        self._report(certificate, parse_synced(await request.read()))
        return _json({"version": 1})

    async def _certified(self, request: web.Request) -> tuple[ClientCertificate, HostConfiguration]:
        """Who asks, and what its host's configuration is. EnrolmentRefused for whoever is not wanted."""
        tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        if tls is None or not der:
            raise EnrolmentRefused("a client certificate is needed")
        if tls.context is not self._tls:
            raise NotReadyYet("other CAs are trusted now than when this connection began")
        certificate = read_client_certificate(der)
        try:
            return certificate, await self._configuration(certificate)
        except EnrolmentRefused as refused:
            what = request.path.rpartition("/")[2]
            audit.warning("%s refused: %s (%s)", what, refused.message, certificate.common_name)
            raise


def _listening(where: str) -> socket.socket:
    host, _, port = where.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)


class _Refusals:
    """A leaky bucket per address, in loop time."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, address: str) -> None:
        self._levels[address] = (self._level(address) + 1, asyncio.get_running_loop().time())
        self._levels.move_to_end(address)
        while len(self._levels) > self._limit.addresses:
            self._levels.popitem(last=False)

    def _level(self, address: str) -> float:
        level, since = self._levels.get(address, (0.0, 0.0))
        return max(0.0, level - (asyncio.get_running_loop().time() - since) / self._limit.every)

    def allows(self, address: str) -> bool:
        """Whether one more refusal still fits into the bucket."""
        return self._level(address) <= self._limit.burst - 1


def _json(document: dict[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json")


def _problem(status: int, reason: str, *, retry_after: int = 0, log: BaseException | None = None) -> web.Response:
    if log is not None:
        audit.warning("answered %s: %s (%r)", status, reason, log)
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    body = json.dumps({"error": reason}).encode()
    response = web.Response(status=status, body=body, content_type="application/json", headers=headers)
    if status == 503:
        response.force_close()
    return response
