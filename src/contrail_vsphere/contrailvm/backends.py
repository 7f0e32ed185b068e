"""EAM and vLCM behind one door: a plan says what is to be, and who keeps the ContrailVMs of a cluster does it.

Who that is shows in an agency's id, and is chosen once, when it is created (``plan.backend``). A cluster's agency moves
from EAM to vLCM by ``hand_over``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from contrail_vsphere.contrailvm.doors import AgencyCache, EamDoor, SystemVmDoor
from contrail_vsphere.model.eam import Agency, AgencyConfig, Backend, EamFeatures, VmHook
from contrail_vsphere.model.errors import InvalidState, NotFound
from contrail_vsphere.model.ids import AgencyId, ClusterId, EsxAgentId, HostId

SYSTEM_VM_IDS = "system-vm/"
"""How the ids of what vLCM keeps begin (``vsphere.system_vm.values``)."""
NOT_SET_UP = "the manager has no account for vCenter's REST API (rest_username in the settings)"


class Backends:
    """An ``AgencyDoor``. ``leave`` is asked before anything is written to vLCM; ``eam`` asks by itself."""

    def __init__(
        self, eam: EamDoor, system_vms: SystemVmDoor | None, *, leave: Callable[[], Awaitable[object]]
    ) -> None:
        self._eam = eam
        self._system_vms = system_vms
        self._leave = leave

    def no_system_vms(self, cluster: ClusterId) -> str | None:
        """Why vLCM cannot keep ContrailVMs in a cluster; empty when it can, None while that is not known."""
        return NOT_SET_UP if self._system_vms is None else self._system_vms.why_not(cluster)

    async def query_agencies(self, solution_id: str) -> tuple[Agency, ...]:
        """All agencies of ours, whoever keeps them."""
        kept = await self._system_vms.query_agencies(solution_id) if self._system_vms is not None else ()
        return (*await self._eam.query_agencies(solution_id), *kept)

    async def read_agency(self, agency: AgencyId) -> Agency:
        """One agency with its units; NotFound once it is gone."""
        return await self._of(agency).read_agency(agency)

    async def create_agency(self, config: AgencyConfig, backend: Backend) -> AgencyId:
        """Make one; vLCM does nothing on any host before ``apply``."""
        return await (self._eam if backend == "eam" else await self._writing()).create_agency(config)

    async def update_agency(self, agency: AgencyId, config: AgencyConfig) -> None:
        """Replace its configuration."""
        await (await self._write_to(agency)).update_agency(agency, config)

    async def apply(self, agency: AgencyId, hosts: Sequence[HostId]) -> None:
        """Have vLCM bring hosts to the configuration. Busy while it is at work in that cluster."""
        if not is_system_vm(agency):
            raise InvalidState(f"EAM needs no telling: {agency}")
        await (await self._writing()).apply(agency, hosts)

    async def resolve(self, agency: AgencyId, issue_keys: Sequence[int]) -> tuple[int, ...]:
        """Have issues remedied; returns the keys that cannot be now."""
        return await (await self._write_to(agency)).resolve(agency, issue_keys)

    async def release_hook(self, agent: EsxAgentId, hook: VmHook, *, well: bool = True) -> None:
        """Let it go on after a hook. Only vLCM can be told that its work did not go ``well``; EAM waits for ever."""
        if is_system_vm(agent):
            await (await self._writing()).mark_as_available(agent, hook, well=well)
        elif not well:
            raise InvalidState(f"EAM's hooks cannot be given up: {agent}")
        else:
            await self._eam.mark_as_available(agent)

    async def uninstall(self, agency: AgencyId) -> None:
        """Have all its VMs removed."""
        await (await self._write_to(agency)).uninstall(agency)

    async def destroy_agency(self, agency: AgencyId) -> None:
        """Remove what is left of it."""
        await (await self._write_to(agency)).destroy_agency(agency)

    async def hand_over(self, agency: AgencyId, config: AgencyConfig) -> AgencyId:
        """From EAM to vLCM; the VMs stay as they are."""
        return await (await self._writing()).take_over(agency, config)

    # -- inside -------------------------------------------------------------------------------------------------

    def _of(self, agency: AgencyId) -> EamDoor | SystemVmDoor:
        return self._known() if is_system_vm(agency) else self._eam

    async def _write_to(self, agency: AgencyId) -> EamDoor | SystemVmDoor:
        return await self._writing() if is_system_vm(agency) else self._eam

    async def _writing(self) -> SystemVmDoor:
        door = self._known()
        await self._leave()
        return door

    def _known(self) -> SystemVmDoor:
        if self._system_vms is None:
            raise NotFound(NOT_SET_UP)
        return self._system_vms


def is_system_vm(identity: str) -> bool:
    """Whether vLCM keeps that agency or EsxAgent."""
    return identity.startswith(SYSTEM_VM_IDS)


class Caches:
    """What EAM and vLCM last said, as one. Health is EAM's; ``trouble`` tells of vLCM, whose keys alone mind it."""

    def __init__(self, eam: AgencyCache, system_vms: AgencyCache | None) -> None:
        self._eam = eam
        self._system_vms = system_vms
        self._all = (eam,) if system_vms is None else (eam, system_vms)

    @property
    def error(self) -> str:
        """Why EAM did not answer the last time; empty when it did."""
        return self._eam.error

    @property
    def healthy(self) -> bool:
        """All of EAM's agencies were read, and it answered the last time."""
        return self._eam.healthy

    @property
    def trouble(self) -> str:
        """Why vLCM cannot be judged; empty when it can, or has no part in it."""
        if self._system_vms is None or self._system_vms.healthy:
            return ""
        error = self._system_vms.error
        return f"vLCM does not answer: {error}" if error else "the System VMs of vLCM are being read"

    @property
    def whole_reads(self) -> int:
        """How often everything that EAM keeps was read; a vLCM that is away delays nothing."""
        return self._eam.whole_reads

    @property
    def agencies(self) -> Mapping[AgencyId, Agency]:
        """As last read."""
        return {identity: agency for each in self._all for identity, agency in each.agencies.items()}

    @property
    def features(self) -> EamFeatures:
        """What this EAM can do; vLCM can do all of it."""
        return self._eam.features

    def subscribe(self, subscriber: Callable[[AgencyId, Agency | None, Agency | None], None]) -> Callable[[], None]:
        """Be told of every read; returns the way to stop."""
        stops = [each.subscribe(subscriber) for each in self._all]

        def stop() -> None:
            for each in stops:
                each()

        return stop

    def nudge(self, agency: AgencyId | None = None) -> None:
        """Read an agency (None: all) very soon."""
        for each in self._all if agency is None else (self._of(agency),):
            each.nudge(agency)

    def hint(self, host: HostId | None = None) -> None:
        """Read very soon what a happening on a host (None: somewhere) may have changed."""
        for each in self._all:
            each.hint(host)

    def fold(self, agency: Agency) -> None:
        """Take in an agency that was read on the way."""
        self._of(agency.id).fold(agency)

    def _of(self, agency: AgencyId) -> AgencyCache:
        return self._system_vms if self._system_vms is not None and is_system_vm(agency) else self._eam
