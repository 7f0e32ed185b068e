"""ServiceInstance: the entrance. It names every manager; those that are not simulated answer NotSupported.

Clients follow the references of ServiceContent unchecked (govc stops with a panic at a missing one), so every one of
them is filled and leads to an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from pyVmomi import VmomiSupport

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.profile import Release
from contrail_vsphere.wire.soap.metadata import properties_of
from contrail_vsphere.wire.soap.types import vim, wsdl_name
from contrail_vsphere.wire.soap.values import build

SERVICE_INSTANCE = "ServiceInstance"
ROOT_FOLDER = "group-d1"

MANAGER_IDS: Mapping[str, str] = MappingProxyType(
    {
        "rootFolder": ROOT_FOLDER,
        "propertyCollector": "propertyCollector",
        "setting": "VpxSettings",
        "serviceManager": "ServiceMgr",
        "perfManager": "PerfMgr",
        "diagnosticManager": "DiagMgr",
        "vmProvisioningChecker": "ProvChecker",
        "vmCompatibilityChecker": "CompatChecker",
        "dvSwitchManager": "DVSManager",
        "hostProfileManager": "HostProfileManager",
        "clusterProfileManager": "ClusterProfileManager",
        "complianceManager": "MoComplianceManager",
    }
)
"""ServiceContent property -> id where vCenter does not simply use the type's or the property's name."""

HOST_ONLY = frozenset({"accountManager"})
"""Unset on a vCenter."""


def manager_id(name: str) -> str:
    """Id of the manager that a ServiceContent property names, as vCenter has it."""
    return MANAGER_IDS.get(name, name[:1].upper() + name[1:])


@dataclass(slots=True, eq=False, kw_only=True)
class ServiceInstance(Entity):
    """The object every client knows by heart."""

    wsdl: ClassVar[str] = "ServiceInstance"
    volatile: ClassVar[frozenset[str]] = frozenset({"serverClock"})

    release: Release
    instance_uuid: str

    @managed_property("content")
    def content(self) -> Any:
        managers = {
            prop.name: self.world.objects[manager_id(prop.name)]
            for prop in _managers()
            if manager_id(prop.name) in self.world.objects
        }
        return build(vim.ServiceInstanceContent, about=self._about(), **managers)

    @managed_property("serverClock")
    def server_clock(self) -> Any:
        return self.world.clock.now()

    @managed_property("capability")
    def capability(self) -> Any:
        return build(
            vim.Capability, provisioningSupported=True, multiHostSupported=True, userShellAccessSupported=False
        )

    @operation("RetrieveServiceContent")
    def retrieve_content(self, call: Call) -> Any:
        return self.content()

    @operation("CurrentTime")
    def current_time(self, call: Call) -> Any:
        return self.world.clock.now()

    @operation("RetrieveProductComponents", note="always empty")
    def retrieve_product_components(self, call: Call) -> list[Any]:
        return []

    def _about(self) -> Any:
        release = self.release
        return build(
            vim.AboutInfo,
            name="VMware vCenter Server",
            fullName=f"VMware vCenter Server {release.version} build-{release.build} (simulated)",
            vendor="VMware, Inc.",
            version=release.version,
            build=release.build,
            localeVersion="INTL",
            localeBuild="000",
            osType="linux-x64",
            productLineId="vpx",
            apiType="VirtualCenter",
            apiVersion=release.api_version,
            instanceUuid=self.instance_uuid,
            licenseProductName="VMware VirtualCenter Server",
            licenseProductVersion=release.version.rpartition(".")[0],
        )


@dataclass(slots=True, eq=False, kw_only=True)
class UnservedManager(Entity):
    """A manager that exists, but has no methods and properties here."""

    kind: str = field(default="")


def add_missing_managers(world: World) -> None:
    """Give every reference of ServiceContent an object; those that others have added already stay."""
    from contrail_vsphere.simulator.vcenter.alarm_manager import AlarmManager, add_default_alarms
    from contrail_vsphere.simulator.vcenter.managers import MANAGERS

    with world.commit() as tx:
        for prop in _managers():
            moid, wsdl = manager_id(prop.name), wsdl_name(prop.type)
            if moid not in world.objects and prop.name not in HOST_ONLY:
                kind = MANAGERS.get(wsdl) or _unserved(wsdl)
                tx.add(kind(world=world, moid=moid))
        add_default_alarms(tx)
    manager = AlarmManager.of(world)
    if manager is not None:
        manager.follow()


def _managers() -> list[Any]:
    return [
        prop for prop in properties_of(vim.ServiceInstanceContent) if issubclass(prop.type, VmomiSupport.ManagedObject)
    ]


def _unserved(wsdl: str) -> type[UnservedManager]:
    """A class of its own per type, because the type's name is the class's."""
    return type(f"Unserved{wsdl}", (UnservedManager,), {"wsdl": wsdl, "__slots__": ()})
