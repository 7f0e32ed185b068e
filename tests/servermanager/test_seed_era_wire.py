"""The requests of the seed era's own client, as it was seen to send them, and what it reads out of the answers.

They were taken from the client of 2016 itself (argparse and libcurl, on Python 2.7), run against ``serve``: it speaks
HTTP as libcurl does, but for ``delete`` in small letters; asks for tags and for the object before it adds it; has
``&detail`` without a value; looks every column up; uploads without a category.
"""

import asyncio
import json
import re
from contextlib import asynccontextmanager

from api_stand import serving
from test_provisioning import CANARY, fill

from contrail_vsphere.app.control_server import ControlServer
from contrail_vsphere.config.settings import Address
from contrail_vsphere.servermanager.states import RunState

HOST = "127.61.0.12"
COLUMNS = {
    "server": "id host_name ip_address mac_address roles parameters cluster_id tag subnet_mask gateway domain password "
    "ipmi_password ipmi_username ipmi_address ipmi_interface email base_image_id package_image_id",
    "cluster": "id email base_image_id package_image_id parameters",
    "image": "id version category type path parameters",
}
FORM = "------------------------d6ad5b0c2f1e4a77"


class Wire:
    """One connection per request, as each command of the client makes."""

    def __init__(self, url):
        self._port = int(url.rpartition(":")[2])

    async def send(self, line, body=b"", kind="application/json"):
        """``line`` is method and target; the answer's status, its kind and its document."""
        method, target = line.split(" ")
        head = [f"{method} {target} HTTP/1.1", f"Host: {HOST}:{self._port}", "User-Agent: PycURL/7.43.0.5",
                "Accept: */*", f"Content-Type:{kind}"]  # fmt: skip
        if body:
            head += [f"Content-Length: {len(body)}", "Expect: 100-continue"]
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            writer.write("\r\n".join([*head, "", ""]).encode())
            if body:
                assert b"100" in await reader.readline()
                assert await reader.readline() == b"\r\n"
                writer.write(body)
            status = int((await reader.readline()).split()[1])
            fields = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            text = await reader.readexactly(int(re.search(r"content-length: (\d+)", fields)[1]))
        finally:
            writer.close()
            await writer.wait_closed()
        assert "content-type: text/html" in fields
        return status, json.loads(text)

    async def put(self, kind, document):
        """What ``add KIND -f FILE`` does: tags, whether each object is there, then the file."""
        assert (await self.send("GET /tag?&detail"))[0] == 200
        for each in document[kind]:
            status, told = await self.send(f"GET /{kind}?id={each['id']}&detail")
            assert (status, len(told[kind])) in ((200, 0), (200, 1)), told
        return await self.send(f"PUT /{kind}", json.dumps(document).encode())


@asynccontextmanager
async def on_the_wire(store, tmp_path):
    async with serving(store, tmp_path, insecure_seed_era=True) as stand:
        server = ControlServer(stand.app, Address(HOST, 0))
        await server.start()
        try:
            async with asyncio.timeout(60):
                yield stand, Wire(server.url)
        finally:
            await server.stop()


async def test_add_show_and_delete(sqlite_store, tmp_path):
    image = {"id": "img", "category": "container", "type": "contrail-container", "version": "4.1",
             "parameters": {"containers": [{"role": "control"}]}}  # fmt: skip
    cluster = {"id": "c1", "email": "a@example.com,b@example.com", "package_image_id": "img", "parameters": {}}
    server = {"id": "s1", "cluster_id": "c1", "mac_address": "00:11:22:AA:BB:C1", "ip_address": "10.0.0.1",
              "subnet_mask": "255.255.255.0", "gateway": "10.0.0.254", "domain": "lab", "password": CANARY,
              "roles": ["contrail-controller"], "tag": {"datacenter": "dc1"}}  # fmt: skip
    async with on_the_wire(sqlite_store, tmp_path) as (_, wire):
        assert (await wire.send("PUT /tag", b'{"tag1": "datacenter"}'))[0] == 200
        for kind, document in (("image", image), ("cluster", cluster), ("server", server)):
            status, told = await wire.put(kind, {kind: [document]})
            assert (status, told["return_code"]) == (200, 0), told
            status, told = await wire.send(f"GET /{kind}?id={document['id']}&detail")
            assert set(COLUMNS[kind].split()) - set(told[kind][0]) == set(), "it looks each of them up"
        assert told["server"][0]["password"] == "*****"
        assert (await wire.send("GET /cluster?id=c1&detail"))[1]["cluster"][0]["email"] == cluster["email"]
        for query in ("tag=datacenter%3Ddc1", "mac_address=00%3A11%3A22%3AAA%3ABB%3AC1", "ip_address=10.0.0.1",
                      "select=id%2Cstatus&where=cluster_id+%3D+%27c1%27", "discovered=false"):  # fmt: skip
            assert [each["id"] for each in (await wire.send(f"GET /server?{query}"))[1]["server"]] == ["s1"], query
        assert (await wire.send("GET /server?discovered=true"))[1] == {"server": []}
        # Added once more with one field: it is changed.
        assert (await wire.put("server", {"server": [{"id": "s1", "gateway": "10.0.0.253"}]}))[0] == 200
        (shown,) = (await wire.send("GET /server?select=gateway%2Cdomain&id=s1"))[1]["server"]
        assert shown == {"gateway": "10.0.0.253", "domain": "lab"}
        status, told = await wire.send("delete /cluster?id=c1")
        assert (status, told["return_code"], "s1" in told["return_msg"]) == (404, 9, True)
        for target in ("/cluster?id=c1&force", "/server?ip_address=10.0.0.1", "/image?id=img"):
            status, told = await wire.send(f"delete {target}")
            assert (status, told["return_code"]) == (200, 0), told
        assert (await wire.send("GET /server"))[1] == {"server": []}


async def test_provision_and_status(sqlite_store, tmp_path):
    async with on_the_wire(sqlite_store, tmp_path) as (stand, wire):
        fill(sqlite_store, stand.service.objects, servers=2)
        for match, names in (
            ({"cluster_id": "c1"}, ["s1", "s2"]), ({"provision_parameters": {"roles": {"agent": ["s2"]}}}, ["s2"])
        ):  # fmt: skip
            status, told = await wire.send(
                "POST /server/provision", json.dumps({"package_image_id": None, **match}).encode()
            )
            assert (status, told["return_code"], told["return_message"]) == (200, "0", "server(s) provision issued")
            assert told["server"] == [{"id": name, "package_id": "img"} for name in names]
            run_id = list(stand.ansible.requests)[-1]
            stand.ansible.end(run_id, RunState.SUCCEEDED, dict.fromkeys(names, "completed"))
            await stand.service.provisioner.settled(run_id)
        _, told = await wire.send("GET /server_status?id=s1&detail")
        assert told["server"][0]["status"] == "provision_completed"
        _, told = await wire.send("GET /provision_status?cluster_id=c1")
        assert told["servers"][0]["provision_completed"] == "['agent', 'controller']"
        assert (await wire.send("GET /server_status?id=s9"))[1] == {"server": []}


async def test_an_upload_names_no_category(sqlite_store, tmp_path):
    fields = {"type": "contrail-ubuntu-package", "id": "up", "version": "4.1.1.0-1"}
    parts = [f'--{FORM}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
             for name, value in fields.items()]  # fmt: skip
    file = (f'--{FORM}\r\nContent-Disposition: form-data; name="file"; filename="up.tgz"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n")  # fmt: skip
    body = ("".join(parts) + file).encode() + b"no archive" + f"\r\n--{FORM}--\r\n".encode()
    async with on_the_wire(sqlite_store, tmp_path) as (stand, wire):
        status, told = await wire.send("PUT /image/upload", body, f"multipart/form-data; boundary={FORM}")
        assert (status, told["return_msg"]) == (200, "Image Uploaded"), told
        await stand.service.images.settled("up")
        _, told = await wire.send("GET /image?select=category%2Cstate&id=up")
        assert told["image"][0] == {"category": "package", "state": "failed"}
