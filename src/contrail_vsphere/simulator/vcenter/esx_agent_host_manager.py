"""EsxAgentHostManager: the datastore and network a host offers to EsxAgent VMs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.managed_entity import fault, found
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem


@dataclass(slots=True, eq=False, kw_only=True)
class EsxAgentHostManager(Entity):
    """One per host; the settings themselves are state of the host."""

    wsdl: ClassVar[str] = "HostEsxAgentHostManager"
    prefix: ClassVar[str] = "esxAgentHostManager-"

    host: HostSystem

    @managed_property("configInfo")
    def _config_info(self) -> Any:
        return data_object(
            vim.host.EsxAgentHostManager.ConfigInfo,
            agentVmDatastore=self.host.agent_datastore,
            agentVmNetwork=self.host.agent_network,
        )

    @operation("EsxAgentHostManagerUpdateConfig", privilege="Host.Config.Settings")
    def UpdateConfig(self, call: Any, configInfo: Any) -> None:
        """The whole configuration is overwritten: what is unset is cleared."""
        datastore = network = None
        if configInfo.agentVmDatastore is not None:
            datastore = found(self, configInfo.agentVmDatastore, Datastore)
        if configInfo.agentVmNetwork is not None:
            network = found(self, configInfo.agentVmNetwork, Network)
        if (datastore is not None and datastore not in self.host.datastores) or (
            network is not None and network not in self.host.networks
        ):
            raise fault(vim.fault.HostConfigFault, f"Host '{self.host.name}' does not have it.")
        with self.world.commit(call.user) as tx:
            if tx.set(self.host, agent_datastore=datastore, agent_network=network):
                tx.touch(self, "configInfo")
