"""Several plugins of different scopes over one vCenter and one Contrail, on virtual time."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from plugin_stand import PluginStand

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.contrail.notifications import BusNotifications
from contrail_vsphere.contrail.vrouter_agent import VRouterAgentClient
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.engine.leader import AlwaysLeader
from contrail_vsphere.vcenter_plugin.desired import Scope
from contrail_vsphere.vcenter_plugin.plugin import EVENTS, VCenterPlugin
from contrail_vsphere.vsphere.told import folded_vms
from contrail_vsphere.vsphere.vcenter import VCenter


class ScopedStand(PluginStand):
    """``scopes``: a plugin for each, by name. ``stop`` ends one as a crash does, ``begin`` starts it again."""

    def __init__(self, directory: Path, scopes: dict[str, Scope], **options: Any) -> None:
        super().__init__(directory, **{"linger": 2.0, **options})
        self.scopes = scopes
        self.plugins: dict[str, VCenterPlugin] = {}
        self._stacks: dict[str, AsyncExitStack] = {}

    async def resume(self) -> None:
        for name in self.scopes:
            await self.begin(name)

    async def crash(self) -> None:
        for name in tuple(self.plugins):
            await self.stop(name)

    async def begin(self, name: str) -> VCenterPlugin:
        scope = self.scopes[name]
        async with AsyncExitStack() as stack:
            journal = stack.enter_context(Journal(self.directory / f"{name}.db", now=self.now))
            http = await stack.enter_async_context(aiohttp.ClientSession())
            client = VCenter(
                *self._access(), now=self.now, random=random.Random(name), hosts=scope.hosts, vms=folded_vms
            )
            await stack.enter_async_context(client)
            api = ConfigApi([self.contrail.ready["url"]], random=random.Random(name), rate=100_000)
            await stack.enter_async_context(api)
            inventory = ContrailInventory(api, BusNotifications(self.contrail.bus), random=random.Random(name))
            client.inventory.start()
            client.events.start(EVENTS)
            inventory.start()
            stack.push_async_callback(inventory.stop)
            plugin = VCenterPlugin(
                vcenter=client,
                contrail=inventory,
                api=api,
                agents=VRouterAgentClient(http),
                introspect=Introspect(http),
                directory=lambda: [
                    entry for entry in self.directory_of_hosts() if not scope.hosts or entry.name in scope.hosts
                ],
                journal=journal,
                leader=AlwaysLeader(),
                health=HealthBook(self.now),
                now=self.now,
                random=random.Random(name),
                options=replace(self.options, scope=scope),
            )
            await plugin.start()
            stack.push_async_callback(plugin.stop, 0.01)
            self.plugins[name] = plugin
            self._stacks[name] = stack.pop_all()
        return plugin

    def more_vlans(self, name: str, vlan: int) -> None:
        """One that the settings reserved may be given out by a plugin after all."""
        table = self.plugins[name].vlans
        table._reserved &= ~(1 << vlan)

    async def stop(self, name: str) -> None:
        del self.plugins[name]
        await self._stacks.pop(name).aclose()

    def served(self, vm: Any) -> bool:
        """Open on a VLAN of its own, by which the VRouterAgent of its host, and no other, knows it."""
        ports = self.ports(vm)
        if len(ports) != 1 or not self.is_open(ports[0]) or ports[0].proxy_host is not vm.host:
            return False
        found = [
            (host.moid, each)
            for host in self.vcenter.scenario.hosts()
            for each in self.plugged(host).values()
            if each.mac == vm.nics[0].mac
        ]
        return len(found) == 1 and found[0][0] == vm.host.moid and found[0][1].rx_vlan == self.vlan(ports[0])

    def describe(self) -> str:
        return "\n".join(
            f"{name}: {state.vm} {state.id.nic}: {state.state} {state.reason}"
            for name, plugin in self.plugins.items()
            for state in plugin.controller.ports()
        )
