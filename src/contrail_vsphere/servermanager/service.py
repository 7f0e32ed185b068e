"""Server Manager as one object: what the REST API, the command line's ``serve`` and tests hold."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from contrail_vsphere.model.errors import OutOfResources
from contrail_vsphere.pki.secrets import private_directory
from contrail_vsphere.servermanager import config_file
from contrail_vsphere.servermanager.access import first_token
from contrail_vsphere.servermanager.archive import Limits
from contrail_vsphere.servermanager.catalogue import Catalogue, catalogue
from contrail_vsphere.servermanager.images import Images, Registries
from contrail_vsphere.servermanager.mail import Post, Relay
from contrail_vsphere.servermanager.objects import Objects
from contrail_vsphere.servermanager.planner import Planner
from contrail_vsphere.servermanager.provision import Provisioner
from contrail_vsphere.servermanager.records import Actor
from contrail_vsphere.servermanager.runs import AnsibleServer, RegistryToPull
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.upkeep import Upkeep
from contrail_vsphere.servermanager.vault import Vault

TOKEN_FILE: Final = "admin.token"  # noqa: S105
UPLOAD_LIMIT: Final = 20 * 2**30


@dataclass(frozen=True, slots=True)
class Parts:
    """What the outside gives: where pushes go, where servers pull from, who runs playbooks."""

    registries: Registries
    registry_address: str
    pull: RegistryToPull
    ansible: AnsibleServer
    collect_garbage: Callable[[], Awaitable[int]] | None = None
    """Of the registry, if it is ours; returns the bytes that were freed."""
    relay: Relay | None = None
    """Where mail goes; None: none is sent."""


class ServerManager:
    """``start`` migrates the database and takes up what a former process left; ``stop`` leaves it for the next."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        *,
        parts: Parts,
        conf_dir: str = "/etc/contrail",
        upload_limit: int = UPLOAD_LIMIT,
        roles: Catalogue | None = None,
    ) -> None:
        self.store = store
        self.data_dir = data_dir
        self.catalogue = roles or catalogue()
        private_directory(data_dir)
        self.vault = Vault(data_dir / "secret.key")
        self.objects = Objects(catalogue=self.catalogue, vault=self.vault)
        self.planner = Planner(catalogue=self.catalogue, vault=self.vault, config_dir=conf_dir)
        self.images = Images(
            store, catalogue=self.catalogue, registries=parts.registries, address=parts.registry_address,
            scratch=data_dir / "scratch", uploads=data_dir / "uploads", limits=Limits(),
            garbage=parts.collect_garbage,
        )  # fmt: skip
        self.post = Post(store, parts.relay) if parts.relay is not None else None
        self.provisioner = Provisioner(
            store, planner=self.planner, ansible=parts.ansible, registry=parts.pull,
            post=self.post,
        )  # fmt: skip
        self.upkeep = Upkeep(store, self.vault)
        self.uploads = data_dir / "uploads"
        self.upload_limit = upload_limit

    @property
    def now(self) -> Callable[[], datetime]:
        """Aware UTC."""
        return self.store.now

    @property
    def token_file(self) -> Path:
        """Where the first administrator's token is."""
        return self.data_dir / TOKEN_FILE

    async def start(self) -> None:
        """Ready to serve afterwards."""
        await asyncio.to_thread(self.store.migrate)
        await asyncio.to_thread(first_token, self.store, self.token_file)
        await asyncio.to_thread(private_directory, self.uploads)
        await self.images.resume()
        await self.provisioner.resume()
        if self.post is not None:
            self.post.send()

    async def stop(self) -> None:
        """End jobs and connections."""
        await self.images.stop()
        await self.provisioner.stop()
        if self.post is not None:
            await self.post.stop()
        await asyncio.to_thread(self.store.close)

    async def put_file(self, actor: Actor, document: Mapping[str, Any], *, again: bool = True) -> config_file.Added:
        """Add everything of a combined file, or nothing; the jobs of its images begin. ``again``: see ``put``."""

        def unit() -> config_file.Added:
            with self.store.writing() as session:
                return config_file.put(session, actor, document, objects=self.objects, images=self.images, again=again)

        added = await asyncio.to_thread(unit)
        for image_id in added.to_begin:
            self.images.begin(image_id)
        return added

    def room_for(self, size: int) -> None:
        """``OutOfResources`` unless an upload of that size may come in: the limit, and twice the room on disk."""
        free = shutil.disk_usage(self.data_dir).free
        if size > self.upload_limit or size * 2 > free:
            raise OutOfResources(
                f"no room for {size:,} bytes", hint=f"the limit is {self.upload_limit:,}, free are {free:,}"
            )
