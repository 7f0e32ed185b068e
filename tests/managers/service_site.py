"""A scene whose manager is the whole service, as ``run`` starts it: settings, data directory, certificates."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from long_lived import LongLived
from real_process import free_port
from scene import Scene
from stand import KEY

from contrail_vsphere.app.contrailvm import ContrailVmService
from contrail_vsphere.app.contrailvm_register import register
from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.config.load import load
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.simulator import tls
from contrailvm_guest.firstboot import CERTIFICATE
from contrailvm_guest.firstboot import KEY as GUEST_KEY

SETTINGS = """\
[vcenter.lab]
host = "127.0.0.1"
port = {port}
username = "{username}"
password_file = "vcenter.password"
{trust}
tunnel_host = "127.0.0.1"
tunnel_port = {tunnel}
[manager]
data_dir = "data"
[publish]
listen = "{address}:{publish}"
{publishing}
[bootstrap]
listen = "{address}:{bootstrap}"
[control]
listen = "{address}:{control}"
{tokens}
{more}
"""


class ServiceSite(Scene):
    """``more`` is put at the end of the settings file; ``control`` is the control API's token file, ``publishing`` are
    lines of ``[publish]``."""

    def __init__(
        self,
        directory: Path,
        *,
        more: str = "",
        control: str = "",
        trust: str = "",
        publishing: str = "",
        **options: Any,
    ):
        super().__init__(directory, **options)
        tokens = f'token_file = "{control}"' if control else ""
        self._settings_parts = {"more": more, "tokens": tokens, "publishing": publishing}
        self._trust = trust
        self.service: ContrailVmService

    async def start(self) -> ServiceSite:
        self._origin = asyncio.get_running_loop().time()
        make, made = tls.make_identity, []
        tls.make_identity = lambda *arguments: made.append(make(*arguments)) or made[-1]
        try:
            await self.vcenter.start()
        finally:
            tls.make_identity = make
        (self.vcenter_tls,) = made
        self.settings = load(self._configure(), {})
        await register(self.settings, now=self.now)
        self.data = DataDirectory(self.settings.manager.data_dir, now=self.now)
        self.package = make_demo_package(self.directory / "build")
        await self.data.packages().add(self.package)
        await self.resume()
        return self

    async def stop(self) -> None:
        await self.crash()
        await self.vcenter.stop()

    async def resume(self) -> None:
        self.settings = load(self.directory / "settings.toml", {})
        self.service = ContrailVmService(self.settings, now=self.now, seed=1)
        await self.service.__aenter__()
        await self.service.vcenter.inventory.ready()

    async def crash(self) -> None:
        await self.service.__aexit__(None, None, None)

    @property
    def manager(self):
        return self.service.manager

    @property
    def publisher(self):
        return self.service.publisher

    def _configure(self) -> Path:
        ready = self.vcenter.ready
        password = self.directory / "vcenter.password"
        password.touch(mode=0o600)
        password.write_text(ready["password"])
        file = self.directory / "settings.toml"
        file.write_text(
            SETTINGS.format(
                port=urlsplit(ready["url"]).port, username=ready["username"],
                trust=self._trust or f'ca_file = "{ready["ca_file"]}"', tunnel=ready["tunnel"].rpartition(":")[2],
                address=f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}",
                publish=free_port(), bootstrap=free_port(), control=free_port(), **self._settings_parts,
            )
        )  # fmt: skip
        return file

    # -- certificates in the simulated vCenter --------------------------------------------------------------------

    def pins(self) -> set[str]:
        """What EAM pins, of all agencies."""
        return {
            "".join(str(entry.ovfSslTrust.sslCertificate).split())
            for agency in self.agencies()
            for entry in agency.config.agentConfig
        }

    def extension_certificate(self) -> bytes:
        """DER of what the extension logs in with."""
        return self.world.get("ExtensionManager").certificates[KEY]

    def watch_red(self) -> list[str]:
        """From now on, every EsxAgent that is red at any moment."""
        seen: list[str] = []

        def look(_done) -> None:
            red = (agent for agent in self.world.of_type(EsxAgent) if agent.status == "red")
            seen.extend(f"{agent.host.name}: {[issue.type for issue in agent.issues]}" for agent in red)

        self.world.observe(look)
        return seen

    # -- certificates of guests -----------------------------------------------------------------------------------

    def certificate_of(self, host: str) -> bytes:
        """What the ContrailVM of a host holds, key and all."""
        files = self.vcenter.guests.disk(self.on(host)).files
        return files[CERTIFICATE] + files[GUEST_KEY]

    async def configuration_for(self, certificate: bytes) -> int:
        """The status of the manager's answer to the holder of that certificate and key."""
        held = self.directory / "held.pem"
        held.write_bytes(certificate)
        trust = ssl.create_default_context(cadata=self.data.authority().cert_pem)
        trust.load_cert_chain(held)
        connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
        url = self.service.ready["bootstrap_url"] + "/v1/configuration"
        async with aiohttp.ClientSession(connector=connector) as http, http.get(url) as reply:
            return reply.status

    async def asks_anew(self) -> None:
        """All sessions and connections with vCenter end."""
        self.vcenter.expire_sessions()
        await self.vcenter.drop_connections()


class LongSite(LongLived, ServiceSite):
    """One on which days pass at once."""
