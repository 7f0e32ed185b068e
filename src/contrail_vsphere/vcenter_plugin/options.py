"""What the operator decides about a plugin, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from contrail_vsphere.vcenter_plugin.desired import Scope, Selection
from contrail_vsphere.vcenter_plugin.identity import Scheme
from contrail_vsphere.vcenter_plugin.vlans import QUARANTINE

SWEEP = 300.0
"""Seconds after which objects of a VM that is gone are cleared up whose own plugin has not done so."""
Mode = Literal["vcenter-only", "vcenter-as-compute"]
"""Who leads: Contrail and vCenter alone, or OpenStack, which then makes networks, port groups and interfaces."""


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """Times in seconds."""

    mode: Mode = "vcenter-only"
    selection: Selection = field(default_factory=Selection)
    scheme: Scheme = "native"
    adopt_existing: bool = False
    migrate: bool = False
    rename: bool = True
    virtual_macs: bool = False
    linger: float = 10.0
    reserved_vlans: frozenset[int] = field(default=frozenset())
    quarantine: float = QUARANTINE
    resync: float = 300.0
    brake_absolute: int = 10
    brake_fraction: float = 0.1
    scope: Scope = field(default_factory=Scope)
    extension_key: str = ""
    """Of our extension, whose events tell vCenter what an operator must act on; empty: vCenter is told nothing."""

    @property
    def patience(self) -> float:
        """Seconds until objects of a card that is gone go.

        Who serves no ports clears up after those who do, once they had time enough to do it themselves.
        """
        return self.linger if self.scope.ports else max(self.linger, SWEEP)


DEFAULTS = PluginOptions()
