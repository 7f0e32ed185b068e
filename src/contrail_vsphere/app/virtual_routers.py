"""VirtualRouter objects of the manager's hosts, where the settings name Contrail's config API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from random import Random

from contrail_vsphere.app.contrail_access import contrail_auth, words
from contrail_vsphere.config.settings import ContrailSettings
from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.virtual_routers import VirtualRouters
from contrail_vsphere.contrailvm.vrouter_roll import VRouterRoll
from contrail_vsphere.pki.identity import client_context


async def vrouter_roll(
    contrail: ContrailSettings,
    stack: AsyncExitStack,
    *,
    serving: Callable[[], Mapping[str, str]],
    known: Callable[[], frozenset[str] | None],
    random: Random,
) -> VRouterRoll | None:
    """Started; ends with the stack. None without Contrail."""
    if not contrail.servers:
        return None
    tls = client_context(ca_file=contrail.ca_file) if contrail.ca_file else None
    api = ConfigApi(words(contrail.servers), auth=contrail_auth(contrail, tls), tls=tls, random=random)
    await stack.enter_async_context(api)
    roll = VRouterRoll(VirtualRouters(api), serving=serving, known=known)
    roll.start()
    stack.push_async_callback(roll.stop)
    return roll
