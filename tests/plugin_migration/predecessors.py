"""What the plugin's predecessors leave behind, in the simulated worlds: port groups, VLANs, objects, plugged ports."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid3, uuid4

from plugin_stand import PluginStand

from contrail_vsphere.contrail.vrouter_agent import VRouterAgentClient, VRouterPort
from contrail_vsphere.simulator.contrail.store import ApiObject
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import vim

PORT = vim.dvs.VmwareDistributedVirtualSwitch
JAVA, CVM = "vcenter-plugin", "vcenter-manager"


class FormerSite(PluginStand):
    """A stand on which a predecessor has worked. Its plugin must have been stopped while that happens."""

    async def left_group(self, name: str, *, vlan: Any = None, override: bool = True) -> None:
        """As the Java plugin makes one: 128 ports, open, no mark; VLAN none where CVM works with it."""
        setting = PORT.VmwarePortConfigPolicy(vlan=vlan or PORT.VlanIdSpec(inherited=False, vlanId=0))
        policy = PORT.VMwarePortgroupPolicy(
            blockOverrideAllowed=override, vlanOverrideAllowed=override, portConfigResetAtDisconnect=False,
            shapingOverrideAllowed=False, vendorConfigOverrideAllowed=False, livePortMovingAllowed=False,
            uplinkTeamingOverrideAllowed=False, securityPolicyOverrideAllowed=False,
        )  # fmt: skip
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name=name, type="earlyBinding", numPorts=128, defaultPortConfig=setting, policy=policy
        )
        await self.admin.run_task(self.dvs.ref, "AddDVPortgroup_Task", spec=[spec])

    async def left_vlan(self, vm: VirtualMachine, vlan: int) -> None:
        """As CVM gives a running port one."""
        port = self.port(vm)
        setting = PORT.VmwarePortConfigPolicy(vlan=PORT.VlanIdSpec(inherited=False, vlanId=vlan))
        spec = vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key=port.key, setting=setting)
        await self.admin.run_task(self.dvs.ref, "ReconfigureDVPort_Task", port=[spec])

    def left_objects(
        self, vm: VirtualMachine, network: ApiObject, *, creator: str, address: str = ""
    ) -> tuple[ApiObject, ApiObject, ApiObject]:
        """VM, interface and address as that predecessor names them."""
        mac = vm.nics[0].mac
        vmi = str(uuid4() if creator == JAVA else uuid3(NAMESPACE_DNS, mac))
        iip = str(uuid4() if creator == JAVA else uuid3(NAMESPACE_DNS, f"ip-{network.name}-{vm.name}"))
        perms = {"enable": True, "creator": creator}
        project = network.fq_name[:-1]
        shown = "10.84.0.7" if creator == JAVA else vm.name
        make = self.contrail.scenario.create
        machine = make(
            "virtual-machine", (vm.instance_uuid,), uuid=vm.instance_uuid, display_name=shown, id_perms=perms
        )
        interface = make(
            "virtual-machine-interface", (*project, vmi), uuid=vmi, parent_type="project", id_perms=perms,
            display_name=f"vmi-{network.name}-{vm.name}", virtual_machine_refs=[{"to": list(machine.fq_name)}],
            virtual_network_refs=[{"to": list(network.fq_name)}],
            virtual_machine_interface_mac_addresses={"mac_address": [mac]},
        )  # fmt: skip
        fields = {"instance_ip_address": address} if address else {}
        ip = make(
            "instance-ip", (iip,), uuid=iip, id_perms=perms, display_name=f"ip-{network.name}-{vm.name}",
            virtual_network_refs=[{"to": list(network.fq_name)}],
            virtual_machine_interface_refs=[{"to": list(interface.fq_name)}], **fields,
        )  # fmt: skip
        return machine, interface, ip

    async def left_plug(self, vm: VirtualMachine, interface: ApiObject, ip: ApiObject, *, vlan: int) -> None:
        """At the VRouterAgent of its host."""
        assert vm.host is not None
        network = self.contrail.scenario.find("virtual-network", "red")
        port = VRouterPort(
            id=UUID(interface.uuid), vm=UUID(vm.instance_uuid), network=UUID(network.uuid),
            project=UUID(network.parent_uuid), name=vm.name, mac=vm.nics[0].mac, vlan=vlan,
            ip=None, ip6=None,
        )  # fmt: skip
        await VRouterAgentClient(self.http).add(self.vcenter.vrouters.address_of(vm.host.moid), port)

    def made_by(self, kind: str, creator: str) -> dict[str, ApiObject]:
        return {
            each.uuid: each
            for each in self.contrail.scenario.all(kind)
            if each.properties["id_perms"].get("creator") == creator
        }

    def addresses(self) -> dict[str, str]:
        return {each.uuid: each.properties["instance_ip_address"] for each in self.contrail.scenario.all("instance-ip")}
