"""Agencies of other tools, as an administrator sees them: EAM shows an extension its own alone.

EAM cannot change who owns an agency, so one of another tool is taken off a cluster (its ContrailVMs there are powered
off and deleted), and the deployment that waits for that comes in its place: an outage per cluster, at a time of the
operator's choosing. What is left of an agency without clusters is destroyed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from contrail_vsphere.app.connect import administrator, choose_vcenter, endpoint
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.contrailvm.adoption import Foreign, foreign_agencies
from contrail_vsphere.model.eam import Agency
from contrail_vsphere.model.errors import NotConverged, NotFound, UsageError
from contrail_vsphere.model.ids import ClusterId, HostId
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.soap.types import eam, vim

PAUSE: Final = 2.0
"""Seconds between two looks at what EAM has still to remove."""
DEADLINE: Final = 900.0
"""Seconds for one cluster."""


@dataclass(frozen=True, slots=True)
class TakenOff:
    """What was done: the clusters that are free now, and whether the agency is gone."""

    agency: str
    clusters: tuple[str, ...]
    destroyed: bool


async def adoptable(settings: Settings, *, vcenter: str = "") -> tuple[Foreign, ...]:
    """Agencies of other tools that run ContrailVMs."""
    async with _administrator(settings, vcenter) as client:
        agencies = await client.eam.query_agencies("")
        names = await _cluster_names(client, agencies)
    return foreign_agencies(agencies, solution_id=settings.manager.extension_key, cluster_names=names)


async def take_off(
    settings: Settings,
    wanted: str,
    *,
    cluster: str = "",
    ready: Callable[[str], bool],
    vcenter: str = "",
    deadline: float = DEADLINE,
) -> TakenOff:
    """Take a foreign agency, by name or id, off a cluster (empty: off all of its), and wait until EAM has done it.

    ``ready`` tells whether a deployment of ours waits for a cluster, by its id; one that no deployment names is not
    freed. Raises NotFound, UsageError, and NotConverged when the deadline passes.
    """
    key = settings.manager.extension_key
    async with _administrator(settings, vcenter) as client:
        agencies = await client.eam.query_agencies("")
        names = await _cluster_names(client, agencies)
        found = {each.id for each in foreign_agencies(agencies, solution_id=key, cluster_names=names)}
        chosen = [each for each in agencies if each.id in found and wanted in (each.id, each.config.name)]
        if len(chosen) != 1:
            hint = "`contrailvm adopt` lists them" if not chosen else "name it by its id"
            raise NotFound(f"{len(chosen)} agencies of other tools are called {wanted!r}", hint=hint)
        agency = chosen[0]
        freed = [each for each in agency.config.scope if cluster in ("", each, names.get(each))]
        if not freed:
            raise NotFound(f"agency {agency.config.name} is not on a cluster {cluster!r}")
        unready = [names.get(each, each) for each in freed if not ready(each)]
        if unready:
            raise UsageError(
                f"no deployment names {', '.join(unready)}: its hosts would be left without a ContrailVM",
                hint="apply one that does; it waits until the other tool's agency is gone",
            )
        left = [each for each in agency.config.scope if each not in freed]
        await _shrink(client, agency, left)
        await _until_gone(client, agency, freed, deadline)
        if not left:
            await client.eam.destroy_agency(agency.id)
        return TakenOff(agency.config.name, tuple(names.get(each, each) for each in freed), destroyed=not left)


async def _shrink(client: VCenter, agency: Agency, left: list[ClusterId]) -> None:
    """Its own configuration with fewer clusters; whatever else is in it stays as it is."""
    if not left:
        await client.eam.uninstall(agency.id)
        return
    ref = eam.Agency(agency.id)
    config: Any = await client.call(ref, "QueryConfig")
    config.scope.computeResource = [each for each in config.scope.computeResource if each._moId in left]
    await client.call(ref, "Update", config=config)


async def _until_gone(client: VCenter, agency: Agency, freed: list[ClusterId], deadline: float) -> None:
    hosts = {host for each in freed for host in await _hosts(client, each)}
    try:
        async with asyncio.timeout(deadline):
            while True:
                agents = await client.eam.esx_agents(agency.id)
                if not any(each.vm is not None and each.host in hosts for each in agents):
                    return
                await asyncio.sleep(PAUSE)
    except TimeoutError:
        left = ", ".join(sorted(each.vm_name for each in agents if each.vm is not None and each.host in hosts))
        raise NotConverged(
            f"EAM has not removed {left} within {deadline:g} s",
            hint="look at the agency's issues in vCenter, then repeat",
        ) from None


async def _hosts(client: VCenter, cluster: ClusterId) -> set[HostId]:
    found = await client.read(vim.ClusterComputeResource(cluster), "host")
    return {HostId(each._moId) for each in found.get("host") or ()}


async def _cluster_names(client: VCenter, agencies: tuple[Agency, ...]) -> dict[ClusterId, str]:
    names = {}
    for cluster in {each for agency in agencies for each in agency.config.scope}:
        try:
            names[cluster] = str((await client.read(vim.ClusterComputeResource(cluster), "name"))["name"])
        except NotFound:
            continue
    return names


@asynccontextmanager
async def _administrator(settings: Settings, vcenter: str) -> AsyncIterator[VCenter]:
    _, table = choose_vcenter(settings, vcenter)
    async with VCenter(endpoint(table), administrator(table)) as client:
        yield client
