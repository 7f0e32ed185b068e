"""EAM's door: which version of its API it speaks, and its own events about who comes in.

EAM opens a session of its own when a vCenter session is first used with it, and ends it with that one.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport

from contrail_vsphere.simulator.eam.events import manager_event
from contrail_vsphere.simulator.eam.profiles import DEFAULT_PROFILE, EAM_VERSIONS, PROFILES, Profile, introduced
from contrail_vsphere.wire.soap.metadata import EAM
from contrail_vsphere.wire.soap.versions import VERSIONS, version_of

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.calls import Call
    from contrail_vsphere.simulator.core.world import World


@functools.lru_cache(maxsize=64)
def _included(version: str) -> frozenset[str]:
    return frozenset(VmomiSupport.parentMap[version]) | {version}


class EamDoor:
    """Posts ``login.succeeded``, ``login.invalid``, ``logout`` and ``unauthorized.access``."""

    def __init__(self, world: World, profile: Profile) -> None:
        self._world = world
        self._profile = profile
        self._open: dict[str, Any] = {}

    @classmethod
    def of(cls, world: World) -> EamDoor:
        """The world's; one of the default release where there is no EAM."""
        if cls not in world.services:
            world.services[cls] = cls(world, PROFILES[DEFAULT_PROFILE])
        found: EamDoor = world.services[cls]
        return found

    # -- versions -----------------------------------------------------------------------------------------------

    @property
    def newest(self) -> str:
        """Id of the newest version that is spoken."""
        from contrail_vsphere.simulator.eam.service import EamService

        service = self._world.services.get(EamService)
        own = self._profile.eam_version
        return min(service.switches.api_version or own if service is not None else own, own, key=EAM_VERSIONS.index)

    def spoken(self, asked: str) -> str:
        """What the client asks for (pyVmomi's name), but nothing newer than what is spoken."""
        newest = VERSIONS[EAM].by_id[self.newest]
        return asked if asked in _included(newest) else newest

    def refuses(self, action: str) -> bool:
        """Whether the version that a SOAPAction names is too new to be answered."""
        from contrail_vsphere.simulator.eam.service import EamService

        service = self._world.services.get(EamService)
        if service is None or service.switches.newer_version == "answered" or "/" not in action:
            return False
        asked = version_of(action, EAM)
        return self.spoken(asked) != asked

    def has(self, method: Any) -> bool:
        """Whether the release has this method of the API."""
        return EAM_VERSIONS.index(introduced(method.info)) <= EAM_VERSIONS.index(self.newest)

    # -- sessions -----------------------------------------------------------------------------------------------

    def saw(self, call: Call) -> None:
        """A call came in over a vCenter session."""
        key = getattr(call.session, "key", "")
        if key and key not in self._open:
            self._open[key] = call.session
            self._tell("login.succeeded", f"User {call.user} logged in to ESX Agent Manager", call.user)

    def refused(self, call: Call) -> None:
        """A call came in without a session, or with one that is over."""
        self.sweep()
        self._tell("login.invalid", f"A login to ESX Agent Manager from {call.address or 'nowhere'} failed", call.user)

    def unauthorized(self, call: Call) -> None:
        """A call that its user may not make."""
        self._tell("unauthorized.access", f"User {call.user} may not do this in ESX Agent Manager", call.user)

    def sweep(self) -> None:
        """Close the sessions whose vCenter session is over."""
        for key, session in [(key, session) for key, session in self._open.items() if session.over]:
            del self._open[key]
            self._tell("logout", f"User {session.user} logged out of ESX Agent Manager", session.user)

    def _tell(self, name: str, message: str, user: str) -> None:
        with self._world.commit(user) as tx:
            manager_event(tx, name, message, user=user)
