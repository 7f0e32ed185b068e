"""OptionManager: vCenter's settings, of which clients read few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim

SETTINGS: Mapping[str, Any] = {
    "VirtualCenter.InstanceName": "simulated-vcenter",
    "VirtualCenter.MaxDBConnection": 50,
    "config.vmacore.soap.sessionTimeout": "30",
    "config.vpxd.filter.hostRescanFilter": "true",
    "event.maxAge": 30,
    "event.maxAgeEnabled": True,
    "task.maxAge": 30,
    "task.maxAgeEnabled": True,
}
"""Those that clients are known to read; nothing in the simulator depends on them."""


@dataclass(slots=True, eq=False, kw_only=True)
class OptionManager(Entity):
    """vCenter's advanced settings: kept and shown, without effect."""

    wsdl: ClassVar[str] = "OptionManager"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"settings": ("setting",)}

    settings: Mapping[str, Any] = field(default_factory=lambda: dict(SETTINGS))

    @managed_property("setting")
    def _setting(self) -> list[Any]:
        return [_option(key, value) for key, value in self.settings.items()]

    @managed_property("supportedOption")
    def _supported_option(self) -> list[Any]:
        return []

    @operation("QueryOptions")
    def query(self, call: Call, name: str | None = None) -> list[Any]:
        """One option, those below a name that ends in a dot, or all; InvalidName when there is none."""
        hits = [
            _option(key, value)
            for key, value in self.settings.items()
            if not name or key == name or (name.endswith(".") and key.startswith(name))
        ]
        if not hits:
            raise fault(vim.fault.InvalidName, f"There is no option '{name}'.", name=name or "")
        return hits

    @operation("UpdateOptions", privilege="Global.Settings", note="options have no effect")
    def update(self, call: Call, changedValue: list[Any]) -> None:
        """An option that did not exist is added, as vCenter does for ``config.`` options."""
        with self.world.commit(call.user) as tx:
            tx.set(self, settings={**self.settings, **{item.key: item.value for item in changedValue}})


def _option(key: str, value: Any) -> Any:
    return data_object(vim.option.OptionValue, key=key, value=value)
