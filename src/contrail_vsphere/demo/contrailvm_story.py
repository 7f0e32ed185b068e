"""The ContrailVM Manager's story: packages published, hosts served, a VM powered off, one deleted, a host that joins,
one that passes through maintenance, an upgrade that goes well and one that is taken back.

Everything is done with the product's own commands and the simulator's control port; what is told is read from the two
APIs, never assumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from contrail_vsphere.app.control_client import ControlClient
from contrail_vsphere.config.load import load
from contrail_vsphere.demo.plugin_story import PluginStory
from contrail_vsphere.demo.processes import Child, Children
from contrail_vsphere.demo.screen import Screen
from contrail_vsphere.demo.tale import Tale, workshop
from contrail_vsphere.demo.upgrade_story import UpgradeStory, rollout_policy
from contrail_vsphere.model.errors import ContrailVsphereError, NotConverged

CLUSTER = "C0"
NEWCOMER = "esx-new"
POLL = 0.25
"""Seconds between two looks; the demo runs in real time."""


async def tell(*, hosts: int, vms: int, once: bool, timeout: float, live: bool) -> dict[str, Any]:
    """Tell it and return the summary; ``NotConverged`` when it is not over within ``timeout`` seconds.

    With ``once`` all ends with the story, else it goes on until Ctrl-C or SIGTERM. Logs are kept when it fails.
    """
    with workshop("demo") as directory, Screen(live=live) as screen:
        screen.say(f"Simulated: vCenter, {hosts} ESXi hosts, Contrail. Real: ContrailVM Manager, plugin.")
        async with Children(directory) as children, aiohttp.ClientSession() as http:
            async with Tale(screen) as tale:
                teller = _Teller(directory, children, http, tale)
                summary = await tale.in_time(teller.story(hosts=hosts, vms=vms), timeout)
            if not once:
                await teller.stay()
    return summary


class _Teller:
    def __init__(self, directory: Path, children: Children, http: aiohttp.ClientSession, tale: Tale) -> None:
        self.directory = directory
        self.children = children
        self.http = http
        self.tale = tale
        self.step = tale.step
        self._first_green = 0.0
        self._healed = 0
        self.config = directory / "contrail-vsphere.toml"
        self.simulator: Child
        self.contrail: Child
        self.manager: Child
        self.control: ControlClient

    # -- the story ----------------------------------------------------------------------------------------------

    async def story(self, *, hosts: int, vms: int) -> dict[str, Any]:
        """All chapters. What needs no vCenter, or nobody's attention, is begun while others wait for guests to boot."""
        await self.set_up(hosts - 1, vms)
        plugin, upgrades = PluginStory(self), UpgradeStory(self, hosts=hosts)
        async with ControlClient(load(self.config, {}), role="operator") as self.control, plugin:
            await self.deploy(hosts - 1)
            await plugin.begin()
            await plugin.networks()
            await plugin.machines()
            upgrades.begin_ahead()
            await self.power_off()
            await self.delete()
            await plugin.replugged()
            await self.join(hosts)
            await self.maintenance()
            await upgrades.packages()
            await upgrades.upgrade()
            await upgrades.broken()
            await plugin.replugged()
            await plugin.vmotion()
            await plugin.passing()
            await self.until("everything has converged", lambda status: bool(status["converged"]))
            return await self.summary(hosts, plugin, upgrades)

    async def set_up(self, hosts: int, vms: int) -> None:
        """Simulators, package, registration, manager."""
        build = ("contrailvm", "package", "build", "--demo", "--out", str(self.directory / "packages"))
        package = self.tale.ahead(self.run(*build))
        contrail = self.tale.ahead(self.children.start("contrail", "simulate", "contrail"))
        with self.step(f"start a vCenter with {hosts} ESXi hosts and {vms} VMs, and a Contrail"):
            self.simulator = await self.children.start(
                "vcenter", "simulate", "vcenter", "--pace", "demo", "--hosts", str(hosts), "--vms", str(vms),
                "--ca-dir", str(self.directory / "vcenter-ca"),
            )  # fmt: skip
            self.contrail = await contrail
            self.write_settings()
        registered = self.tale.ahead(self.run("contrailvm", "register", "--config", str(self.config)))
        with self.step("build, verify and publish the ContrailVM package"):
            directory = (await package)["directory"]
            await self.run("contrailvm", "package", "publish", directory, "--config", str(self.config))
        with self.step("register the extension with vCenter, as an administrator, once"):
            await registered
        with self.step("start the ContrailVM Manager, which logs in by certificate"):
            self.manager = await self.children.start("manager", "run", "--config", str(self.config))

    async def deploy(self, hosts: int) -> None:
        """Hosts get their ContrailVM."""
        deployments = self.directory / "deployments.toml"
        deployments.write_text(DEPLOYMENT + rollout_policy(hosts + 1))
        with self.step(f"deploy to cluster {CLUSTER}: every host gets its ContrailVM"):
            await self.run("contrailvm", "apply", str(deployments), "--config", str(self.config))
            await self.until(f"{hosts} hosts are served", lambda status: len(_green(status)) == hosts)

    async def power_off(self) -> None:
        """A user powers a ContrailVM off."""
        unit = _green(await self.status())[0]
        with self.step(f"a user powers off {unit['vm_name']} on {unit['host_name']}"):
            await self.do("POST", f"/v1/vms/{unit['vm']}/power-off")
            await self.broken_then_healed(unit["host"])

    async def delete(self) -> None:
        """A user deletes a ContrailVM."""
        unit = _green(await self.status())[-1]
        with self.step(f"a user deletes {unit['vm_name']} on {unit['host_name']}"):
            await self.do("POST", f"/v1/vms/{unit['vm']}/power-off")
            await self.do("DELETE", f"/v1/vms/{unit['vm']}")
            await self.broken_then_healed(unit["host"])

    async def join(self, hosts: int) -> None:
        """A host joins the cluster."""
        with self.step(f"host {NEWCOMER} joins cluster {CLUSTER}"):
            await self.do("POST", "/v1/hosts", {"name": NEWCOMER, "cluster": CLUSTER})
            await self.until(f"{hosts} hosts are served", lambda status: len(_green(status)) == hosts)

    async def maintenance(self) -> None:
        """A host passes through maintenance."""
        unit = _green(await self.status())[0]
        name = unit["host_name"]
        with self.step(f"host {name} enters maintenance: its ContrailVM leaves last"):
            await self.do("POST", f"/v1/hosts/{unit['host']}/enter-maintenance")
            await self.until(
                f"{name} is in maintenance", lambda status: _unit(status, unit["host"])["state"] == "maintenance"
            )
        with self.step(f"host {name} comes back: its ContrailVM comes first"):
            await self.do("POST", f"/v1/hosts/{unit['host']}/exit-maintenance")
            await self.until(f"{name} is served again", lambda status: _is_green(_unit(status, unit["host"])))

    async def summary(self, hosts: int, plugin: PluginStory, upgrades: UpgradeStory) -> dict[str, Any]:
        """What was reached, counted by the other side where it can be."""
        status, stats = await self.status(), await self.do("GET", "/v1/stats")
        units = _units(status)
        calls: dict[str, int] = stats["calls"]
        found = {
            "hosts": len({unit["host"] for unit in units}),
            "agents_green": len(_green(status)),
            "agents_total": len(units),
            "healed": self._healed,
            "seconds": self.tale.watch.seconds(),
            "first_green_seconds": self._first_green,
            "vcenter_calls": sum(calls.values()) - plugin.visitor,
            **upgrades.summary(),
            **await plugin.summary(),
            "steps": self.tale.steps,
        }
        if found["hosts"] != hosts or found["agents_green"] != hosts:
            raise NotConverged(f"{found['agents_green']} of {hosts} hosts are served in the end")
        for line in _told(found):
            self.tale.screen.say(line)
        return found

    async def stay(self) -> None:
        """Go on showing the table, for whoever wants to try things, until a signal."""
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        self.tale.screen.say("It goes on until Ctrl-C. To try things, in another terminal:")
        self.tale.screen.say(f"  export CONTRAIL_VSPHERE_CONFIG={self.config}")
        self.tale.screen.say(f"  export CONTRAIL_VSPHERE_CONTROL_URL={self.simulator.ready['control_url']}")
        self.tale.screen.say("  contrail-vsphere contrailvm status; contrail-vsphere simulate control --help")
        async with ControlClient(load(self.config, {}), role="operator") as self.control:
            while not ended.is_set():
                await self.status()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), 1)

    # -- what the chapters use ----------------------------------------------------------------------------------

    async def run(self, *arguments: str) -> dict[str, Any]:
        """One of the product's commands, to its end."""
        return await self.children.call(*arguments, "--json")

    async def do(self, method: str, path: str, body: dict[str, Any] | None = None, *, url: str = "") -> Any:
        """A verb of a simulator's control port: of vCenter's when ``url`` names no other."""
        base = url or self.simulator.ready["control_url"]
        async with self.http.request(method, base + path, json=body) as response:
            if response.status >= 400:
                raise ContrailVsphereError(f"{method} {path}: {await response.text()}")
            return await response.json() if response.status != 204 else None

    async def status(self) -> dict[str, Any]:
        """The manager's own view, shown on the way."""
        if not self.manager.alive:
            raise ContrailVsphereError(f"the manager ended: {self.manager.last_words()}")
        document: dict[str, Any] = await self.control.get("/v1/status")
        self.tale.screen.show(document)
        if not self._first_green and _green(document):
            self._first_green = self.tale.watch.seconds()
        return document

    async def glance(self, obstacle: str) -> None:
        """Show how things stand, and remember what is waited for."""
        await self.status()
        self.tale.obstacle = obstacle

    async def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for it, and remember what it waits for and what keeps it from coming about."""
        self.tale.waits_for = what
        while not holds(status := await self.status()):
            self.tale.obstacle = _obstacle(status)
            await asyncio.sleep(POLL)
        self.tale.obstacle = ""

    async def broken_then_healed(self, host: str) -> None:
        """The damage must be seen before its repair counts."""
        await self.until("the damage is noticed", lambda status: not _is_green(_unit(status, host)))
        await self.until("the host is served again", lambda status: _is_green(_unit(status, host)))
        self._healed += 1

    def write_settings(self) -> None:
        """What an operator would write."""
        ready = self.simulator.ready
        url = urlsplit(ready["url"])
        tunnel_host, _, tunnel_port = ready["tunnel"].rpartition(":")
        password = self.directory / "vcenter.password"
        password.touch(mode=0o600)
        password.write_text(ready["password"])
        self.config.write_text(
            SETTINGS.format(
                host=url.hostname, port=url.port, username=ready["username"], password=password.name,
                ca=ready["ca_file"], tunnel_host=tunnel_host, tunnel_port=tunnel_port, data=self.directory / "data",
                address=_own_address(), contrail=self.contrail.ready["url"],
            )
        )  # fmt: skip


def _told(found: dict[str, Any]) -> tuple[str, ...]:
    """The summary in lines that fit 80 columns."""
    return (
        f"{found['agents_green']} of {found['agents_total']} ContrailVMs green, {found['healed']} healed, "
        f"{found['seconds']} s",
        f"upgraded to {found['upgraded_to']}, rolled back from {found['rolled_back']}; "
        f"vRouters down at a time: {found['most_dark']} at most",
        f"{found['networks']} networks, {found['ports_active']} ports active, "
        f"{found['vlan_conflicts']} VLAN conflicts, {found['moves']} moves",
        f"{found['vcenter_calls']} calls to vCenter, {found['contrail_calls']} to Contrail, "
        f"{found['vrouter_calls']} to VRouterAgents",
    )


def _units(status: dict[str, Any]) -> list[dict[str, Any]]:
    return [unit for each in status["deployments"] for unit in each["units"]]


def _unit(status: dict[str, Any], host: str) -> dict[str, Any]:
    return next((unit for unit in _units(status) if unit["host"] == host), {"state": "absent", "colour": None})


def _is_green(unit: dict[str, Any]) -> bool:
    return bool(unit["state"] == "healthy" and unit["colour"] == "green")


def _green(status: dict[str, Any]) -> list[dict[str, Any]]:
    return [unit for unit in _units(status) if _is_green(unit)]


def _obstacle(status: dict[str, Any]) -> str:
    """The first thing that is not as it should be, in the manager's words."""
    for unit in _units(status):
        if not _is_green(unit):
            words = unit.get("next") or unit.get("reason") or "no reason given"
            return f"{unit.get('host_name')} is {unit['state']}: {words}"
    reasons = [*status["problems"], *(each["reason"] for each in status["deployments"] if each["reason"])]
    return reasons[0] if reasons else "the manager says nothing"


def _own_address() -> str:
    """A loopback address that nobody else uses, so that the product's usual ports are free on it."""
    return f"127.{secrets.randbelow(250) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"


SETTINGS = """\
[vcenter.demo]
host = "{host}"
port = {port}
username = "{username}"
password_file = "{password}"
ca_file = "{ca}"
tunnel_host = "{tunnel_host}"
tunnel_port = {tunnel_port}

[manager]
data_dir = "{data}"

[publish]
listen = "{address}:8443"

[bootstrap]
listen = "{address}:8444"

[control]
listen = "{address}:8080"

[contrail]
servers = "{contrail}"
poll = 1.0

[plugin]
listen = "{address}:8234"
"""

DEPLOYMENT = f"""\
[deployment.demo]
clusters = ["{CLUSTER}"]
package = "1.0.0"
datastores = ["nfs-shared"]

[deployment.demo.networks]
management = "mgmt"
overlay = {{ switch = "dvs0" }}

[deployment.demo.guest]
controllers = ["127.0.0.1"]
"""
