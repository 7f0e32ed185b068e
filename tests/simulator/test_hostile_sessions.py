"""What somebody who is logged in can send: wrong types, wrong values, bodies without an end. And a growing server."""

import asyncio
import ssl
from urllib.parse import urlparse

import pytest
from test_hostile_requests import CONTENT, ENVELOPE, call, post, raw


@pytest.fixture
async def send(vcenter):
    """Sends an element as the administrator; returns the answer."""
    credentials = f"<userName>{vcenter.ready['username']}</userName><password>{vcenter.ready['password']}</password>"
    answer = await raw(vcenter, post(ENVELOPE.format(call("Login", "SessionManager", "SessionManager", credentials))))
    cookie = next(line for line in answer.split(b"\r\n") if line.startswith(b"Set-Cookie")).split(b" ")[1].decode()

    async def sent(element):
        return await raw(vcenter, post(ENVELOPE.format(element), extra=f"Cookie: {cookie}\r\n"))

    return sent


def vm(method, inside="", moid="vm-29"):
    return call(method, "VirtualMachine", moid, inside)


@pytest.mark.parametrize(
    ("element", "fault"),
    [
        (call("PowerOffVM_Task", "VirtualMachine", "SessionManager"), b"MethodNotFound"),
        (call("NoSuchMethod", "ServiceInstance", "ServiceInstance"), b"MethodNotFound"),
        (call("PowerOffVM_Task", "VirtualMachine", "vm-99999"), b"ManagedObjectNotFound"),
        (call("CurrentTime", "ServiceInstance", "ServiceInstance", namespace="urn:other"), b"MethodNotFound"),
        (call("CreateContainerView", "ViewManager", "ViewManager"), b"InvalidArgument"),
        (
            call(
                "CreateContainerView",
                "ViewManager",
                "ViewManager",
                '<container type="Folder">group-d1</container><type>NoSuchType</type><recursive>true</recursive>',
            ),
            b"InvalidArgument",
        ),
        (
            call(
                "CreateContainerView",
                "ViewManager",
                "ViewManager",
                '<container type="Folder">group-d1</container><recursive>maybe</recursive>',
            ),
            b"InvalidRequest",
        ),
        (
            call("HttpNfcLeaseProgress", "HttpNfcLease", "session[x]y", "<percent>1</percent>"),
            b"ManagedObjectNotFound",
        ),
        (
            call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", "<specSet/><options/>"),
            b"InvalidArgument",
        ),
        (call("Fetch", "Folder", "group-d1", "<prop>name[1].x</prop>"), b"InvalidProperty"),
        (call("SearchDatastore_Task", "Folder", "group-d1", "<datastorePath>x</datastorePath>"), b"MethodNotFound"),
    ],
)
async def test_nonsense_from_inside_is_a_typed_fault(vcenter, send, element, fault):
    answer = await send(element)
    assert b" 500 " in answer.split(b"\r\n", 1)[0]
    assert fault in answer
    assert b"Traceback" not in answer
    assert b".py" not in answer


async def test_a_package_that_is_no_xml_comes_back_as_its_error(vcenter, send):
    bomb = "&lt;!DOCTYPE x [&lt;!ENTITY a 'aa'&gt;]&gt;&lt;x&gt;&amp;a;&lt;/x&gt;"
    for descriptor in ("", "hello", bomb, "&lt;a&gt;" * 5000):
        answer = await send(
            call(
                "ParseDescriptor",
                "OvfManager",
                "OvfManager",
                f"<ovfDescriptor>{descriptor}</ovfDescriptor>"
                "<pdp><locale></locale><deploymentOption></deploymentOption></pdp>",
            )
        )
        assert b"OvfInvalidPackage" in answer
        assert b"Traceback" not in answer


async def test_a_chunked_body_without_an_end_is_refused(vcenter):
    url = urlparse(vcenter.ready["url"])
    context = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    writer.write(
        b"POST /sdk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<a> \r\n"
    )
    piece = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    answer = b""
    try:
        async with asyncio.timeout(20):
            for _ in range(100):
                writer.write(piece)
                await writer.drain()
                if reader._buffer or reader.at_eof():
                    break
            answer = await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    assert b" 200 " not in answer
    assert b" 200 " in await raw(vcenter, post(ENVELOPE.format(CONTENT)))


async def test_a_sender_that_goes_away_leaves_nothing_open(vcenter):
    url = urlparse(vcenter.ready["url"])
    context = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
    for _ in range(5):
        _, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
        writer.write(b"POST /sdk HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n<soapenv:Envelope")
        await writer.drain()
        writer.transport.abort()
    await asyncio.sleep(0.2)
    assert not vcenter.server.dispatcher.background
    assert b" 200 " in await raw(vcenter, post(ENVELOPE.format(CONTENT)))
