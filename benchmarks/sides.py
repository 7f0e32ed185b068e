"""One client per process: reads every VM with its network cards, or makes many small calls, and says what it cost.

Arguments: side, work, page size, number of calls; the server's ready line on stdin; one JSON object on stdout.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.measure import Usage, usage

PATHS = ("name", "runtime.host", "runtime.powerState", "config.hardware.device")


def address(ready: dict[str, Any]) -> tuple[str, int]:
    host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
    return host, int(port)


def verified(ready: dict[str, Any]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ready["ca_file"])


# -- our client -------------------------------------------------------------------------------------------------------


def ours(ready: dict[str, Any], work: str, page: int, calls: int) -> dict[str, Any]:
    return asyncio.run(_ours(ready, work, page, calls))


async def _ours(ready: dict[str, Any], work: str, page: int, calls: int) -> dict[str, Any]:
    from contrail_vsphere.vsphere.session import SERVICE
    from contrail_vsphere.vsphere.stream import Kind
    from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter

    kinds: dict[str, Kind] = dict(zip(PATHS, ("text", "id", "text", "nics"), strict=True))  # type: ignore[arg-type]
    host, port = address(ready)
    endpoint = Endpoint(host, port, ca_file=ready["ca_file"])
    async with VCenter(endpoint, PasswordLogin(ready["username"], ready["password"])) as vcenter:
        if work == "read":
            vcenter.calls.clear()
            rows = []
            with usage() as used:
                async for found in vcenter.reader.of_type("VirtualMachine", kinds, page=page or 10**6):
                    rows += found
            cards = sum(len(row.values["config.hardware.device"]) for row in rows)
            return {**asdict(used), "objects": len(rows), "cards": cards, "calls": vcenter.calls.total()}
        wide = 8 if work == "calls8" else 1

        async def some() -> None:
            for _ in range(calls // wide):
                await vcenter.call(SERVICE, "CurrentTime")

        await vcenter.call(SERVICE, "CurrentTime")
        with usage() as used:
            await asyncio.gather(*(some() for _ in range(wide)))
        return {**asdict(used), "calls": calls}


# -- pyVmomi ----------------------------------------------------------------------------------------------------------


def pyvmomi(ready: dict[str, Any], work: str, page: int, calls: int) -> dict[str, Any]:
    from pyVim.connect import Disconnect, SmartConnect
    from pyVmomi import vim, vmodl

    host, port = address(ready)
    service = SmartConnect(
        host=host, port=port, user=ready["username"], pwd=ready["password"], sslContext=verified(ready)
    )
    content = service.RetrieveContent()
    try:
        if work != "read":
            service.CurrentTime()
            with usage() as used:
                for _ in range(calls):
                    service.CurrentTime()
            return {**asdict(used), "calls": calls}
        pc = vmodl.query.PropertyCollector
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        members = pc.TraversalSpec(name="members", type=type(view), path="view", skip=False)
        spec = pc.FilterSpec(
            propSet=[pc.PropertySpec(type=vim.VirtualMachine, pathSet=list(PATHS), all=False)],
            objectSet=[pc.ObjectSpec(obj=view, skip=True, selectSet=[members])],
        )
        options = pc.RetrieveOptions(maxObjects=page) if page else pc.RetrieveOptions()
        objects, made = [], 1
        with usage() as used:
            result = content.propertyCollector.RetrievePropertiesEx([spec], options)
            objects += result.objects
            while result.token:
                result = content.propertyCollector.ContinueRetrievePropertiesEx(result.token)
                objects += result.objects
                made += 1
        cards = sum(
            isinstance(device, vim.vm.device.VirtualEthernetCard)
            for each in objects
            for prop in each.propSet
            if prop.name == "config.hardware.device"
            for device in prop.val
        )
        return {**asdict(used), "objects": len(objects), "cards": cards, "calls": made + 2}
    finally:
        Disconnect(service)


# -- a bare socket ----------------------------------------------------------------------------------------------------


def raw(ready: dict[str, Any], work: str, page: int, calls: int) -> dict[str, Any]:
    """The same requests over one TLS connection; the answers are read and thrown away."""
    from contrail_vsphere.vsphere import property_collector as pc
    from contrail_vsphere.vsphere.session import SERVICE
    from contrail_vsphere.wire.soap.decode import ResponseDecoder
    from contrail_vsphere.wire.soap.encode import encode_request
    from contrail_vsphere.wire.soap.metadata import method_of
    from contrail_vsphere.wire.soap.values import build

    version = "vim.version.v8_0_3_0"
    wire = _Wire(ready)
    if work == "transfer":
        with usage() as used:
            wire.post(b"")
        return {**asdict(used), "bytes": wire.bytes, "calls": 1}

    def call(ref: Any, name: str, **args: Any) -> Any:
        method = method_of(ref, name)
        decoder = ResponseDecoder(method)
        decoder.feed(wire.post(encode_request(method, ref, args, version=version), keep=True))
        return decoder.close()

    content = call(SERVICE, "RetrieveServiceContent")
    call(content.sessionManager, "Login", userName=ready["username"], password=ready["password"])
    if work != "read":
        body = encode_request(method_of(SERVICE, "CurrentTime"), SERVICE, {}, version=version)
        wires = [wire, *(_Wire(ready, cookie=wire.cookie) for _ in range(15 if work == "calls16" else 0))]
        with usage() as used:
            for _ in range(calls // len(wires)):
                for each in wires:
                    each.send(body)
                for each in wires:
                    each.receive()
        return {**asdict(used), "calls": calls}
    view = call(
        content.viewManager, "CreateContainerView", **pc.container_view_args(content.rootFolder, ["VirtualMachine"])
    )
    spec = pc.of_view(view, {"VirtualMachine": PATHS})
    options = build(pc.PC.RetrieveOptions, maxObjects=page or None)
    collector = content.propertyCollector
    body = encode_request(pc.RETRIEVE, collector, {"specSet": [spec], "options": options}, version=version)
    made = 2
    with usage() as used:
        wire.bytes = 0
        head = wire.post(body)
        while token := re.search(rb"<token>([^<]+)</token>", head):
            made += 1
            body = encode_request(pc.CONTINUE, collector, {"token": token[1].decode()}, version=version)
            head = wire.post(body)
    return {**asdict(used), "bytes": wire.bytes, "calls": made}


class _Wire:
    """HTTP/1.1 with as little as can be."""

    def __init__(self, ready: dict[str, Any], *, cookie: bytes = b"") -> None:
        self._socket = verified(ready).wrap_socket(
            socket.create_connection(address(ready), timeout=120), server_hostname=address(ready)[0]
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 18)
        self.cookie = cookie
        self.bytes = 0

    def post(self, body: bytes, *, keep: bool = False) -> bytes:
        """The answer's first bytes, or with ``keep`` all of its body."""
        self.send(body)
        return self.receive(keep=keep)

    def send(self, body: bytes) -> None:
        head = b'POST /sdk HTTP/1.1\r\nHost: vcenter\r\nContent-Type: text/xml\r\nSOAPAction: "urn:vim25/8.0.3.0"\r\n'
        self._socket.sendall(head + self.cookie + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def receive(self, *, keep: bool = False) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._socket.recv(1 << 16)
        headers, _, first = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", headers)
        cookie = re.search(rb"(?i)set-cookie: ([^;\r]+)", headers)
        if cookie:
            self.cookie = b"Cookie: " + cookie[1] + b"\r\n"
        if length is None:  # chunked, as vcsim's longer answers
            return self._chunks(first)
        left = int(length[1]) - len(first)
        kept = [first]
        while left > 0:
            got = self._socket.recv_into(self._buffer)
            if not got:
                raise SystemExit("the server closed the connection")
            left -= got
            if keep or sum(map(len, kept)) < 4096:
                kept.append(bytes(self._buffer[:got]) if keep else bytes(self._buffer[: min(got, 4096)]))
        self.bytes += int(length[1])
        return b"".join(kept)

    def _chunks(self, data: bytes) -> bytes:
        whole = b""
        while True:
            while b"\r\n" not in data:
                data += self._socket.recv(1 << 16)
            size, _, data = data.partition(b"\r\n")
            length = int(size, 16)
            while len(data) < length + 2:
                data += self._socket.recv(1 << 16)
            if not length:
                return whole
            whole, data = whole + data[:length], data[length + 2 :]


SIDES: dict[str, Callable[[dict[str, Any], str, int, int], dict[str, Any]]] = {
    "ours": ours,
    "pyvmomi": pyvmomi,
    "raw": raw,
}

if __name__ == "__main__":
    _side, _work, _page, _calls = sys.argv[1:5]
    print(json.dumps(SIDES[_side](json.loads(sys.stdin.readline()), _work, int(_page), int(_calls))))

__all__ = ["SIDES", "Usage"]
