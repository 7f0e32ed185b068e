"""What serving one request needs: the store, the addresses, the release, and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from contrail_vsphere.simulator.contrail.ipam import Ipam
from contrail_vsphere.simulator.contrail.profile import Profile, Switches
from contrail_vsphere.simulator.contrail.store import ApiObject, Store
from contrail_vsphere.wire.contrail import errors

CLOUD_ADMIN = "cloud-admin"


@dataclass(slots=True, kw_only=True)
class Site:
    """The parts of the server that live as long as it does."""

    store: Store
    profile: Profile
    ipam: Ipam = field(default_factory=Ipam)
    switches: Switches = field(default_factory=Switches)
    base_url: str = "http://127.0.0.1:8082"
    """Begin of every href."""

    def href(self, shown: ApiObject) -> str:
        """Where an object is read."""
        return f"{self.base_url}/{shown.type.name}/{shown.uuid}"

    def still_referred(self, by: list[ApiObject]) -> str:
        """Text of the 409."""
        return errors.still_referred(map(self.href, by), python2=self.profile.python2)

    def still_children(self, children: list[ApiObject]) -> str:
        """Text of the 409."""
        return errors.still_children(map(self.href, children), python2=self.profile.python2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks."""

    request_id: str = ""
    project: str = ""
    """Keystone's id of the project the token is for; empty without authentication."""
    admin: bool = True
