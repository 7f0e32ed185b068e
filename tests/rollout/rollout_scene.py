"""A scene with packages to upgrade to, and eyes on what tenants would notice: who forwards, host by host."""

from __future__ import annotations

import asyncio

from scene import Scene

from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.contrailvm.rollout.upgrades import UpgradeWish
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent

DEPLOYMENT = """
[deployment.dc1]
clusters = {clusters}
package = "{{version}}"
datastores = ["nfs-shared"]
[deployment.dc1.networks]
management = "mgmt"
overlay = {{{{ switch = "dvs0" }}}}
[deployment.dc1.guest]
controllers = ["127.0.0.1"]
[deployment.dc1.repair]
hook_deadline = 120
[deployment.dc1.rollout]
deadline = 300
{rollout}
"""


class RolloutScene(Scene):
    """``rollout``: lines of the deployment's rollout table; ``versions`` are published besides 1.0.0."""

    def __init__(self, directory, *, rollout="gate = 20", versions=("1.1.0", "1.2.0"), clusters=1, **options):
        names = "[" + ", ".join(f'"C{number}"' for number in range(clusters)) + "]"
        self.text = DEPLOYMENT.format(clusters=names, rollout=rollout)
        super().__init__(directory, text=self.text, clusters=clusters, **options)
        self._versions = versions
        self.dark: dict[str, float] = {}
        """Host -> seconds for which it was in service without a forwarding vRouter, since ``begin_watch``."""
        self.most_dark = 0
        self.turns: list[str] = []
        """Hosts in the order in which their old ContrailVM went away."""
        self._watcher = None

    async def __aenter__(self):
        await super().__aenter__()
        for version in self._versions:
            await self.publisher.publish(make_demo_package(self.directory / f"build-{version}", version=version))
        return self

    async def __aexit__(self, *exc):
        if self._watcher is not None:
            self._watcher.cancel()
        await super().__aexit__(*exc)

    # -- verbs --------------------------------------------------------------------------------------------------

    async def upgrade(self, to, *, dry_run=False, **wish):
        wish = UpgradeWish(deployment="dc1", to=to, **wish)
        return await self.manager.operator.upgrades.upgrade(wish, by="tester", dry_run=dry_run)

    def break_package(self, version) -> int:
        """ContrailVMs made from it never get a controller."""
        return self.vcenter.faults.add(FaultRule(point="vrouter.connect", where={"version": version}, drop=True))

    # -- what is true in the simulated vCenter --------------------------------------------------------------------

    def version_on(self, host) -> str:
        """Of the package that the running ContrailVM of a host was made from."""
        vm = next((v for v in self.contrailvms() if v.host.name == host and v.power_state == "poweredOn"), None)
        return vm.product_version if vm is not None else ""

    def versions(self) -> dict[str, str]:
        return {host.name: self.version_on(host.name) for host in self.in_service()}

    def all_on(self, version) -> bool:
        return self.healed() and set(self.versions().values()) == {version}

    def forwards_now(self, host) -> bool:
        for vm in self.contrailvms():
            agent = self.vcenter.vrouters.agents.get(vm.moid)
            running = vm.host is not None and vm.host.name == host and vm.power_state == "poweredOn"
            if running and agent is not None and agent.forwards:
                return True
        return False

    def phases(self) -> dict[str, str]:
        return {each.host.name: str(each.phase) for each in self.world.of_type(EsxAgent)}

    def waiting(self) -> set[str]:
        """Hosts whose new ContrailVM stands beside the old one."""
        return {host for host, phase in self.phases().items() if phase == "upgrade-provisioned"}

    # -- watching -------------------------------------------------------------------------------------------------

    def begin_watch(self, *, every=1.0) -> None:
        """From now on, at such intervals in seconds: who does not forward."""
        self.dark, self.most_dark, self.turns = {}, 0, []
        self._watcher = asyncio.create_task(self._look(every))
        self.world.observe(self._turn_seen)

    async def _look(self, every) -> None:
        while True:
            dark = [host.name for host in self.in_service() if not self.forwards_now(host.name)]
            self.most_dark = max(self.most_dark, len(dark))
            for name in dark:
                self.dark[name] = self.dark.get(name, 0.0) + every
            await asyncio.sleep(every)

    def _turn_seen(self, _done) -> None:
        for host, phase in self.phases().items():
            if phase in ("old-off", "old-delete") and (not self.turns or self.turns[-1] != host):
                self.turns.append(host)

    def rollout(self):
        """The journal's newest rollout of the deployment."""
        return self.manager.notebook.rollouts.get("dc1")

    def turns_open(self) -> set[str]:
        """Hosts that have a turn now."""
        names = {each.moid: each.name for each in self.in_service()}
        return {names[turn.host] for turn in self.rollout().turns}

    def over(self) -> bool:
        rollout = self.rollout()
        return rollout is not None and not rollout.active and self.converged()
