"""Asking our own server what EAM is going to ask, by the way EAM is going to take.

EAM says ``InvalidUrl`` and no more. Found here first, the same trouble has a name: refused, unknown name, another
certificate, missing file, wrong size, cut off, too slow.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp
from cryptography import x509

from contrail_vsphere.contrailvm.package.values import Package, PackageFile
from contrail_vsphere.model.errors import UrlRefused

_FIREWALL: Final = "check publish.listen, publish.advertise and the firewall between"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe that found nothing wrong."""

    url: str
    files: int
    bytes: int
    """What a whole download comes to."""


async def probe(url: str, package: Package, *, context: ssl.SSLContext | None, deadline: float = 20.0) -> ProbeResult:
    """HEAD and GET of the descriptor at ``url``, HEAD of every other file beside it; UrlRefused where one is wrong.

    ``context`` verifies the server (None only for plain HTTP); ``deadline`` is seconds for each request.
    """
    base = url.rpartition("/")[0]
    connector = aiohttp.TCPConnector(ssl=context if context is not None else True)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        descriptor = next(file for file in package.files if file.name == package.descriptor_name)
        await _ask(session, "HEAD", url, descriptor, deadline=deadline)
        await _ask(session, "GET", url, descriptor, deadline=deadline)
        for file in package.files:
            if file is not descriptor:
                await _ask(session, "HEAD", f"{base}/{quote(file.name)}", file, deadline=deadline)
    return ProbeResult(url, len(package.files), package.size)


async def _ask(session: aiohttp.ClientSession, method: str, url: str, file: PackageFile, *, deadline: float) -> None:
    try:
        async with asyncio.timeout(deadline):
            async with session.request(method, url, allow_redirects=False) as response:
                _check_head(response, url, file)
                if method == "GET":
                    _check_body(await response.read(), url, file)
    except TimeoutError as error:
        raise UrlRefused(
            f"{url}: no answer within {deadline:g} s", hint="the server or the way to it is slow"
        ) from error
    except aiohttp.ClientError as error:
        raise _refused(url, error) from error


def _check_head(response: aiohttp.ClientResponse, url: str, file: PackageFile) -> None:
    if 300 <= response.status < 400:
        raise UrlRefused(
            f"{url}: redirected, which EAM does not follow", hint="publish.advertise must lead straight here"
        )
    if response.status != 200:
        raise UrlRefused(
            f"{url}: answered {response.status} {response.reason}", hint="does publish.advertise lead to this server?"
        )
    if response.headers.get("Transfer-Encoding") or response.headers.get("Content-Length") is None:
        raise UrlRefused(f"{url}: no exact length", hint="a proxy between may not buffer or compress")
    if response.headers["Content-Length"] != str(file.size):
        length = response.headers["Content-Length"]
        raise UrlRefused(f"{url}: {length} bytes, should be {file.size}", hint="something else answers there")


def _check_body(body: bytes, url: str, file: PackageFile) -> None:
    if hashlib.sha256(body).hexdigest() != file.sha256:
        raise UrlRefused(f"{url}: other content than was published", hint="something else answers there")


def _refused(url: str, error: aiohttp.ClientError) -> UrlRefused:
    parts = urlsplit(url)
    where = parts.netloc
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            reason = getattr(error, "certificate_error", None) or error.os_error
            return UrlRefused(f"{url}: TLS with {where} failed: {reason}", hint="another server may answer there")
        case aiohttp.ClientConnectorDNSError():
            return UrlRefused(f"{url}: the name {parts.hostname} is not known", hint="correct publish.advertise or DNS")
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or str(error.os_error)
            if isinstance(error.os_error, ConnectionRefusedError):
                reason = "connection refused"
            return UrlRefused(f"{url}: {where}: {reason}", hint=_FIREWALL)
        case aiohttp.ClientPayloadError():
            return UrlRefused(f"{url}: the answer was cut off", hint="check proxies between")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return UrlRefused(f"{url}: {where} closed the connection", hint=_FIREWALL)
    return UrlRefused(f"{url}: {type(error).__name__}: {error}", hint="something else answers there")


def check_identity(certificate: x509.Certificate, url: str, *, now: datetime | None) -> None:
    """UrlRefused where a certificate is not for the host in ``url``, or not valid ``now`` (None: not asked)."""
    host = urlsplit(url).hostname or ""
    if now is not None and not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        until = certificate.not_valid_after_utc.date()
        raise UrlRefused(f"{url}: the certificate is not valid now (until {until})", hint="renew it")
    names = _names(certificate)
    if host.lower() not in names and f"*.{host.lower().partition('.')[2]}" not in names:
        known = ", ".join(sorted(names)) or "nobody"
        raise UrlRefused(f"{url}: the certificate is for {known}, not for {host}", hint="issue one with that name")


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    hosts = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return hosts | addresses
