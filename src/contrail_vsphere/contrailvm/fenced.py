"""vCenter and EAM as only the leader may write to them: every write first asks for leave, reading needs none.

Leave means two things: what was written to the journal before would survive us, so that whoever takes over knows what
we were about to do; and our reign still stands: a manager that was frozen and has been succeeded writes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from contrail_vsphere.contrailvm.doors import EamDoor, VCenterDoor
from contrail_vsphere.model.eam import Agency, AgencyConfig
from contrail_vsphere.model.ids import AgencyId, EsxAgentId

READS: Final = frozenset({"FindExtension"})
"""Of the methods we call those that change nothing; every other one is taken for a write."""

Leave = Callable[[], Awaitable[object]]
"""Raises Conflict where somebody else leads, Unreachable where nobody can tell."""


class FencedVCenter:
    """A ``VCenterDoor`` over another one."""

    def __init__(self, door: VCenterDoor, leave: Leave) -> None:
        self._door = door
        self._leave = leave

    async def call(self, ref: Any, method: str, **arguments: Any) -> Any:
        """A method by its name on the wire."""
        if method not in READS:
            await self._leave()
        return await self._door.call(ref, method, **arguments)

    async def read(self, ref: Any, *paths: str) -> Mapping[str, Any]:
        """Properties of one object."""
        return await self._door.read(ref, *paths)

    async def wait_task(self, task: Any, *, deadline: float) -> Any:
        """The result of a task."""
        return await self._door.wait_task(task, deadline=deadline)


class FencedEam:
    """An ``EamDoor`` over another one."""

    def __init__(self, door: EamDoor, leave: Leave) -> None:
        self._door = door
        self._leave = leave

    async def query_agencies(self, solution_id: str = "") -> tuple[Agency, ...]:
        """All agencies of a solution; of everybody when none is named."""
        return await self._door.query_agencies(solution_id)

    async def read_agency(self, agency: AgencyId, *, with_agents: bool = True) -> Agency:
        """One agency."""
        return await self._door.read_agency(agency, with_agents=with_agents)

    async def create_agency(self, config: AgencyConfig) -> AgencyId:
        """``CreateAgency``."""
        await self._leave()
        return await self._door.create_agency(config)

    async def update_agency(self, agency: AgencyId, config: AgencyConfig) -> None:
        """``Update``."""
        await self._leave()
        await self._door.update_agency(agency, config)

    async def uninstall(self, agency: AgencyId) -> None:
        """Goal state uninstalled."""
        await self._leave()
        await self._door.uninstall(agency)

    async def destroy_agency(self, agency: AgencyId) -> None:
        """``DestroyAgency``."""
        await self._leave()
        await self._door.destroy_agency(agency)

    async def resolve(self, agency: AgencyId, issue_keys: Sequence[int]) -> tuple[int, ...]:
        """``Resolve``."""
        await self._leave()
        return await self._door.resolve(agency, issue_keys)

    async def mark_as_available(self, agent: EsxAgentId) -> None:
        """``MarkAsAvailable``."""
        await self._leave()
        await self._door.mark_as_available(agent)
