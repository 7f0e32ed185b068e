"""The plugin's actions on objects of VMs in Contrail, in the words of the one writer that knows how to repeat a call.

What is added here is what only the plugin knows: which values an action stands for, and that an interface which was
there already must be the same VM's in the same network.
"""

from __future__ import annotations

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.contrail.writer import ContrailWriter
from contrail_vsphere.model.contrail import Annotations, ContrailVm, InstanceIp, VirtualNetwork, Vmi
from contrail_vsphere.model.errors import AlreadyExists, InvalidState, NotFound
from contrail_vsphere.model.ids import IipId, VirtualMachineId, VmiId, VnId
from contrail_vsphere.vcenter_plugin.identity import CREATOR, PREDECESSORS
from contrail_vsphere.vcenter_plugin.plan.actions import AdoptVmi, CreateIip, CreateVmi, EnsureVm


class MachineObjects:
    """Makes, changes and deletes; the real ``doors.ContrailObjects``."""

    def __init__(self, api: ConfigApi, inventory: ContrailInventory) -> None:
        self._api = api
        self._inventory = inventory
        self._writer = ContrailWriter(api, inventory, creator=CREATOR, adopts=PREDECESSORS)

    async def has_network(self, network: VnId) -> bool:
        """Ask now; what was found is read again by the inventory too."""
        try:
            await self._api.read("virtual-network", network, fields=["display_name"])
        except NotFound:
            return False
        self._inventory.mark("virtual-network", [network])
        return True

    async def ensure_vm(self, action: EnsureVm) -> None:
        """Make it, or give it its present name and, to a predecessor's, our mark."""
        before = self._inventory.vms.get(action.vm)
        marks = Annotations(action.annotations)
        if before is not None:
            if not marks.items() <= before.annotations.items():
                before = await self._writer.annotate(before, marks)
            if before.display_name != action.name:
                await self._writer.rename(before, action.name)
            return
        name, owner = str(action.vm), action.project.hex
        await self._writer.create_vm(ContrailVm(action.vm, name, action.name, owner, annotations=marks))

    async def create_vmi(self, action: CreateVmi) -> None:
        """Make it, in the security group ``default`` of the network's project.

        InvalidState when the uuid is taken by an interface of another VM or network.
        """
        network = self._network(action.network)
        project = network.fq_name[:-1]
        group = await self._writer.ensure_default_group(action.project, project)
        made = await self._writer.create_vmi(
            Vmi(
                uuid=action.vmi,
                fq_name=(*project, str(action.vmi)),
                parent_uuid=action.project,
                display_name=action.name,
                network=action.network,
                vm=action.vm,
                macs=(action.mac,),
                security_groups=(group.uuid,),
                annotations=Annotations(action.annotations),
            )
        )
        if (made.vm, made.network) != (action.vm, action.network):
            hint = "see contrail-vsphere plugin explain"
            raise InvalidState(f"interface {action.vmi} exists and is another's", hint=hint)

    async def adopt_vmi(self, action: AdoptVmi) -> None:
        """A predecessor's interface gets our mark; all else of it stays."""
        await self._writer.annotate(self._vmi(action.vmi), dict(action.annotations))

    async def set_mac(self, vmi: VmiId, mac: str) -> None:
        """The interface has this one MAC address."""
        await self._writer.set_macs(self._vmi(vmi), (mac,))

    async def create_iip(self, action: CreateIip) -> None:
        """Make it and read which address it got.

        AlreadyExists when somebody else has the address, OutOfResources when the network has none left.
        """
        self._network(action.network)
        self._vmi(action.vmi)
        wanted = InstanceIp(
            uuid=action.iip,
            name=str(action.iip),
            address=action.address,
            family=action.family,
            network=action.network,
            vmis=(action.vmi,),
            display_name=action.name,
        )
        try:
            made = await self._writer.create_instance_ip(wanted)
        except AlreadyExists as error:
            hint = "give the guest another address, or delete the instance IP that has it"
            raise AlreadyExists(
                f"{action.address or 'its address'} cannot be had: {error.message}", hint=hint
            ) from error
        if made.vmis != (action.vmi,):
            raise InvalidState(f"instance IP {action.iip} is not of interface {action.vmi}")

    async def delete_iip(self, iip: IipId) -> None:
        """Gone already is fine."""
        await self._writer.delete_instance_ip(iip)

    async def delete_vmi(self, vmi: VmiId) -> None:
        """With addresses of ours that the cache does not know; a floating IP lets go of it."""
        await self._writer.delete_port(vmi)

    async def delete_vm(self, vm: VirtualMachineId) -> None:
        """Busy while an interface of somebody else refers to it."""
        await self._writer.delete_vm(vm)

    def _network(self, network: VnId) -> VirtualNetwork:
        found = self._inventory.networks.get(network)
        if found is None:
            raise NotFound(f"virtual network {network} is gone")
        return found

    def _vmi(self, vmi: VmiId) -> Vmi:
        found = self._inventory.vmis.get(vmi)
        if found is None:
            raise NotFound(f"interface {vmi} is gone")
        return found
