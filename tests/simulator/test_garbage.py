"""Garbage in, of every kind by name: a typed fault or a closed connection, soon; no stack trace, no hang, no growth.

What one kind does to a small request, which stays in the fast lane, and to one that aiohttp serves, is tried alike.
"""

import asyncio
import gc
import os
import ssl
from pathlib import Path
from urllib.parse import urlparse

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_hostile_requests import CONTENT, ENVELOPE, call, post, raw

from contrail_vsphere.simulator import lane

ENDPOINTS = ("/sdk", "/eam/sdk")
INSIDE = (b"Traceback", b'File "', b".py", b"object at 0x")
VM = "vm-28"
PADDING = " " * (lane.LARGEST_BODY + 1)
SETTINGS = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def vcenter_options():
    return {"hosts": 1, "vms": 2, "guests": False}


def memory():
    """Resident bytes of this process, which has the server in it."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
async def cookie(vcenter):
    words = f"<userName>{vcenter.ready['username']}</userName><password>{vcenter.ready['password']}</password>"
    answer = await raw(vcenter, post(ENVELOPE.format(call("Login", "SessionManager", "SessionManager", words))))
    line = next(line for line in answer.split(b"\r\n") if line.startswith(b"Set-Cookie"))
    return f"Cookie: {line.split(b' ')[1].decode()}\r\n"


async def healthy(vcenter):
    assert b" 200 " in await raw(vcenter, post(ENVELOPE.format(CONTENT)))
    assert not vcenter.server.dispatcher.background


def refused(answer):
    """A fault of the API with a type, or nothing at all."""
    assert not any(word in answer for word in INSIDE), answer[-600:]
    if not answer:
        return
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 404, 405, 408, 413, 500), answer[:200]
    if status == 500:
        assert b"Fault xmlns=" in answer
        assert b"xsi:type=" in answer.partition(b"<detail>")[2]


def bodies():
    """Word of the list -> bodies of that kind."""
    whole = ENVELOPE.format(CONTENT)
    vm = call("ReconfigVM_Task", "VirtualMachine", VM, "<spec>{}</spec>")
    return {
        "truncated": [whole[:at] for at in (1, 40, len(whole) // 2, len(whole) - 1)],
        "deep": ["<a>" * 200_000, ENVELOPE.format("<a>" * 5000 + "</a>" * 5000)],
        "dtd": [
            '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + whole.replace("ServiceInstance<", "&b;<"),
            '<!DOCTYPE x SYSTEM "file:///etc/passwd">' + whole,
            '<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1:1/e.dtd"> %e;]>' + whole,
        ],
        "wrong namespace": [
            whole.replace("urn:vim25", name) for name in ("urn:other", "", "urn:eam", "urn:vim2", "x" * 5000)
        ]
        + [whole.replace("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")],
        "wrong type": [
            ENVELOPE.format(vm.format(inside))
            for inside in (
                "<numCPUs>many</numCPUs>",
                "<numCPUs>99999999999999999999</numCPUs>",
                "<memoryMB>1e400</memoryMB>",
                '<deviceChange xsi:type="VirtualDisk"/>',
                '<deviceChange><device xsi:type="HostSystem">x</device></deviceChange>',
                '<extraConfig><key>a</key><value xsi:type="xsd:int">b</value></extraConfig>',
                "<deviceChange><device>x</device></deviceChange>" * 3 + "<memoryMB>--</memoryMB>",
            )
        ]
        + [
            ENVELOPE.format(CONTENT.replace('type="ServiceInstance"', 'type="ManagedEntity[]"')),
            ENVELOPE.format(call("CurrentTime", "string", "ServiceInstance")),
            ENVELOPE.format(call("CurrentTime", "ServiceInstance", "&#1;")),
        ],
        "unknown method": [
            ENVELOPE.format(call(name, "ServiceInstance", "ServiceInstance"))
            for name in ("NoSuchMethod", "retrieveServiceContent", "_answer", "x" * 10_000)
        ],
        "no xml": ["", " ", "GET / HTTP/1.1", "{}", "\x00" * 100, b"\xff\xfe" * 50, b"\xef\xbb\xbf", "]]>", "<?xml"],
    }


@pytest.mark.parametrize("kind", bodies())
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_kind_of_garbage(vcenter, cookie, kind, path):
    assert vcenter.world.get(VM).wsdl == "VirtualMachine"
    for body in bodies()[kind]:
        for extra in ("", cookie):
            refused(await raw(vcenter, post(body, path=path, extra=extra)))
            refused(await raw(vcenter, post(body, path=path, extra=extra, chunked=True)))
            if isinstance(body, str) and len(body) < 4000:
                refused(await raw(vcenter, post(body + PADDING, path=path, extra=extra)))
    await healthy(vcenter)


@pytest.mark.parametrize(
    "coded",
    [
        b"zz\r\n<a>\r\n0\r\n\r\n",
        b"-5\r\n<a>\r\n0\r\n\r\n",
        b"3\r\n<a>no end of line 0\r\n\r\n",
        b"0\r\n" + b"Trailer: x\r\n" * 5000 + b"\r\n",
        b"1;" + b"x" * 100_000 + b"\r\n<\r\n0\r\n\r\n",
        b"0\r\n\r\n",
    ],
)
async def test_chunks_that_are_none(vcenter, coded):
    head = b"POST /sdk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    refused(await raw(vcenter, head + coded))
    await healthy(vcenter)


async def test_a_body_that_ends_with_its_connection(vcenter):
    url = urlparse(vcenter.ready["url"])
    tls = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
    for length in (100, 10_000_000):
        for data in (b"", b"<soapenv:Envelope"):
            reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=tls)
            writer.write(f"POST /sdk HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + data)
            await writer.drain()
            writer.close()
            async with asyncio.timeout(5):
                refused(await reader.read())
    await asyncio.sleep(0)
    await healthy(vcenter)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("piece", [b" ", b"x", b"<a/>", b"<a b='c'>"])
async def test_a_hundred_megabytes_are_not_kept(vcenter, chunked, piece):
    url = urlparse(vcenter.ready["url"])
    tls = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=tls)
    total, size = 100 << 20, 1 << 18
    block = (piece * (size // len(piece) + 1))[:size]
    before = memory()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}"
    writer.write(
        f"POST /sdk HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n\r\n<a>".encode()[: -3 if chunked else None]
    )
    answer = b""
    try:
        async with asyncio.timeout(30):
            for _ in range(total // size):
                writer.write(b"%x\r\n%s\r\n" % (size, block) if chunked else block)
                await writer.drain()
                if reader._buffer or reader.at_eof():
                    break
            answer = await reader.read()
    except ConnectionError:
        answer = bytes(reader._buffer)
    finally:
        writer.transport.abort()
    refused(answer)
    assert memory() - before < 64 << 20
    await healthy(vcenter)


async def test_a_thousand_pieces_of_garbage_leave_nothing_behind(vcenter, cookie):
    samples = [body for kind, all_of in bodies().items() if kind != "deep" for body in all_of]
    for body in samples:
        await raw(vcenter, post(body, extra=cookie))
    before = memory()
    for number in range(300):
        await raw(vcenter, post(samples[number % len(samples)], extra=cookie))
    assert memory() - before < 8 << 20
    await asyncio.sleep(0.1)
    assert not vcenter.server._lanes.connections
    await healthy(vcenter)


@SETTINGS
@given(
    data=st.data(),
    start=st.sampled_from(["content", "filter", "reconfigure", "login"]),
    path=st.sampled_from(ENDPOINTS),
)
async def test_sound_requests_with_a_few_bytes_changed(vcenter, cookie, data, start, path):
    body = bytearray(ENVELOPE.format(SOUND[start]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        how = data.draw(st.sampled_from(["flip", "drop", "twice", "put"]))
        if how == "flip":
            body[at] = data.draw(st.integers(0, 255))
        elif how == "drop":
            del body[at : at + data.draw(st.integers(1, 30))]
        elif how == "twice":
            body[at:at] = body[at : at + data.draw(st.integers(1, 200))]
        else:
            body[at:at] = data.draw(st.sampled_from([b"<", b">", b"&", b'"', b"]]>", b"<!--", b"<![CDATA[", b"&#0;"]))
        if not body:
            break
    answer = await raw(vcenter, post(bytes(body), path=path, extra=cookie))
    assert not any(word in answer for word in INSIDE), answer[-600:]
    if answer and b" 200 " not in answer.split(b"\r\n", 1)[0]:
        refused(answer)
    assert not vcenter.world.defects


SOUND = {
    "content": CONTENT,
    "login": call(
        "Login", "SessionManager", "SessionManager", "<userName>a</userName><password>b</password><locale>en</locale>"
    ),
    "filter": call(
        "CreateFilter",
        "PropertyCollector",
        "propertyCollector",
        "<spec><propSet><type>VirtualMachine</type><pathSet>name</pathSet>"
        "<pathSet>config.hardware.device[4000]</pathSet></propSet>"
        '<objectSet><obj type="Folder">group-d1</obj><skip>true</skip>'
        '<selectSet xsi:type="TraversalSpec"><name>f</name><type>Folder</type><path>childEntity</path>'
        "<skip>false</skip>"
        "<selectSet><name>f</name></selectSet></selectSet></objectSet></spec><partialUpdates>true</partialUpdates>",
    ),
    "reconfigure": call(
        "ReconfigVM_Task",
        "VirtualMachine",
        VM,
        "<spec><annotation>x</annotation><deviceChange><operation>add</operation>"
        '<device xsi:type="VirtualVmxnet3"><key>-1</key>'
        '<backing xsi:type="VirtualEthernetCardNetworkBackingInfo"><deviceName>VM Network</deviceName></backing>'
        "</device></deviceChange></spec>",
    ),
}
