"""The VirtualRouter objects of hosts: Contrail finds a vRouter, and the interfaces of its VMs, by its name there.

One that we made is changed and deleted. One that somebody else provisioned is left alone, and said to be his where its
address is another: two names for one address, or two addresses for one name, would send tenants' frames astray.
"""

from __future__ import annotations

import uuid as uuids
from typing import Final

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.model.errors import AlreadyExists, InvalidState, NotFound, OutcomeUnknown

KIND: Final = "virtual-router"
PARENT: Final = "default-global-system-config"
CREATOR: Final = "contrailvm-manager"
"""``id_perms.creator`` of what we make."""


class VirtualRouters:
    """``model.protocols.VRouterObjects`` over Contrail's config API."""

    def __init__(self, api: ConfigApi) -> None:
        self._api = api

    async def ensure(self, name: str, address: str) -> None:
        """Have the object with that address. InvalidState where somebody else's has another one."""
        found = await self._find(name)
        if found is None:
            identity = uuids.uuid4()
            body = {
                "uuid": str(identity),
                "fq_name": [PARENT, name],
                "parent_type": "global-system-config",
                "virtual_router_ip_address": address,
                "id_perms": {"enable": True, "user_visible": True, "creator": CREATOR},
            }
            try:
                await self._api.create(KIND, body)
            except (AlreadyExists, OutcomeUnknown):
                found = await self._find(name)
                if found is None:
                    raise
        if found is None or found[1].get("virtual_router_ip_address") == address:
            return
        identity, value = found
        if not _ours(value):
            raise InvalidState(
                f"VirtualRouter {name} has address {value.get('virtual_router_ip_address')}, its ContrailVM {address}",
                hint="it was not made by us: correct it, or delete it to have it made anew",
            )
        await self._api.update(KIND, identity, {"virtual_router_ip_address": address})

    async def remove(self, name: str) -> None:
        """Delete the object if it is ours; Busy while VMs refer to it."""
        found = await self._find(name)
        if found is None or not _ours(found[1]):
            return
        try:
            await self._api.delete(KIND, found[0])
        except NotFound:
            return

    async def _find(self, name: str) -> tuple[uuids.UUID, dict[str, object]] | None:
        identity = await self._api.fq_name_to_id(KIND, [PARENT, name])
        if identity is None:
            return None
        try:
            return identity, await self._api.read(KIND, identity)
        except NotFound:
            return None


def _ours(value: dict[str, object]) -> bool:
    perms = value.get("id_perms")
    return isinstance(perms, dict) and perms.get("creator") == CREATOR
