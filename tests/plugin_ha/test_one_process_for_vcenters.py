"""One process serves several vCenters: each by itself, and none waits for another."""

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest
from plugin_stand import PluginStand
from test_two_vcenters import Beside

from contrail_vsphere.app.access import TokenFile
from contrail_vsphere.app.plugins import PluginServices
from contrail_vsphere.config.load import load
from contrail_vsphere.model.errors import SettingsError

pytestmark = pytest.mark.looptime

VCENTER = """\
[vcenter.{name}]
host = "{host}"
port = {port}
thumbprint = "{thumbprint}"
username = "{username}"
password_file = "vcenter.password"
plugin_listen = "127.0.0.1:{listen}"
"""
REST = """\
[manager]
data_dir = "{data}"
[contrail]
servers = "{contrail}"
poll = 1.0
[plugin]
linger = 2.0
hosts_file = "hosts.map"
"""


class NoPlugin:
    """A stand whose plugin is somebody else's."""

    async def resume(self):
        return

    async def crash(self):
        return


class One(NoPlugin, PluginStand):
    pass


class Two(NoPlugin, Beside):
    pass


def settings_of(directory: Path, **stands):
    directory.mkdir(exist_ok=True)
    tables, hosts, contrail = [], [], ""
    for name, stand in stands.items():
        ready = stand.vcenter.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        (directory / "vcenter.password").touch(mode=0o600)
        (directory / "vcenter.password").write_text(ready["password"])
        tables.append(VCENTER.format(name=name, host=host, port=port, listen=0, **ready))
        for each in stand.vcenter.scenario.hosts():
            hosts.append(f"{each.name}:{stand.vcenter.vrouters.address_of(each.moid)}\n")
        contrail = stand.contrail.ready["url"]
    (directory / "hosts.map").write_text("".join(hosts))
    file = directory / "settings.toml"
    file.write_text("".join(tables) + REST.format(data=directory / "data", contrail=contrail))
    return load(file, {})


async def rename(stand, prefix):
    """Hosts of two simulators are called alike; those of two vCenters under one map are not."""
    for host in stand.vcenter.scenario.hosts():
        with stand.vcenter.world.commit("test") as tx:
            tx.set(host, name=f"{prefix}-{host.name}")


async def test_two_vcenters_are_served_and_one_that_is_away_keeps_nobody_waiting(tmp_path):
    async with One(tmp_path / "one") as one, Two(tmp_path / "two", one) as two:
        await rename(two, "two")
        settings = settings_of(tmp_path / "product", one=one, two=two)
        two.vcenter.scenario.add_fault(method="Login", fault="NoPermission")
        async with PluginServices(settings, vcenters=("one", "two"), now=one.now, seed=5) as plugins:
            assert list(plugins.running) == ["one"]
            assert "error" in plugins.ready["vcenters"]["two"]
            one.network("red")
            await one.until(lambda: "red" in one.groups())
            vm = await one.vm("vm", "red")
            await one.until(lambda: one.is_open(one.port(vm)))
            assert not two.groups()

            two.vcenter.scenario.clear_faults()
            await one.until(lambda: "red" in two.groups(), seconds=300)
            other = await two.vm("vm", "red")
            await one.until(lambda: two.is_open(two.port(other)))
            await asyncio.sleep(30)
            assert len(one.objects("virtual-machine")) == 2
            urls = {name: each["control_url"] for name, each in plugins.ready["vcenters"].items()}
            assert len(set(urls.values())) == 2
            token = TokenFile(settings.token_file).token("viewer").reveal()
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
                for name, stand in (("one", one), ("two", two)):
                    async with http.get(f"{urls[name]}/v1/status") as reply:
                        status = await reply.json()
                    assert {host["name"] for host in status["hosts"]} == {
                        host.name for host in stand.vcenter.scenario.hosts()
                    }
            # The second vCenter answers nobody any more; the first one's VMs do not notice.
            two.vcenter.scenario.add_fault(http_status=503)
            await asyncio.sleep(60)
            again = await one.vm("again", "red")
            await one.until(lambda: one.is_open(one.port(again)))
            assert len(one.objects("virtual-machine")) == 3, "and nothing of the other is deleted"
            two.vcenter.scenario.clear_faults()


async def test_two_plugins_at_one_port_or_with_one_managers_hosts_are_refused(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    file = tmp_path / "settings.toml"
    vcenters = "".join(f'[vcenter.{name}]\nhost = "{name}.example.com"\n' for name in ("one", "two"))
    file.write_text(f'{vcenters}[plugin]\nlisten = "127.0.0.1:{port}"\nhosts_file = "x.map"\n')
    with pytest.raises(SettingsError, match="would both listen"):
        PluginServices(load(file, {}), vcenters=("one", "two"))
    file.write_text(f'{vcenters}[plugin]\nlisten = "127.0.0.1:0"\n')
    with pytest.raises(SettingsError, match="same manager"):
        PluginServices(load(file, {}), vcenters=("one", "two"))
