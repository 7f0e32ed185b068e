"""EAM's methods as coroutines over ``model.eam`` values.

Nothing is cached here and nothing retried; the session below renews itself, the engine above tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from contrail_vsphere.model.eam import Agency, AgencyConfig, EamFeatures, EsxAgent, Issue
from contrail_vsphere.model.errors import NotFound, ProtocolError
from contrail_vsphere.model.ids import AgencyId, EsxAgentId, HostId
from contrail_vsphere.vsphere.eam import values
from contrail_vsphere.vsphere.eam.cache import EamCache
from contrail_vsphere.wire.soap.types import eam
from contrail_vsphere.wire.soap.versions import EAM

_LOG = logging.getLogger(__name__)

_MANAGER = eam.EsxAgentManager("EsxAgentManager")
VALIDATION = 300.0
"""Seconds for the calls in which EAM fetches our OVF before it answers."""


class EamCaller(Protocol):
    """A logged-in connection to ``/eam/sdk`` (``vsphere.vcenter.VCenter``)."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Namespace -> version of the API that is spoken."""
        ...

    async def call(self, ref: Any, method: str, **arguments: Any) -> Any:
        """Call a method by its name on the wire."""
        ...


class EamClient:
    """EsxAgentManager, Agency and Agent as this product uses them; reads of one agency run side by side, bounded."""

    def __init__(self, caller: EamCaller, *, solution_id: str = "", concurrency: int = 8) -> None:
        self._caller = caller
        self._slots = asyncio.Semaphore(concurrency)
        self.cache = EamCache(self, solution_id=solution_id)

    @property
    def features(self) -> EamFeatures:
        """What the version of EAM that is spoken can do."""
        return values.features_of(self._caller.versions[EAM])

    # -- reading ------------------------------------------------------------------------------------------------

    async def agency_ids(self) -> tuple[AgencyId, ...]:
        """The agencies this session sees: an extension only its own, a user with EAM.View all of them."""
        return tuple(AgencyId(each._moId) for each in await self._call(_MANAGER, "QueryAgency") or ())

    async def query_agencies(self, solution_id: str = "") -> tuple[Agency, ...]:
        """All agencies with configuration, runtime and EsxAgents; only those of ``solution_id`` where it is given.

        An EsxAgent or runtime that cannot be understood is an issue of type ``Unreadable``. A configuration that cannot
        be is a ProtocolError: the agency might be the one somebody is about to create a second time.
        """
        found = await _together([self._read_or_skip(each, solution_id) for each in await self.agency_ids()])
        return tuple(each for each in found if each is not None)

    async def read_agency(self, agency: AgencyId, *, with_agents: bool = True) -> Agency:
        """One agency; ``NotFound`` once it is destroyed."""
        ref = eam.Agency(agency)
        solution, config, runtime = await _together(
            [self._call(ref, "QuerySolutionId"), self._call(ref, "QueryConfig"), self._runtime(ref)]
        )
        agents = await self.esx_agents(agency) if with_agents else ()
        return values.agency(agency, solution_id=str(solution), config=config, runtime=runtime, agents=agents)

    async def refresh_agency(self, before: Agency, *, hosts: Collection[HostId] = (), unsettled: bool = True) -> Agency:
        """The agency with what may have changed read again; ``NotFound`` once it is destroyed.

        That is its own runtime, and EsxAgents that are new, named by an issue, on one of ``hosts``, or (``unsettled``)
        not green. Its configuration and all other EsxAgents are as they were in ``before``; so are those whose new VM
        stands beside the old one until we let EAM go on, which in a large upgrade may take hours.
        """
        ref = eam.Agency(before.id)
        runtime, refs = await _together([self._runtime(ref), self._call(ref, "QueryAgent")])
        found = values.issues(runtime.issue)
        named = {issue.agent for issue in found}
        steady = {
            each.id: each
            for each in before.agents
            if (each.status == "green" or not unsettled or _stands_by(each))
            and each.id not in named
            and each.host not in hosts
        }
        ids = [EsxAgentId(each._moId) for each in refs or ()]
        stale = [each for each in ids if each not in steady]
        read = await _together([self._esx_agent(each, before.id) for each in stale])
        known = {**steady, **dict(zip(stale, read, strict=True))}
        agents = tuple(each for each in map(known.get, ids) if each is not None)
        return replace(before, status=runtime.status, goal=runtime.goalState, issues=found, agents=agents)

    async def agency_status(self, agency: AgencyId) -> tuple[str, str, tuple[Issue, ...]]:
        """Status, goal state and all issues, its EsxAgents' among them: the one cheap call of a steady state."""
        runtime = await self._call(eam.Agency(agency), "AgencyQueryRuntime")
        return str(runtime.status), str(runtime.goalState), values.issues(runtime.issue)

    async def esx_agents(self, agency: AgencyId) -> tuple[EsxAgent, ...]:
        """The EsxAgents of an agency; one that goes away meanwhile is left out."""
        refs = await self._call(eam.Agency(agency), "QueryAgent") or ()
        found = await _together([self._esx_agent(EsxAgentId(each._moId), agency) for each in refs])
        return tuple(each for each in found if each is not None)

    # -- changing -----------------------------------------------------------------------------------------------

    async def create_agency(self, config: AgencyConfig) -> AgencyId:
        """``CreateAgency``; EAM fetches the OVF before it answers, so our server must be up."""
        values.check_version(config, self._caller.versions[EAM])
        wire = values.apply_config(config, eam.Agency.ConfigInfo())
        made = await self._call(
            _MANAGER, "CreateAgency", agencyConfigInfo=wire, initialGoalState="enabled", deadline=VALIDATION
        )
        return AgencyId(made._moId)

    async def update_agency(self, agency: AgencyId, config: AgencyConfig) -> None:
        """``Update`` with the whole configuration, starting from the one EAM has."""
        ref = eam.Agency(agency)
        values.check_version(config, self._caller.versions[EAM])
        wire = values.apply_config(config, await self._call(ref, "QueryConfig"))
        await self._call(ref, "Update", config=wire, deadline=VALIDATION)

    async def uninstall(self, agency: AgencyId) -> None:
        """Goal state uninstalled: EAM removes the ContrailVMs, the agency stays."""
        await self._call(eam.Agency(agency), "Uninstall")

    async def destroy_agency(self, agency: AgencyId) -> None:
        """Remove what is left of it and forget it; ``NotFound`` when it is gone already."""
        await self._call(eam.Agency(agency), "DestroyAgency")

    async def resolve(self, agency: AgencyId, issue_keys: Sequence[int]) -> tuple[int, ...]:
        """``Resolve`` on the agency, which answers for its EsxAgents too: the keys it cannot resolve now."""
        return tuple(await self._call(eam.Agency(agency), "Resolve", issueKey=list(issue_keys)) or ())

    async def mark_as_available(self, agent: EsxAgentId) -> None:
        """Let EAM go on from the hook it waits in; without a hook EAM does nothing."""
        await self._call(eam.Agent(agent), "MarkAsAvailable")

    # -- inside -------------------------------------------------------------------------------------------------

    async def _call(self, ref: Any, method: str, **arguments: Any) -> Any:
        async with self._slots:
            return await self._caller.call(ref, method, **arguments)

    async def _read_or_skip(self, agency: AgencyId, solution_id: str) -> Agency | None:
        try:
            read = await self.read_agency(agency)
        except NotFound:
            return None
        return read if not solution_id or read.solution_id == solution_id else None

    async def _runtime(self, ref: Any) -> Any:
        try:
            return await self._call(ref, "AgencyQueryRuntime")
        except ProtocolError as error:
            _LOG.warning("the runtime of agency %s cannot be read: %s", ref._moId, error)
            return values.unreadable(eam.EamObject.RuntimeInfo, error)

    async def _esx_agent(self, identity: EsxAgentId, agency: AgencyId) -> EsxAgent | None:
        try:
            runtime = await self._call(eam.Agent(identity), "AgentQueryRuntime")
        except NotFound:
            return None
        except ProtocolError as error:
            _LOG.warning("EsxAgent %s cannot be read: %s", identity, error)
            runtime = values.unreadable(eam.Agent.RuntimeInfo, error)
        return values.esx_agent(identity, agency, runtime)


async def _together(work: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """All of them side by side; the first error ends the others."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _stands_by(agent: EsxAgent) -> bool:
    """EAM waits for us with the new VM of an upgrade; the old one serves."""
    hook = agent.hook
    return hook is not None and hook.state == "provisioned" and agent.vm is not None and hook.vm != agent.vm
