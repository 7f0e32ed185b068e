"""Registering with vCenter: the one thing that is done as an administrator, once, and taken back as one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from contrail_vsphere.app.clock import utc_now
from contrail_vsphere.app.connect import administrator, choose_vcenter, endpoint
from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.app.extension import extension_facts
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.contrailvm.notices.alarm_kinds import KINDS
from contrail_vsphere.contrailvm.registration import Destruction, Registered, Registration
from contrail_vsphere.vsphere.alarms import Alarms
from contrail_vsphere.vsphere.vcenter import VCenter


async def register(settings: Settings, *, vcenter: str = "", now: Callable[[], datetime] = utc_now) -> Registered:
    """Register the extension, or bring its registration up to date; makes its certificate on first use."""
    async with _registration(settings, vcenter, create=True, now=now) as (registration, _):
        return await registration.register()


async def destruction(settings: Settings, *, vcenter: str = "") -> Destruction:
    """What ``unregister`` would take down now."""
    async with _registration(settings, vcenter, create=False) as (registration, client):
        return await registration.destruction(client.eam)


async def unregister(settings: Settings, *, accepted: Destruction, vcenter: str = "") -> None:
    """Unregister: EAM then removes our agencies and their ContrailVMs. Our alarms are removed from vCenter."""
    async with _registration(settings, vcenter, create=False) as (registration, client):
        await registration.unregister(accepted=accepted, eam=client.eam)
        await Alarms(client).remove([kind.definition(settings.manager.extension_key) for kind in KINDS])


@asynccontextmanager
async def _registration(
    settings: Settings, vcenter: str, *, create: bool, now: Callable[[], datetime] = utc_now
) -> AsyncIterator[tuple[Registration, VCenter]]:
    _, table = choose_vcenter(settings, vcenter)
    data = DataDirectory(settings.manager.data_dir, now=now)
    login = administrator(table)
    async with VCenter(endpoint(table), login) as client:
        authority = data.authority() if create else None
        identity = data.extension_identity(settings.manager.extension_key, authority)
        facts = extension_facts(settings, identity)
        yield (
            Registration(client, extension_manager=client.content.extensionManager, facts=facts, now=now),
            client,
        )
