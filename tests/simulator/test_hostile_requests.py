"""Whatever is sent to the server: a typed fault or a closed connection, soon, and nothing about our insides."""

import asyncio
import ssl
from urllib.parse import urlparse

import pytest

ENVELOPE = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{}</soapenv:Body></soapenv:Envelope>'
)


def call(method, kind, moid, inside="", namespace="urn:vim25"):
    return f'<{method} xmlns="{namespace}"><_this type="{kind}">{moid}</_this>{inside}</{method}>'


CONTENT = call("RetrieveServiceContent", "ServiceInstance", "ServiceInstance")


async def raw(vcenter, data, *, close=True):
    """Send bytes over TLS, return all that comes back within a few seconds."""
    url = urlparse(vcenter.ready["url"])
    context = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    try:
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(10):
            if close:
                return await reader.read()
            return await reader.readuntil(b"</soapenv:Envelope>")
    except (ConnectionError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.transport.abort()


def post(body, *, path="/sdk", action='"urn:vim25/8.0.3.0"', extra="", chunked=False):
    body = body if isinstance(body, bytes) else body.encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nSOAPAction: {action}\r\nConnection: close\r\n{extra}"
    if not chunked:
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    pieces = [body[i : i + 7] for i in range(0, len(body), 7)]
    coded = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + coded


async def test_chunked_requests_and_odd_actions_are_served(vcenter):
    for action in ('"urn:vim25/8.0.3.0"', "urn:vim25/8.0.3.0", "urn:vim25", '"urn:vim25/99.9"', "", "nonsense"):
        answer = await raw(vcenter, post(ENVELOPE.format(CONTENT), chunked=True, action=action))
        assert b" 200 " in answer
        assert b"group-d1" in answer


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("", b"InvalidRequest"),
        ("hello", b"InvalidRequest"),
        (ENVELOPE.format(CONTENT)[:-40], b"InvalidRequest"),
        (ENVELOPE.format(""), b"InvalidRequest"),
        (ENVELOPE.format("<Login/>"), b"InvalidRequest"),
        (b"\xff\xfe\x00\x01" * 100, b"InvalidRequest"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa">]>' + ENVELOPE.format(CONTENT), b"InvalidRequest"),
        (ENVELOPE.format("<a>" * 100_000), b"InvalidRequest"),
        (ENVELOPE.format(CONTENT.replace("urn:vim25", "urn:other")), b"NotAuthenticated"),
        (ENVELOPE.format(CONTENT.replace("RetrieveServiceContent", "NoSuchMethod")), b"NotAuthenticated"),
        (ENVELOPE.format(CONTENT.replace(">ServiceInstance<", ">vm-1<")), b"ManagedObjectNotFound"),
        (ENVELOPE.format(CONTENT.replace("RetrieveServiceContent", "CurrentTime")), b"NotAuthenticated"),
        (
            ENVELOPE.format(call("Login", "SessionManager", "SessionManager")),
            b"InvalidArgument",
        ),
        (
            ENVELOPE.format(call("PowerOffVM_Task", "VirtualMachine", "SessionManager")),
            b"NotAuthenticated",
        ),
        (
            ENVELOPE.format(call("Fetch", "Folder", "group-d1", "<prop>name</prop>")),
            b"NotAuthenticated",
        ),
    ],
)
async def test_garbage_is_a_typed_fault(vcenter, body, fault):
    answer = await raw(vcenter, post(body))
    assert b" 500 " in answer.split(b"\r\n", 1)[0]
    assert fault in answer
    assert b"Traceback" not in answer
    assert b".py" not in answer
    assert b" 200 " in await raw(vcenter, post(ENVELOPE.format(CONTENT)))


async def test_a_wrong_session_cookie_is_no_session(vcenter):
    body = ENVELOPE.format(call("CurrentTime", "ServiceInstance", "ServiceInstance"))
    for cookie in ('vmware_soap_session="x"', "vmware_soap_session=", "a=b; ;;;", "vmware_soap_session=" + "z" * 4000):
        answer = await raw(vcenter, post(body, extra=f"Cookie: {cookie}\r\n"))
        assert b"NotAuthenticated" in answer
    body = ENVELOPE.format(call("QueryAgency", "EsxAgentManager", "EsxAgentManager", namespace="urn:eam"))
    assert b"EamInvalidLogin" in await raw(vcenter, post(body, path="/eam/sdk", action='"urn:eam/8.3"'))


async def test_a_huge_request_is_refused_without_being_kept(vcenter):
    url = urlparse(vcenter.ready["url"])
    context = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    total = 100 << 20
    writer.write(f"POST /sdk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {total}\r\n\r\n<a>".encode())
    try:
        async with asyncio.timeout(20):
            for _ in range(total >> 20):
                writer.write(b" " * (1 << 20))
                await writer.drain()
                if reader._buffer or reader.at_eof():
                    break
            answer = await reader.read()
    except ConnectionError:
        answer = b""
    finally:
        writer.transport.abort()
    assert b" 200 " not in answer
    assert b" 200 " in await raw(vcenter, post(ENVELOPE.format(CONTENT)))


async def test_unknown_paths_and_methods_of_http(vcenter):
    assert b" 404 " in await raw(vcenter, b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 405 " in await raw(vcenter, b"GET /sdk HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await raw(vcenter, b"GET /sdk/vimServiceVersions.xml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"<version>8.0.3.0</version>" in answer
    assert await raw(vcenter, b"\x16\x03\x01garbage\r\n\r\n") is not None


async def test_the_tunnel_leads_to_one_place_only(vcenter):
    host, _, port = vcenter.ready["tunnel"].partition(":")
    for request, status in (
        (b"CONNECT example.com:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\n\r\n", b"405"),
        (b"\r\n\r\n", b"405"),
        (b"x" * 100_000, b""),
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        try:
            answer = await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            answer = b""
        assert status in answer
        writer.transport.abort()
