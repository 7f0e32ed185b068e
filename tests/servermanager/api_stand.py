"""Server Manager in this process, behind httpx; its registry never answers, its Ansible server is a double."""

from contextlib import asynccontextmanager

import httpx
from ansible_double import AnsibleDouble

from contrail_vsphere.model.errors import Unreachable
from contrail_vsphere.pki.secrets import read_secret
from contrail_vsphere.servermanager.api.app import create_app
from contrail_vsphere.servermanager.runs import RegistryToPull
from contrail_vsphere.servermanager.service import Parts, ServerManager


@asynccontextmanager
async def nowhere():
    raise Unreachable("registry 127.0.0.1:1 does not answer")
    yield


class Stand:
    def __init__(self, store, tmp_path, **options):
        self.ansible = AnsibleDouble()
        parts = Parts(nowhere, "127.0.0.1:1", RegistryToPull(address="127.0.0.1:1"), self.ansible)
        self.service = ServerManager(store, tmp_path / "data", parts=parts)
        self.app = create_app(self.service, **options)

    async def start(self):
        await self.service.start()
        self.token = read_secret(self.service.token_file).reveal()

    def client(self, token=None, **more):
        given = self.token if token is None else token
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://manager", headers=headers, **more)


@asynccontextmanager
async def serving(store, tmp_path, **options):
    stand = Stand(store, tmp_path, **options)
    await stand.start()
    try:
        yield stand
    finally:
        await stand.service.images.stop()
        await stand.service.provisioner.stop()
