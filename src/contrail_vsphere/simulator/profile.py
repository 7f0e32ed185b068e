"""Which release of vCenter is simulated: what it says of itself and the newest API version it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from contrail_vsphere.wire.soap.versions import VERSIONS, VIM


@dataclass(frozen=True, slots=True)
class Release:
    """One release."""

    name: str
    version: str
    api_version: str
    build: str

    @property
    def newest(self) -> str:
        """Pyvmomi's name of the newest version of the vim API that the release speaks."""
        return VERSIONS[VIM].by_id[self.api_version]


RELEASES: Mapping[str, Release] = MappingProxyType(
    {
        release.name: release
        for release in (
            Release("vc65", "6.5.0", "6.5", "19757181"),
            Release("vc67", "6.7.0", "6.7.3", "20540798"),
            Release("vc70", "7.0.3", "7.0.3.0", "23788036"),
            Release("vc80u2", "8.0.2", "8.0.2.0", "22385739"),
            Release("vc80u3", "8.0.3", "8.0.3.0", "24022515"),
            Release("vc90", "9.0.0", "9.0.0.0", "24755230"),
            Release("vc91", "9.1.0", "9.1.0.0", "25100000"),
        )
    }
)
