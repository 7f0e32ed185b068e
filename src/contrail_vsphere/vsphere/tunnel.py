"""Logging in by certificate: one exchange through vCenter's sdkTunnel.

The proxy on 443 ends TLS itself, so a client certificate would never reach vCenter. A plain proxy port therefore takes
``CONNECT sdkTunnel:8089`` and passes the bytes on; the TLS inside is with vCenter, whose certificate bears the host's
name and not "sdkTunnel". One call per connection is all that is needed: the session cookie works everywhere.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import ssl
from http.cookies import CookieError, SimpleCookie

from contrail_vsphere.model.errors import ContrailVsphereError, ProtocolError, Unreachable, Untrusted
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.vsphere.endpoint import Endpoint
from contrail_vsphere.wire.soap.versions import soap_action

TARGET = "sdkTunnel:8089"
MAX_ANSWER = 1 << 20


async def exchange(
    endpoint: Endpoint, identity: Identity, body: bytes, *, version: str, cookie_name: str, deadline: float
) -> tuple[bytes, str]:
    """POST ``body`` to /sdk through the tunnel, presenting the certificate; the answer's body and session cookie.

    Raises Unreachable, Untrusted or ProtocolError; a SOAP fault is in the body.
    """
    host, port = endpoint.tunnel or (endpoint.host, 80)
    where = f"the tunnel {host}:{port}"
    try:
        async with asyncio.timeout(deadline):
            return await _exchange(endpoint, identity, body, (host, port), version=version, cookie_name=cookie_name)
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(
            f"{where}: {error.verify_message or error}", hint="give the right ca_file, or the thumbprint"
        ) from error
    except ssl.SSLError as error:
        raise Untrusted(
            f"{where}: TLS failed: {error.reason or error}", hint="is the extension registered with this certificate?"
        ) from error
    except TimeoutError as error:
        raise Unreachable(f"{where} did not answer within {deadline:g} s") from error
    except (OSError, asyncio.IncompleteReadError) as error:
        raise Unreachable(f"{where}: {getattr(error, 'strerror', '') or error}", hint="see tunnel_host") from error


async def _exchange(
    endpoint: Endpoint, identity: Identity, body: bytes, proxy: tuple[str, int], *, version: str, cookie_name: str
) -> tuple[bytes, str]:
    reader, writer = await asyncio.open_connection(*proxy, limit=1 << 16)
    try:
        writer.write(f"CONNECT {TARGET} HTTP/1.1\r\nHost: {TARGET}\r\n\r\n".encode("ascii"))
        try:
            reply = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise ProtocolError("the tunnel's answer to CONNECT has no end") from error
        status = reply.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if len(status) < 2 or not status[0].startswith("HTTP/"):
            raise ProtocolError("the tunnel does not speak HTTP", hint="see tunnel_host and tunnel_port")
        if status[1] != "200":
            raise Unreachable(f"the tunnel refuses CONNECT: {' '.join(status[1:])}", hint="see tunnel_host")
        await writer.start_tls(endpoint.context(identity), server_hostname=endpoint.host)
        head = (
            f"POST /sdk HTTP/1.1\r\nHost: {TARGET}\r\nConnection: close\r\nContent-Type: text/xml; charset=UTF-8\r\n"
            f"SOAPAction: {soap_action(version)}\r\nUser-Agent: contrail-vsphere\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        return _parse(await _read_all(reader), cookie_name)
    finally:
        # All was read; a peer that never answers close_notify must not hold us up.
        writer.transport.abort()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    data = bytearray()
    while chunk := await reader.read(1 << 16):
        data += chunk
        if len(data) > MAX_ANSWER:
            raise ProtocolError("the answer through the tunnel has no end")
    return bytes(data)


class _Received:
    """What http.client wants of a socket, over bytes that are already here."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parse(data: bytes, cookie_name: str) -> tuple[bytes, str]:
    response = http.client.HTTPResponse(_Received(data), method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
    except http.client.IncompleteRead as error:
        raise Unreachable("the tunnel broke in the middle of the answer") from error
    except http.client.HTTPException as error:
        raise (_dropped(error) if not data else ProtocolError(f"the tunnel's answer is not HTTP: {error}")) from error
    if response.status not in (200, 500):
        raise ProtocolError(f"the tunnel answers {response.status}")
    for header in response.headers.get_all("Set-Cookie") or ():
        try:
            morsel = SimpleCookie(header).get(cookie_name)
        except CookieError:
            continue
        if morsel is not None:
            return body, morsel.value.strip('"')
    return body, ""


def _dropped(_error: Exception) -> ContrailVsphereError:
    return Unreachable(
        "the tunnel closed the connection without an answer", hint="is the extension registered with this certificate?"
    )
