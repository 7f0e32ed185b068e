"""System VMs as agencies: what ``vsphere.eam.client`` is for EAM, over vLCM's REST API.

A solution has effect on a host only when it is applied there. An apply is one operation per cluster: while its hosts
are at work, hooks included, any other is refused, which is ``Busy`` here. Nothing is cached but which clusters have no
System VMs; ``cache`` keeps what was read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from contrail_vsphere.model.eam import Agency, AgencyConfig, EamFeatures, Issue, VmHook
from contrail_vsphere.model.errors import Busy, InvalidArgument, InvalidState, NotFound
from contrail_vsphere.model.ids import AgencyId, ClusterId, EsxAgentId, HostId
from contrail_vsphere.model.inventory import Cluster
from contrail_vsphere.vsphere.eam.cache import EamCache
from contrail_vsphere.vsphere.system_vm import values
from contrail_vsphere.vsphere.system_vm.rest import RestSession
from contrail_vsphere.wire.system_vm import codec, paths
from contrail_vsphere.wire.system_vm.spec import (
    ApplySpec,
    CheckComplianceSpec,
    EnableSpec,
    HostFilter,
    LifecycleState,
    ProcessedHookSpec,
)
from contrail_vsphere.wire.system_vm.state import ClusterCompliance, DeploymentInfo, SolutionInfo, SolutionList

READ_DEADLINE = 60.0
SET_DEADLINE = 300.0
"""Seconds for the calls in which vLCM may fetch our OVF before it answers."""
ACCEPTED_WITHIN = 2.0
"""Seconds an apply is watched: one that vLCM refuses ends at once, one that it begins may take hours."""
ASK_AGAIN = 120.0
"""Seconds until a cluster that had no System VMs is asked again: an administrator may have given it an image."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Unable:
    """A cluster without System VMs: why, and when it is asked again (loop time)."""

    why: str
    until: float


class SystemVmClient:
    """The solutions of ours in all clusters of a vCenter.

    ``clusters`` are those of the inventory, or a TransientError while they are not in view; ``mine`` tells whether a
    solution's name bears our mark; ``supported`` whether this vCenter is new enough. ``solution_id`` is whose the
    agencies are said to be.
    """

    def __init__(
        self,
        rest: RestSession,
        *,
        solution_id: str,
        clusters: Callable[[], Mapping[ClusterId, Cluster]],
        mine: Callable[[str], bool],
        supported: Callable[[], bool] = lambda: True,
    ) -> None:
        self._rest = rest
        self._solution_id = solution_id
        self._clusters = clusters
        self._mine = mine
        self._supported = supported
        self._unable: dict[ClusterId, _Unable] = {}
        self._asked: set[ClusterId] = set()
        self._known: dict[ClusterId, set[str]] = {}
        """Solutions of ours as last seen: one that is deleted is not listed any more, though its VMs may be there."""
        self._cache = EamCache(self, solution_id=solution_id, name="vLCM")

    @property
    def cache(self) -> EamCache:
        """What was read last; it begins to read when it is started."""
        return self._cache

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each call was made, by its name."""
        return self._rest.calls

    async def close(self) -> None:
        """Stop reading, log out."""
        await self._cache.stop()
        await self._rest.close()

    @property
    def features(self) -> EamFeatures:
        """All that the newest EAM can do."""
        return EamFeatures()

    def why_not(self, cluster: ClusterId) -> str | None:
        """Why the cluster cannot have System VMs; empty when it can, None while that is not known."""
        if not self._supported():
            return "this vCenter has no System VMs; they came with 9.0"
        unable = self._unable.get(cluster)
        if unable is not None:
            return unable.why
        return "" if cluster in self._asked else None

    # -- reading ------------------------------------------------------------------------------------------------

    async def agency_ids(self) -> tuple[AgencyId, ...]:
        """The solutions of ours, and those that are deleted but still have VMs."""
        if not self._supported():
            return ()
        clusters = [each for each in self._clusters().values() if not each.standalone]
        found = await asyncio.gather(*(self._in_cluster(each.id) for each in clusters))
        return tuple(each for ids in found for each in ids)

    async def _in_cluster(self, cluster: ClusterId) -> tuple[AgencyId, ...]:
        unable = self._unable.get(cluster)
        if unable is not None and asyncio.get_running_loop().time() < unable.until:
            return ()
        try:
            names = set(await self._listed(cluster))
            if cluster not in self._asked:
                names |= set(await self._deployments(cluster))
        except (InvalidState, NotFound) as refused:
            again = asyncio.get_running_loop().time() + ASK_AGAIN
            self._unable[cluster] = _Unable(refused.message, again)
            return ()
        self._unable.pop(cluster, None)
        self._asked.add(cluster)
        known = self._known.setdefault(cluster, set())
        known |= {each for each in names if self._mine(each)}
        return tuple(values.agency_id(cluster, each) for each in sorted(known))

    async def query_agencies(self, solution_id: str = "") -> tuple[Agency, ...]:
        """All solutions of ours with their deployments."""
        if solution_id and solution_id != self._solution_id:
            return ()
        found = []
        for identity in await self.agency_ids():
            try:
                found.append(await self.read_agency(identity))
            except NotFound:
                continue
        return tuple(found)

    async def read_agency(self, agency: AgencyId, *, with_agents: bool = True) -> Agency:
        """One solution; ``NotFound`` once it is deleted and its last VM is gone."""
        cluster, name = values.place_of(agency)
        listed = await self._listed(cluster)
        deployments = (
            (await self._deployments(cluster, name)).get(name, {}) if with_agents or name not in listed else {}
        )
        if name not in listed and not deployments:
            self._known.get(cluster, set()).discard(name)
            raise NotFound(f"there is no solution {name} in cluster {cluster}")
        self._known.setdefault(cluster, set()).add(name)
        config = AgencyConfig(name=name, agent_name="", agents=(), scope=(cluster,))
        if name in listed:
            place = self._clusters().get(cluster)
            config = values.config_of(
                name, listed[name], cluster=cluster, datacenter=place.datacenter if place is not None else None
            )
        return values.agency(
            cluster,
            name,
            owner=self._solution_id,
            config=config,
            deployments=deployments,
            deleted=name not in listed,
        )

    async def refresh_agency(self, before: Agency, *, hosts: Collection[HostId] = (), unsettled: bool = True) -> Agency:
        """As ``read_agency``: there is nothing cheaper."""
        return await self.read_agency(before.id)

    async def agency_status(self, agency: AgencyId) -> tuple[str, str, tuple[Issue, ...]]:
        """Status, goal state and all issues."""
        found = await self.read_agency(agency)
        return found.status, found.goal, found.issues

    async def _listed(self, cluster: ClusterId) -> Mapping[str, SolutionInfo]:
        found = await self._rest.get(SolutionList, paths.solutions(cluster), what="Solutions.list")
        return found.solutions

    async def _deployments(self, cluster: ClusterId, name: str = "") -> dict[str, dict[HostId, DeploymentInfo]]:
        """By solution and host; of one solution where it is named."""
        body = CheckComplianceSpec(solutions=[name] if name else None)
        query = {"action": "check-compliance"}
        what = "Solutions.check-compliance"
        result = await self._rest.run(
            "POST", paths.solutions(cluster), what=what, body=body, query=query, deadline=READ_DEADLINE
        )
        found: dict[str, dict[HostId, DeploymentInfo]] = {}
        by_host = codec.convert(ClusterCompliance, result).host_solutions_status.compliances
        for host, compliance in by_host.items():
            for solution, each in compliance.compliances.items():
                found.setdefault(solution, {})[HostId(host)] = each.deployment
        return found

    # -- changing -----------------------------------------------------------------------------------------------

    async def create_agency(self, config: AgencyConfig) -> AgencyId:
        """Set the desired state; no host has it before it is applied there."""
        (cluster,) = config.scope
        await self._set(cluster, config)
        self._known.setdefault(cluster, set()).add(config.name)
        return values.agency_id(cluster, config.name)

    async def update_agency(self, agency: AgencyId, config: AgencyConfig) -> None:
        """Replace the desired state."""
        await self._set(values.place_of(agency)[0], config)

    async def _set(self, cluster: ClusterId, config: AgencyConfig) -> None:
        path, spec = paths.solution(cluster, config.name), values.spec_of(config)
        await self._rest.run("PUT", path, what="Solutions.set", body=spec, deadline=SET_DEADLINE)

    async def apply(self, agency: AgencyId, hosts: Sequence[HostId]) -> None:
        """Have the hosts brought to the desired state. Returns when vLCM has begun; Busy while it does something else.

        A hook that is open from an earlier desired state, on whatever host, would keep vLCM from ever beginning: it is
        given up first.
        """
        cluster, name = values.place_of(agency)
        for deployment in (await self._deployments(cluster, name)).get(name, {}).values():
            hook = deployment.lifecycle_hook if values.is_unapplied(deployment) else None
            if hook is not None:
                await self._processed(cluster, hook.vm, hook.lifecycle_state, well=False)
        body = ApplySpec(host_solutions=HostFilter(solutions=[name], hosts=sorted(set(hosts))))
        what = "Solutions.apply"
        task = await self._rest.start("POST", paths.solutions(cluster), what=what, body=body, query={"action": "apply"})
        try:
            await self._rest.result(task, what=what, deadline=ACCEPTED_WITHIN)
        except Busy as goes_on:
            _LOG.debug("%s: %s", agency, goes_on)

    async def uninstall(self, agency: AgencyId) -> None:
        """Delete the desired state, and apply that: the VMs go."""
        cluster, name = values.place_of(agency)
        try:
            await self._rest.run("DELETE", paths.solution(cluster, name), what="Solutions.delete")
        except NotFound:
            _LOG.debug("%s is deleted already", agency)
        hosts = list((await self._deployments(cluster, name)).get(name, {}))
        if hosts:
            await self.apply(agency, hosts)

    async def destroy_agency(self, agency: AgencyId) -> None:
        """Nothing is left of a deleted solution without VMs; one that still has a desired state loses it."""
        cluster, name = values.place_of(agency)
        await self._rest.run("DELETE", paths.solution(cluster, name), what="Solutions.delete")

    async def resolve(self, agency: AgencyId, issue_keys: Sequence[int]) -> tuple[int, ...]:
        """Apply to the hosts that have these issues, once they are mended; the keys that nobody has are returned."""
        seen = await self.read_agency(agency)
        owners = {issue.key: agent.host for agent in seen.agents for issue in agent.issues if agent.host is not None}
        hosts = [owners[key] for key in issue_keys if key in owners]
        if hosts:
            await self.apply(agency, hosts)
        return tuple(key for key in issue_keys if key not in owners)

    async def mark_as_available(self, agent: EsxAgentId, hook: VmHook, *, well: bool = True) -> None:
        """Let vLCM go on from the hook, or have it give the host up; InvalidArgument for a hook it does not have."""
        cluster, _, _ = values.agent_place(agent)
        if hook.state not in values.STATES:
            raise InvalidArgument(f"System VMs have no hook {hook.state}")
        await self._processed(cluster, hook.vm, values.STATES[hook.state], well=well)

    async def _processed(self, cluster: ClusterId, vm: str, state: LifecycleState, *, well: bool) -> None:
        body = ProcessedHookSpec(vm=vm, lifecycle_state=state, processed_successfully=well)
        query = {"action": "mark-as-processed"}
        try:
            await self._rest.call("POST", paths.hooks(cluster), what="LifecycleHooks.mark", body=body, query=query)
        except Busy as gone:
            # As with EAM, telling it twice does no harm: it has left that hook.
            _LOG.debug("hook %s of %s: %s", state, vm, gone)

    # -- taking over from EAM -----------------------------------------------------------------------------------

    async def take_over(self, agency: AgencyId, config: AgencyConfig) -> AgencyId:
        """Make an agency of EAM a solution; its VMs stay as they are. There is no way back."""
        (cluster,) = config.scope
        body = EnableSpec(eam_agency_id=agency, solution=values.spec_of(config))
        path, query = paths.transition(cluster, config.name), {"action": "enable"}
        what = "Transition.enable"
        await self._rest.run("POST", path, what=what, body=body, query=query, deadline=SET_DEADLINE)
        self._known.setdefault(cluster, set()).add(config.name)
        return values.agency_id(cluster, config.name)
