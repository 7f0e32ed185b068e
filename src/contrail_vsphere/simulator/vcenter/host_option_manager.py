"""A host's advanced settings: an OptionManager of its own, with the type of every option.

Tools set them on all hosts of a cluster and compare first; they have no effect on the simulated host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

_LONGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Number:
    """An option that is a whole number within limits."""

    default: int
    least: int = 0
    most: int = _LONGEST

    def type(self) -> Any:
        return data_object(
            vim.option.LongOption, valueIsReadonly=False, min=self.least, max=self.most, defaultValue=self.default
        )

    def takes(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most


@dataclass(frozen=True, slots=True)
class Flag:
    """An option that is on or off."""

    default: bool

    def type(self) -> Any:
        return data_object(vim.option.BoolOption, valueIsReadonly=False, supported=True, defaultValue=self.default)

    def takes(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Text:
    """An option that is any text, or one of ``choices``."""

    default: str
    choices: tuple[str, ...] = ()

    def type(self) -> Any:
        if not self.choices:
            return data_object(vim.option.StringOption, valueIsReadonly=False, defaultValue=self.default)
        described = [data_object(vim.ElementDescription, key=each, label=each, summary=each) for each in self.choices]
        place = self.choices.index(self.default)
        return data_object(vim.option.ChoiceOption, valueIsReadonly=False, choiceInfo=described, defaultIndex=place)

    def takes(self, value: Any) -> bool:
        return isinstance(value, str) and (not self.choices or value in self.choices)


OPTIONS: Mapping[str, Number | Flag | Text] = MappingProxyType(
    {
        "Config.HostAgent.log.level": Text("info", ("none", "error", "warning", "info", "verbose", "trivia")),
        "Config.HostAgent.plugins.hostsvc.esxAdminsGroup": Text("ESX Admins"),
        "Config.HostAgent.plugins.hostsvc.esxAdminsGroupAutoAdd": Flag(default=True),
        "Mem.ShareForceSalting": Number(2, most=2),
        "NFS.MaxVolumes": Number(32, least=8, most=256),
        "Net.BlockGuestBPDU": Number(0, most=1),
        "Net.FollowHardwareMac": Number(1, most=1),
        "Net.MaxNetifTxQueueLen": Number(2000, least=1, most=10_000),
        "Net.ReversePathFwdCheckPromisc": Number(0, most=1),
        "Net.TcpipHeapMax": Number(1024, least=32, most=2048),
        "Security.AccountLockFailures": Number(5, most=100),
        "Security.AccountUnlockTime": Number(900),
        "Syslog.global.logDir": Text("[] /scratch/log"),
        "Syslog.global.logHost": Text(""),
        "UserVars.DcuiTimeOut": Number(600),
        "UserVars.ESXiShellInteractiveTimeOut": Number(0),
        "UserVars.ESXiShellTimeOut": Number(0),
        "UserVars.SuppressHyperthreadWarning": Number(0, most=1),
        "UserVars.SuppressShellWarning": Number(0, most=1),
    }
)
"""A few of a real host's thousand: those that tools are known to read and set."""


@dataclass(slots=True, eq=False, kw_only=True)
class HostOptionManager(Entity):
    """One per host; ``changed`` has what differs from the defaults."""

    wsdl: ClassVar[str] = "OptionManager"
    prefix: ClassVar[str] = "EsxHostAdvSettings-"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"changed": ("setting",)}

    host: HostSystem
    changed: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> list[Any]:
        """OptionValue of every option."""
        return [
            data_object(vim.option.OptionValue, key=key, value=self.changed.get(key, known.default))
            for key, known in OPTIONS.items()
        ]

    @managed_property("setting")
    def _setting(self) -> list[Any]:
        return self.values()

    @managed_property("supportedOption")
    def _supported_option(self) -> list[Any]:
        return [
            data_object(vim.option.OptionDef, key=key, label=key, summary=key, optionType=known.type())
            for key, known in OPTIONS.items()
        ]

    @operation("QueryOptions", note="A host has about twenty options.")
    def query(self, call: Call, name: str | None = None) -> list[Any]:
        """One option, those below a name that ends in a dot, or all; InvalidName when there is none."""
        hits = [
            item
            for item in self.values()
            if not name or item.key == name or (name.endswith(".") and item.key.startswith(name))
        ]
        if not hits:
            raise fault(vim.fault.InvalidName, f"There is no option '{name}'.", name=name or "")
        return hits

    @operation("UpdateOptions", privilege="Host.Config.AdvancedConfig", note="Options have no effect.")
    def update(self, call: Call, changedValue: list[Any]) -> None:
        """All or none: InvalidName for an option that does not exist, InvalidArgument for a value it does not take."""
        if self.host.connection_state != "connected":
            raise fault(vmodl.fault.HostNotConnected, f"Host '{self.host.name}' is not connected.")
        for item in changedValue:
            known = OPTIONS.get(item.key)
            if known is None:
                raise fault(vim.fault.InvalidName, f"There is no option '{item.key}'.", name=item.key)
            if not known.takes(item.value):
                message = f"'{item.value}' is no value of '{item.key}'."
                raise fault(vmodl.fault.InvalidArgument, message, invalidProperty=item.key)
        with self.world.commit(call.user) as tx:
            tx.set(self, changed={**self.changed, **{item.key: item.value for item in changedValue}})
            tx.touch(self.host, "config.option")
