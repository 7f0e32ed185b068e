"""What EAM does about VIBs: on a host directly, through Update Manager before 7.0, or through its cluster's image.

A bundle is downloaded once and kept, as the appliance does. In a cluster that vLCM manages by an image EAM only hands
the bundle over; the VIBs arrive when somebody remediates the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.simulator.core.faults import FaultBook
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.eam.events import agent_event
from contrail_vsphere.simulator.eam.failures import VibError
from contrail_vsphere.simulator.eam.fetch import FetchError
from contrail_vsphere.simulator.eam.host_image import HostImage
from contrail_vsphere.simulator.eam.issues import Draft
from contrail_vsphere.simulator.eam.observation import REMOVAL
from contrail_vsphere.simulator.eam.worker import USER
from contrail_vsphere.simulator.vcenter import host_life
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.vib import bundle as vib_bundle

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.service import EamService
    from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
    from contrail_vsphere.wire.vib.bundle import Bundle, Vib

Changes = dict[str, Any]
BLOCKED: Final = Draft("personality.agent.BlockedByAgencyOperation")
POINTS: Final = {
    "eam.vum": "integrity.agency.VUMUnavailable",
    "eam.vum.stage": "integrity.agency.CannotStageSoftware",
    "eam.vum.delete": "integrity.agency.CannotDeleteSoftware",
    "eam.pm": "personality.agency.PMUnavailable",
    "eam.pm.upload": "personality.agency.CannotUploadDepot",
    "eam.pm.configure": "personality.agency.CannotConfigureSolutions",
}
"""Point of the fault book at which Update Manager or vLCM can fail -> the issue that the agency gets."""


class VibWork:
    """The operations ``install-vib``, ``remove-vib`` and ``leave-maintenance`` of ``machine``."""

    def __init__(self, service: EamService) -> None:
        self._service = service
        self._world = service.world
        self._bundles: dict[str, Bundle] = {}

    async def install(self, agent: EsxAgent) -> Changes:
        """Bring the VIBs of the configured bundle onto the host. VibError says which issue it becomes otherwise."""
        entry = agent.entry
        url = str(entry.vibUrl)
        await self._point("eam.vib", agent)
        if agent.host.compute_resource.image_managed:
            return await self._hand_over(agent, url, (await self._depot(agent, url, entry.vibSslTrust)).vibs)
        await self._update_manager(agent, "eam.vum.stage")
        bundle = await self._bundle(url, entry.vibSslTrust)
        image = self._image(agent)
        self._check(agent, image, bundle)
        await self._world.clock.sleep(self._world.service(Timing).vib)
        staged = any(not vib.live_install for vib in bundle.vibs if not image.has(vib))
        dropped = self._only_here(agent, [vib for vib in agent.vibs if vib.name not in {v.name for v in bundle.vibs}])
        with self._world.commit(USER) as tx:
            self._change(tx, image, put=bundle.vibs, drop=dropped, staged=staged)
            tx.set(agent, vibs=bundle.vibs, vib_url=url, bulletins=bundle.bulletins, vib_staged=staged)
            agent_event(tx, agent, "agent.task.vibInstalled", f"VIBs of {url} are installed on {agent.host.name}")
        return {}

    async def remove(self, agent: EsxAgent) -> Changes:
        """Take the VIBs off the host again, those that no other EsxAgent brought too."""
        await self._point("eam.vib", agent)
        if agent.host.compute_resource.image_managed:
            return await self._hand_over(agent, REMOVAL, ())
        await self._update_manager(agent, "eam.vum.delete")
        image, vibs = self._image(agent), self._only_here(agent, agent.vibs)
        if image.stateless:
            raise VibError(Draft("VibRequiresManualUninstallation", {"bulletin": _bulletins(agent.bulletins, vibs)}))
        self._check_host(agent, image, vibs)
        await self._world.clock.sleep(self._world.service(Timing).vib)
        entry = agent.entry
        staged = any(not vib.live_remove for vib in vibs) or bool(entry and entry.rebootHostAfterVibUninstall)
        with self._world.commit(USER) as tx:
            self._change(tx, image, put=(), drop=vibs, staged=staged)
            tx.set(agent, vibs=(), vib_url="", bulletins=(), vib_staged=staged)
            agent_event(tx, agent, "agent.task.vibUninstalled", f"VIBs are removed from {agent.host.name}")
        return {}

    async def leave_maintenance(self, agent: EsxAgent) -> Changes:
        """Take the host out of maintenance mode; waiting for EsxAgents to come up is the host's task, not ours."""
        host, image = agent.host, self._image(agent)
        await self._point("eam.exit_maintenance", agent)
        with self._world.commit(USER) as tx:
            tx.set(image, entered_by_eam=False)
        leaving = asyncio.ensure_future(host_life.exit_maintenance(self._world, host, user=USER))
        self._service.background(_wait(leaving), f"exit maintenance of {host.name}")
        while host.in_maintenance and not leaving.done():
            changed = asyncio.ensure_future(self._world.changed_after(self._world.seq))
            await asyncio.wait((leaving, changed), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
        if leaving.done() and not leaving.cancelled():
            leaving.result()
        return {}

    def remediate(self, cluster: ComputeResource, *, user: str) -> None:
        """Somebody remediates a cluster's image: what EAM handed over is on the hosts now."""
        agents = [agent for host in cluster.hosts for agent in self._service.agents_on(host) if agent.vib_submitted]
        with self._world.commit(user) as tx:
            for agent in agents:
                image = HostImage.ensure(tx, agent.host)
                names = {vib.name for vib in agent.vib_pending}
                image.replace(tx, put=agent.vib_pending, drop=[vib for vib in agent.vibs if vib.name not in names])
                url = "" if agent.vib_submitted == REMOVAL else agent.vib_submitted
                tx.set(agent, vibs=agent.vib_pending, vib_url=url, vib_submitted="", vib_pending=())
        for agent in agents:
            self._service.mark(agent)

    # -- the ways -----------------------------------------------------------------------------------------------

    async def _update_manager(self, agent: EsxAgent, step: str) -> None:
        if not self._service.profile.uses_update_manager or agent.config.bypassVumEnabled:
            return
        for point in ("eam.vum", step):
            await self._agency_point(point, agent)

    async def _depot(self, agent: EsxAgent, url: str, trust: Any) -> Bundle:
        for point in ("eam.pm", "eam.pm.upload"):
            await self._agency_point(point, agent, remoteDepotUrl=url, localDepotUrl=f"/eam/depot/{agent.agency.moid}")
        try:
            return await self._load(url, trust)
        except FetchError as error:
            draft = Draft("personality.agency.InaccessibleDepot", {"remoteDepotUrl": url})
            raise VibError(BLOCKED, agency=draft) from error
        except PackageError as error:
            raise VibError(BLOCKED, agency=Draft("personality.agency.InvalidDepot", {"remoteDepotUrl": url})) from error

    async def _hand_over(self, agent: EsxAgent, url: str, vibs: tuple[Vib, ...]) -> Changes:
        await self._agency_point("eam.pm.configure", agent, cr=agent.host.compute_resource.ref)
        return {"vib_submitted": url, "vib_pending": vibs}

    async def _bundle(self, url: str, trust: Any) -> Bundle:
        try:
            return await self._load(url, trust)
        except FetchError as error:
            if error.reason == "untrusted":
                raise
            raise VibError(Draft("CannotAccessAgentVib", {"downloadUrl": error.url})) from error
        except PackageError as error:
            raise VibError(Draft("VibInvalidFormat")) from error

    async def _load(self, url: str, trust: Any) -> Bundle:
        if url not in self._bundles:
            data = await self._service.fetcher.read(url, trust, limit=vib_bundle.LARGEST_BUNDLE)
            self._bundles[url] = vib_bundle.parse(data)
        return self._bundles[url]

    # -- the host -----------------------------------------------------------------------------------------------

    def _image(self, agent: EsxAgent) -> HostImage:
        known = HostImage.of(self._world, agent.host)
        if known is not None:
            return known
        with self._world.commit(USER) as tx:
            return HostImage.ensure(tx, agent.host)

    def _check(self, agent: EsxAgent, image: HostImage, bundle: Bundle) -> None:
        least = self._service.profile.images_only_from
        by_image = bool(least) and vib_bundle.version_key(agent.host.version) >= vib_bundle.version_key(least)
        if image.stateless or by_image:
            bulletins = _bulletins(bundle.bulletins, bundle.vibs)
            raise VibError(Draft("VibRequiresManualInstallation", {"bulletin": bulletins}))
        coming = [vib for vib in bundle.vibs if not image.has(vib)]
        if image.refused(coming):
            raise VibError(Draft("VibNotInstalled"))
        if image.unfit(coming):
            raise VibError(Draft("VibRequirementsNotMetByHost"))
        if image.unmet(coming):
            raise VibError(Draft("VibDependenciesNotMetByHost"))
        self._check_host(agent, image, coming)

    def _check_host(self, agent: EsxAgent, image: HostImage, vibs: Iterable[Vib]) -> None:
        """Whether the host is in a state to change these."""
        changing = list(vibs)
        if changing and image.reboot_required:
            raise VibError(Draft("ImmediateHostRebootRequired"))
        if any(vib.maintenance_mode for vib in changing) and not agent.host.in_maintenance:
            raise VibError(Draft("VibRequiresHostInMaintenanceMode"))

    def _only_here(self, agent: EsxAgent, vibs: Iterable[Vib]) -> tuple[Vib, ...]:
        others = {vib.name for item in self._service.agents_on(agent.host) if item is not agent for vib in item.vibs}
        return tuple(vib for vib in vibs if vib.name not in others)

    def _change(
        self, tx: Transaction, image: HostImage, *, put: Iterable[Vib], drop: Iterable[Vib], staged: bool
    ) -> None:
        image.replace(tx, put=put, drop=drop)
        if staged:
            tx.set(image, staged_at=self._world.clock.now())

    # -- injected failures --------------------------------------------------------------------------------------

    async def _point(self, name: str, agent: EsxAgent) -> None:
        effect = self._world.service(FaultBook).point(name, agent, host=agent.host.name, agency=agent.agency.name)
        if effect is not None:
            await effect.apply(self._world.clock)

    async def _agency_point(self, name: str, agent: EsxAgent, **fields: Any) -> None:
        try:
            await self._point(name, agent)
        except SoapFault as error:
            raise VibError(BLOCKED, agency=Draft(POINTS[name], fields)) from error


def _bulletins(known: Iterable[str], vibs: Iterable[Vib]) -> list[str]:
    """The field is required and may not be empty on the wire."""
    return list(known) or [vib.id for vib in vibs]


async def _wait(task: asyncio.Future[None]) -> None:
    """Its outcome is looked at where it was started."""
    await asyncio.wait((task,))
