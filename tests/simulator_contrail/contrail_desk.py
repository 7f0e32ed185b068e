"""A desk to try the simulated Contrail from: requests by one line, over a real socket."""

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator


@dataclass
class Desk:
    contrail: ContrailSimulator
    http: aiohttp.ClientSession
    headers: dict = field(default_factory=dict)

    async def ask(self, method, path, body=None, **headers):
        """Status and parsed body; text where it is no JSON."""
        data = json.dumps(body) if body is not None and not isinstance(body, bytes) else body
        sent = {"Content-Type": "application/json", **self.headers, **headers}
        url = self.contrail.ready["url"] + path
        async with self.http.request(method, url, data=data, headers=sent) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if reply.content_type == "application/json" else text

    async def get(self, path):
        status, body = await self.ask("GET", path)
        assert status == 200, body
        return body

    async def create(self, kind, fq_name, **fields):
        status, body = await self.ask("POST", f"/{kind}s", {kind: {"fq_name": list(fq_name), **fields}})
        assert status == 200, body
        return body[kind]["uuid"]

    async def read(self, kind, uuid, query=""):
        return (await self.get(f"/{kind}/{uuid}{query}"))[kind]


@asynccontextmanager
async def desk(**options):
    async with (
        ContrailSimulator(**options) as contrail,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http,
    ):
        yield Desk(contrail, http)
        assert contrail.defects == []
