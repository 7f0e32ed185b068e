"""The managers of ServiceContent that need nothing from outside the world to begin with, by their type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.vcenter.alarm_manager import AlarmManager
from contrail_vsphere.simulator.vcenter.authorization_manager import AuthorizationManager
from contrail_vsphere.simulator.vcenter.custom_fields_manager import CustomFieldsManager
from contrail_vsphere.simulator.vcenter.file_manager import FileManager
from contrail_vsphere.simulator.vcenter.ip_pool_manager import IpPoolManager
from contrail_vsphere.simulator.vcenter.option_manager import OptionManager
from contrail_vsphere.simulator.vcenter.ovf_manager import OvfManager
from contrail_vsphere.simulator.vcenter.search_index import SearchIndex

MANAGERS: Mapping[str, type[Entity]] = MappingProxyType(
    {
        kind.wsdl: kind
        for kind in (
            AlarmManager,
            AuthorizationManager,
            CustomFieldsManager,
            FileManager,
            IpPoolManager,
            OptionManager,
            OvfManager,
            SearchIndex,
        )
    }
)
"""Type on the wire -> class."""
