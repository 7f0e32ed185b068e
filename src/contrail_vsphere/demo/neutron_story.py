"""The Neutron story: three tiers on two vCenters, what may talk to what, and a worker that dies.

Real here: Neutron, MariaDB, the driver, the workers. Stand-ins: the vCenters (simulated, in this process, so that the
packet oracle can look at their hosts) and nova (the story plugs cards itself, from the port's binding as nova does).
"""

from __future__ import annotations

import asyncio
import signal
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from contrail_vsphere.demo.neutron_lab import NeutronLab, check_machine, ini
from contrail_vsphere.demo.neutron_site import NeutronSite
from contrail_vsphere.demo.screen import Screen
from contrail_vsphere.demo.tale import Tale, workshop
from contrail_vsphere.model.errors import ContrailVsphereError

VCENTERS: Final = ("vC1", "vC2")
TIERS: Final = {"web": "10.1.0.0/24", "app": "10.2.0.0/24", "db": "10.3.0.0/24"}
SERVES: Final = {"web": 80, "app": 8080, "db": 3306}
CLIENT_OF: Final = {"app": "web", "db": "app"}
LEASE_SECONDS: Final = 4


async def tell(*, once: bool, timeout: float, live: bool) -> dict[str, Any]:
    """Tell it and return the summary; ``NotConverged`` when it is not over within ``timeout`` seconds."""
    check_machine()
    with workshop("neutron") as directory, Screen(live=live) as screen:
        screen.say("Real: Neutron, MariaDB, driver and workers. Stand-ins: two vCenters, and nova.")
        async with NeutronLab(directory) as lab, AsyncExitStack() as stack:
            tale = Tale(screen)
            summary = await tale.in_time(_Teller(lab, stack, tale).story(), timeout)
            if not once:
                screen.say(f"Neutron goes on at {lab.url}v2.0 until Ctrl-C")
                await asyncio.Event().wait()
    return summary


class _Teller:
    def __init__(self, lab: NeutronLab, stack: AsyncExitStack, tale: Tale) -> None:
        self._lab, self._stack, self._tale = lab, stack, tale
        self._sites: dict[str, NeutronSite] = {}
        self._groups: dict[str, Any] = {}
        self._ports: dict[str, Any] = {}
        self._api: Any = None
        self._said: list[dict[str, Any]] = []

    async def story(self) -> dict[str, Any]:
        """All chapters."""
        await self._set_up()
        await self._tiers()
        await self._plug()
        await self._who_reaches_whom()
        await self._change_a_rule()
        await self._kill_a_worker()
        return {
            "ok": True,
            "seconds": self._tale.watch.seconds(),
            "steps": self._tale.steps,
            "verdicts": self._said,
            "port_groups": {name: site.groups_of_ours() for name, site in self._sites.items()},
        }

    # -- chapters -----------------------------------------------------------------------------------------------

    async def _set_up(self) -> None:
        with self._tale.step(f"two simulated vCenters: {', '.join(VCENTERS)}"):
            for name in VCENTERS:
                self._sites[name] = await self._stack.enter_async_context(NeutronSite(name))
        with self._tale.step("MariaDB, with Neutron's tables and the driver's"):
            await self._lab.database()
            self._lab.write(_settings())
            await self._lab.migrate()
        with self._tale.step("Neutron's API with mechanism_drivers = openvswitch,vmware_dvs"):
            await self._lab.api()
            self._api = await asyncio.to_thread(connect, self._lab.url)
        with self._tale.step("a worker per vCenter; on controllers Pacemaker starts them"):
            self._workers = {name: await self._worker(name) for name in VCENTERS}

    async def _tiers(self) -> None:
        with self._tale.step("networks web, app and db behind a router, made through Neutron's API"):
            router = await self._ask("create_router", name="tiers", project_id="demo")
            for tier, cidr in TIERS.items():
                network = await self._ask("create_network", name=tier, project_id="demo")
                subnet = await self._ask(
                    "create_subnet", network_id=network.id, cidr=cidr, ip_version=4, project_id="demo"
                )
                await self._ask("add_interface_to_router", router, subnet_id=subnet.id)
                self._groups[tier] = await self._ask("create_security_group", name=tier, project_id="demo")
                await self._until(partial(self._everywhere, network.id), f"a port group for {tier} on both vCenters")
                self._ports[f"net-{tier}"] = network
        with self._tale.step("security groups: everybody may ask web, web may ask app, app may ask db"):
            await self._allow("web", remote_ip_prefix="0.0.0.0/0")
            for tier, client in CLIENT_OF.items():
                await self._allow(tier, remote_group_id=self._groups[client].id)

    async def _plug(self) -> None:
        with self._tale.step(
            "a VM of each tier on each vCenter, with a fixed address, ACTIVE once its rules are there"
        ):
            for number, vcenter in enumerate(VCENTERS):
                for tier, cidr in TIERS.items():
                    address = cidr.replace("0/24", str(11 + number))
                    await self._boot(vcenter, tier, f"{tier}-{vcenter}", address)
        with self._tale.step("an edge VM on each vCenter routes between the tiers; its ports have no port security"):
            for number, vcenter in enumerate(VCENTERS):
                for tier, cidr in TIERS.items():
                    address = cidr.replace("0/24", str(101 + number))
                    await self._boot(vcenter, tier, f"edge-{vcenter}", address, open_=True)

    async def _who_reaches_whom(self) -> None:
        with self._tale.step("the packet oracle: web reaches app, app reaches db, web does not reach db"):
            for vcenter in VCENTERS:
                self._expect(vcenter, "web", "app", SERVES["app"], arrives=True)
                self._expect(vcenter, "app", "db", SERVES["db"], arrives=True)
                self._expect(vcenter, "web", "db", SERVES["db"], arrives=False)
                self._expect(vcenter, "web", "app", 22, arrives=False)

    async def _change_a_rule(self) -> None:
        with self._tale.step("a new rule lets web log in to app; it shows on the DVPorts"):
            before = {vcenter: self._rules(vcenter) for vcenter in VCENTERS}
            await self._allow("app", port=22, remote_group_id=self._groups["web"].id)
            await self._until(
                lambda: all(self._asked(vcenter, "web", "app", 22).delivered for vcenter in VCENTERS), "port 22 is open"
            )
            for vcenter in VCENTERS:
                had, has = before[vcenter], self._rules(vcenter)
                self._tale.screen.say(f"  {vcenter}: app's DVPort had {had} rules and has {has}")
                self._expect(vcenter, "web", "app", 22, arrives=True)

    async def _kill_a_worker(self) -> None:
        with self._tale.step("the worker of vC1 is killed, a network is made meanwhile, another worker goes on"):
            self._workers["vC1"].send_signal(signal.SIGKILL)
            await self._workers["vC1"].wait()
            late = await self._ask("create_network", name="late", project_id="demo")
            await self._until(lambda: self._sites["vC2"].group_of(late.id), "vC2 has it: its worker was not disturbed")
            self._workers["vC1"] = await self._worker("vC1")
            await self._until(lambda: self._sites["vC1"].group_of(late.id), "vC1 has it too")
            self._expect("vC1", "web", "app", SERVES["app"], arrives=True)

    # -- parts --------------------------------------------------------------------------------------------------

    def _everywhere(self, network_id: str) -> bool:
        return all(site.group_of(network_id) is not None for site in self._sites.values())

    async def _worker(self, vcenter: str) -> asyncio.subprocess.Process:
        secret, settings = self._lab.directory / f"{vcenter}.password", self._lab.directory / f"{vcenter}.ini"
        site = self._sites[vcenter]
        secret.touch(mode=0o600)
        secret.write_text(site.ready["password"] + "\n")
        settings.write_text(ini({"ml2_vmware": {
            "vcenter": vcenter, "vsphere_hostname": site.host, "host_port": str(site.port),
            "vsphere_login": site.ready["username"], "vsphere_password_file": str(secret),
            "ca_file": site.ready["ca_file"], "lease_seconds": str(LEASE_SECONDS),
        }}))  # fmt: skip
        return await self._lab.worker(vcenter, settings)

    async def _boot(self, vcenter: str, tier: str, name: str, address: str, *, open_: bool = False) -> None:
        security: dict[str, Any] = (
            {"port_security_enabled": False, "security_groups": []}
            if open_
            else {"security_groups": [self._groups[tier].id]}
        )
        port = await self._ask(
            "create_port", name=name, network_id=self._ports[f"net-{tier}"].id, project_id="demo",
            device_owner="compute:nova", binding_host_id=f"compute-{vcenter}", fixed_ips=[{"ip_address": address}],
            **security,
        )  # fmt: skip
        await self._sites[vcenter].plug(name, tier, port.mac_address, address, port.binding_vif_details)

        async def active() -> bool:
            return bool((await self._ask("get_port", port.id)).status == "ACTIVE")

        await self._until(active, f"port {name} is ACTIVE")

    async def _allow(self, tier: str, *, port: int = 0, **remote: Any) -> None:
        number = port or SERVES[tier]
        await self._ask(
            "create_security_group_rule", security_group_id=self._groups[tier].id, direction="ingress",
            ether_type="IPv4", protocol="tcp", port_range_min=number, port_range_max=number, project_id="demo",
            **remote,
        )  # fmt: skip

    def _asked(self, vcenter: str, source: str, target: str, port: int) -> Any:
        return self._sites[vcenter].routed(f"{source}-{vcenter}", f"{target}-{vcenter}", f"edge-{vcenter}", port)

    def _expect(self, vcenter: str, source: str, target: str, port: int, *, arrives: bool) -> None:
        verdict = self._asked(vcenter, source, target, port)
        self._said.append({
            "vcenter": vcenter, "from": source, "to": target, "port": port, "delivered": verdict.delivered,
            "reason": verdict.reason,
        })  # fmt: skip
        self._tale.screen.say(
            f"  {vcenter}: {source} to {target}:{port} {'arrives' if verdict.delivered else 'does not arrive'}"
            f" ({verdict.reason})"
        )
        if verdict.delivered is not arrives:
            raise ContrailVsphereError(f"{source} to {target}:{port} on {vcenter}: {verdict.reason}")

    def _rules(self, vcenter: str) -> int:
        return self._sites[vcenter].rules_of(f"app-{vcenter}", "app")

    async def _ask(self, method: str, *arguments: Any, **fields: Any) -> Any:
        return await asyncio.to_thread(getattr(self._api, method), *arguments, **fields)

    async def _until(self, holds: Callable[[], Any | Awaitable[Any]], words: str) -> None:
        self._tale.waits_for = words
        while True:
            found = holds()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.2)


def _settings() -> dict[str, dict[str, str]]:
    maps = {
        f"vmware_dvs:{name}": {"host_map": f"compute-{name}:cluster-0", "switch_map": "physnet1:dvs0"}
        for name in VCENTERS
    }
    return {"vmware_dvs": {"vcenters": ",".join(VCENTERS), "cloud_id": "demo-cloud"}, **maps}


def connect(url: str) -> Any:
    """Neutron's API through openstacksdk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openstacksdk's, about its own next versions
        import openstack

        cloud = openstack.connection.Connection(auth_type="none", auth={"endpoint": url}, network_endpoint_override=url)
        return cloud.network
