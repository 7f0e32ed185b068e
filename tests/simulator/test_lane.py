"""The fast lane and aiohttp behind it look like one server, however requests come in pieces and mixed."""

import asyncio
import contextlib
import socket
import ssl
from urllib.parse import urlparse

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_hostile_requests import CONTENT, ENVELOPE, post, raw

from contrail_vsphere.simulator import lane


@pytest.fixture
def vcenter_options():
    return {"hosts": 1, "vms": 1, "guests": False}


@contextlib.asynccontextmanager
async def connection(vcenter, *, window=0):
    url = urlparse(vcenter.ready["url"])
    context = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
    plain = socket.socket()
    if window:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, (url.hostname, url.port))
    reader, writer = await asyncio.open_connection(sock=plain, ssl=context, server_hostname=url.hostname)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0.01)


def kept(request):
    return request.replace(b"Connection: close\r\n", b"")


async def answer(reader):
    """Status and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    return int(head.split(b" ", 2)[1]), await reader.readexactly(int(fields[b"content-length"]))


CALL = ENVELOPE.format(CONTENT)
SOUND = kept(post(CALL))
REQUESTS = {
    "sound": (SOUND, 200, b"group-d1"),
    "other case": (SOUND.replace(b"Content-Length", b"content-LENGTH"), 200, b"group-d1"),
    "padded": (SOUND.replace(b"Content-Length: ", b"Content-Length:\t "), 200, b"group-d1"),
    "unknown": (kept(post(CALL.replace("RetrieveServiceContent", "NoSuch"))), 500, b"NotAuthenticated"),
    "chunked": (kept(post(CALL, chunked=True)), 200, b"group-d1"),
    "header twice": (kept(post(CALL, extra="X-A: 1\r\nX-A: 2\r\n")), 200, b"group-d1"),
    "versions": (b"GET /sdk/vimServiceVersions.xml HTTP/1.1\r\nHost: x\r\n\r\n", 200, b"8.0.3.0"),
    "large": (kept(post(CALL + " " * (lane.LARGEST_BODY + 1))), 200, b"group-d1"),
    "no such path": (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, b"404"),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(min_value=1, max_value=5000), min_size=1, max_size=8),
)
async def test_requests_one_after_the_other_in_any_pieces(vcenter, names, cuts):
    data = b"".join(REQUESTS[name][0] for name in names)
    async with connection(vcenter) as (reader, writer), asyncio.timeout(20):

        async def send():
            at, number = 0, 0
            while at < len(data):
                size = cuts[number] if number < len(cuts) else len(data)
                writer.write(data[at : at + size])
                await writer.drain()
                await asyncio.sleep(0)
                at, number = at + size, number + 1

        sending = asyncio.ensure_future(send())
        for name in names:
            status, body = await answer(reader)
            assert (name, status) == (name, REQUESTS[name][1])
            assert REQUESTS[name][2] in body
        await sending


async def test_small_calls_stay_in_the_lane_and_odd_ones_leave_it(vcenter):
    lanes = vcenter.server._lanes.connections
    for name, inside in (
        ("sound", True),
        ("unknown", True),
        ("versions", True),
        ("chunked", False),
        ("no such path", False),
    ):
        async with connection(vcenter) as (reader, writer):
            writer.write(REQUESTS[name][0])
            await answer(reader)
            assert (len(lanes) == 1) is inside
            assert vcenter.server.drop_connections() == 1
            assert await reader.read() == b""
        assert not lanes


async def test_an_odd_request_after_many_that_were_sent_ahead(vcenter):
    many = 1000
    async with connection(vcenter) as (reader, writer), asyncio.timeout(30):
        writer.write(SOUND * many + REQUESTS["chunked"][0] + SOUND)
        for _ in range(many + 2):
            assert (await answer(reader))[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"POST /sdk HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /sdk HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /sdk HTTP/1.1\r\nContent-Length : 5\r\n\r\n",
        b"POST /sdk HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /sdk HTTP/1.1\r\nContent-Length: 5\nX: y\r\n\r\n",
        b"POST /sdk HTTP/1.1\r\n Content-Length: 5\r\n\r\n",
        b"POST /sdk HTTP/1.1\r\nX\x00: y\r\nContent-Length: 5\r\n\r\n",
        b"POST /sdk HTTP/9.1\r\nContent-Length: 5\r\n\r\n",
        b"POST /sdk HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
        b"POST " + b"/sdk" * 10_000,
        b"\r\n" * 40,
        b"\x00" * 40_000,
    ],
)
async def test_heads_that_may_mean_two_things_are_refused(vcenter, head):
    got = await raw(vcenter, head + b"hello" + b"\r\n\r\n")
    assert b" 200 " not in got
    assert b"Traceback" not in got
    assert b" 200 " in await raw(vcenter, post(CALL))


@pytest.mark.looptime
async def test_a_request_that_does_not_come_whole_ends_with_its_connection(vcenter):
    for piece in (b"POST /sdk HT", SOUND[:60], SOUND[:-1]):
        async with connection(vcenter) as (reader, writer):
            writer.write(piece)
            await asyncio.sleep(lane.BODY_TIMEOUT - 1)
            assert vcenter.server._lanes.connections
            async with asyncio.timeout(2 * lane.BODY_TIMEOUT):
                assert b" 408 " in await reader.read()


@pytest.mark.looptime
async def test_an_idle_connection_is_closed_in_the_end(vcenter):
    async with connection(vcenter) as (reader, writer):
        await asyncio.sleep(lane.KEEP_ALIVE - 1)
        writer.write(SOUND)
        assert (await answer(reader))[0] == 200
        async with asyncio.timeout(lane.KEEP_ALIVE + 2 * lane.BODY_TIMEOUT):
            assert await reader.read() == b""


async def test_who_does_not_read_is_not_served_on(vcenter):
    before = vcenter.calls["RetrieveServiceContent"]
    async with connection(vcenter, window=1 << 14) as (reader, writer):
        writer.transport.pause_reading()
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 400_000:
                writer.write(SOUND * 100)
                sent += 100
                async with asyncio.timeout(1):
                    await writer.drain()
        assert sent < 400_000
        (one,) = vcenter.server._lanes.connections
        assert len(one._buffer) < 4 * lane.LARGEST_BODY
        assert vcenter.calls["RetrieveServiceContent"] - before < sent
        writer.transport.resume_reading()
        async with asyncio.timeout(60):
            for _ in range(300):
                await answer(reader)
    assert b" 200 " in await raw(vcenter, post(CALL))
