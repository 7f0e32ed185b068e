"""A small client of the REST API and a package depot, for a simulated vCenter of release 9."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.wire.ovf.descriptor import (
    GUEST_INFO_TRANSPORT,
    Descriptor,
    OvfDisk,
    OvfFile,
    OvfItem,
    OvfNetwork,
    OvfProduct,
    OvfProperty,
    render,
)
from contrail_vsphere.wire.system_vm import paths

DISK = b"not really a disk" * 64


def descriptor(memory_mb: int) -> Descriptor:
    return Descriptor(
        name="ContrailVM",
        id="contrailvm",
        products=(OvfProduct("ContrailVM", version="1", properties=(OvfProperty("url", user_configurable=True),)),),
        files=(OvfFile("file1", "contrailvm.vmdk", len(DISK)),),
        disks=(OvfDisk("vmdisk1", "file1", 1 << 30),),
        networks=(OvfNetwork("Management"),),
        items=(
            OvfItem("1", 3, "2 CPUs", quantity=2),
            OvfItem("2", 4, "memory", quantity=memory_mb << 20),
            OvfItem("3", 6, "SCSI", subtype="VirtualSCSI"),
            OvfItem("4", 17, "disk", host_resource="ovf:/disk/vmdisk1", parent="3", address_on_parent="0"),
            OvfItem("5", 10, "NIC", subtype="VmxNet3", connection="Management", address_on_parent="7"),
        ),
        os_type="other5xLinux64Guest",
        transports=(GUEST_INFO_TRANSPORT,),
        virtual_system_types=("vmx-19",),
    )


class Depot:
    """Serves packages ``v1``, ``v2`` ... that differ in memory."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200

    def package(self, number: int) -> str:
        return f"{self.url}/v{number}/contrailvm.ovf"

    async def serve(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        if self.status != 200:
            return web.Response(status=self.status)
        ovf = request.match_info["file"].endswith(".ovf")
        return web.Response(body=render(descriptor(1024 * number)) if ovf else DISK)


class Rest:
    """Calls over one session."""

    def __init__(self, vcenter: VCenterSimulator, http: aiohttp.ClientSession, depot: Depot) -> None:
        self.vcenter, self.http, self.depot = vcenter, http, depot
        self.base = vcenter.ready["rest_url"].removesuffix("/api")
        self.token = ""
        self.cluster = vcenter.inventory["C0"].moid

    async def login(self, user: str = "", password: str = "") -> int:
        ready = self.vcenter.ready
        pair = f"{user or ready['username']}:{password or ready['password']}"
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        async with self.http.post(self.base + paths.SESSION, headers=headers) as answer:
            if answer.status == 201:
                self.token = await answer.json()
            return answer.status

    async def call(self, method: str, path: str, body=None, **query: str) -> tuple[int, object]:
        async with self.http.request(
            method, self.base + path, json=body, params=query, headers={paths.SESSION_HEADER: self.token}
        ) as answer:
            return answer.status, await answer.json() if answer.content_length else None

    async def task(self, method: str, path: str, body=None, **query: str) -> dict:
        """The finished task."""
        status, task_id = await self.call(method, path, body, **query, **{paths.TASK_PARAMETER: "true"})
        assert status == 202, task_id
        return await self.over(task_id)

    async def over(self, task_id: str) -> dict:
        while True:
            status, info = await self.call("GET", paths.task(task_id))
            assert status == 200
            if info["status"] not in {"RUNNING", "PENDING"}:
                return info
            await asyncio.sleep(1)

    # -- words --------------------------------------------------------------------------------------------------

    def spec(self, package: int = 1, *, hooks=None, **changes) -> dict:
        return {
            "deployment_type": "EVERY_HOST_PINNED",
            "display_name": "ContrailVM",
            "display_version": str(package),
            "vm_name_template": {"prefix": "ContrailVM", "suffix": "COUNTER"},
            "ovf_resource": {
                "location_type": "REMOTE_FILE",
                "url": self.depot.package(package),
                "ssl_certificate_validation": "ENABLED",
            },
            "ovf_descriptor_properties": {"url": "https://127.0.0.1:8444"},
            "vm_storage_policy": "DEFAULT",
            "host_solution_spec": {},
            "hook_configurations": hooks or {},
        } | changes

    async def manage_by_image(self) -> None:
        assert (await self.task("PUT", paths.enablement(self.cluster), {}))["status"] == "SUCCEEDED"

    async def put(self, spec: dict, name: str = "contrail") -> dict:
        return await self.task("PUT", paths.solution(self.cluster, name), spec)

    async def apply(self, hosts=(), solutions=()) -> dict:
        body = {"host_solutions": {"hosts": list(hosts), "solutions": list(solutions)}}
        return await self.task("POST", paths.solutions(self.cluster), body, action="apply")

    async def begin_apply(self) -> str:
        query = {"action": "apply", paths.TASK_PARAMETER: "true"}
        status, task_id = await self.call("POST", paths.solutions(self.cluster), {}, **query)
        assert status == 202, task_id
        return task_id

    async def compliance(self) -> dict:
        """Host name -> deployment of the one solution."""
        task = await self.task("POST", paths.solutions(self.cluster), {}, action="check-compliance")
        hosts = task["result"]["host_solutions_status"]["compliances"]
        world = self.vcenter.world
        return {
            world.get(moid).name: next(iter(found["compliances"].values()))["deployment"]
            for moid, found in hosts.items()
            if found["compliances"]
        }

    async def statuses(self) -> list[str]:
        return [item["status"] for item in (await self.compliance()).values()]

    async def hooks(self, name: str = "contrail") -> list[dict]:
        _, found = await self.call("GET", paths.hooks(self.cluster, name))
        return found["hooks"]

    async def process(self, hook: dict, *, well: bool = True) -> int:
        body = {"vm": hook["vm"], "lifecycle_state": hook["lifecycle_state"], "processed_successfully": well}
        status, _ = await self.call("POST", paths.hooks(self.cluster), body, action="mark-as-processed")
        return status


@asynccontextmanager
async def running(**options):
    """A vCenter of release 9 and a client that is logged in."""
    depot = Depot()
    app = web.Application()
    app.router.add_route("*", "/v{number}/{file}", depot.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    depot.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        settings = {"hosts": 2, "profile": "vc90", "timing": Timing.instant()} | options
        async with VCenterSimulator(**settings) as vcenter:
            with vcenter.world.commit() as tx:
                for host in vcenter.scenario.hosts():
                    network = next(item for item in host.networks if item.name == "mgmt")
                    tx.set(host, agent_datastore=host.datastores[0], agent_network=network)
            trust = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
            connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
            async with aiohttp.ClientSession(connector=connector) as http:
                rest = Rest(vcenter, http, depot)
                assert await rest.login() == 201
                yield rest
            assert vcenter.world.defects == []
    finally:
        await runner.cleanup()
