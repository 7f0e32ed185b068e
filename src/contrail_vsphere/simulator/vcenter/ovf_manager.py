"""OvfManager: what a client needs to deploy an OVF package itself, file by file (CreateImportSpec, then ImportVApp)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.devices import NicState
from contrail_vsphere.simulator.vcenter.managed_entity import fault, found
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.ovf_import import NIC_KINDS, property_infos
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
from contrail_vsphere.wire.ovf.descriptor import Descriptor, parse
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import managed_class, vim

if TYPE_CHECKING:
    from contrail_vsphere.wire.ovf.hardware import Hardware

DISK_FILE = 17
"""CIM's resource type of a disk drive."""
CONTROLLER = "ParaVirtualSCSIController0"


def import_key(name: str, unit: int) -> str:
    """Ties a file of the package to a disk of the VM: the same in OvfFileItem.deviceId and in the lease's importKey."""
    return f"/{name}/{CONTROLLER}:{unit}"


@dataclass(slots=True, eq=False, kw_only=True)
class OvfManager(Entity):
    """Stateless."""

    wsdl: ClassVar[str] = "OvfManager"

    @managed_property("ovfImportOption")
    def _import_options(self) -> list[Any]:
        return []

    @managed_property("ovfExportOption")
    def _export_options(self) -> list[Any]:
        return []

    @operation("ParseDescriptor", note="no localized texts, no annotated OST")
    def parse_descriptor(self, call: Call, ovfDescriptor: str, pdp: Any) -> Any:
        """What a wizard shows before it asks; a package that cannot be read comes back as ``error``."""
        kind = vim.OvfManager.ParseDescriptorResult
        try:
            package = parse(ovfDescriptor.encode())
        except PackageError as error:
            return data_object(
                kind,
                annotation="",
                defaultEntityName="",
                virtualApp=False,
                defaultDeploymentOption="",
                error=[_refusal(error)],
            )
        return data_object(
            kind,
            eula=list(package.eulas),
            network=[
                data_object(vim.OvfManager.NetworkInfo, name=net.name, description=net.description)
                for net in package.networks
            ],
            property=list(property_infos(package)),
            productInfo=data_object(
                vim.vApp.ProductInfo,
                key=0,
                name=package.product,
                vendor=package.vendor,
                version=package.version,
                fullVersion=package.full_version,
            ),
            annotation=package.annotation,
            approximateDownloadSize=sum(file.size or 0 for file in package.files),
            approximateFlatDeploymentSize=sum(disk.capacity for disk in package.disks),
            approximateSparseDeploymentSize=sum(disk.populated_size or 0 for disk in package.disks),
            defaultEntityName=package.name or package.id,
            virtualApp=False,
            deploymentOption=[
                data_object(
                    vim.OvfManager.DeploymentOption, key=item.id, label=item.label, description=item.description
                )
                for item in package.options
            ],
            defaultDeploymentOption=package.default_option,
        )

    @operation("CreateImportSpec", note="one VM per package; no vApps, no OST")
    def create_import_spec(self, call: Call, ovfDescriptor: str, resourcePool: Any, datastore: Any, cisp: Any) -> Any:
        """The VM's specification and the files to upload; what is wrong with the package comes back as ``error``."""
        pool = found(self, resourcePool, ResourcePool)
        home = found(self, datastore, Datastore)
        kind = vim.OvfManager.CreateImportSpecResult
        try:
            package = parse(ovfDescriptor.encode())
            hardware = package.hardware(cisp.deploymentOption or "")
            networks = self._networks(hardware, pool, cisp)
        except PackageError as error:
            return data_object(kind, error=[_refusal(error)])
        except SoapFault as error:
            return data_object(kind, error=[error])
        name = cisp.entityName or package.name or package.id
        spec = data_object(
            vim.vm.VmImportSpec,
            configSpec=_config(package, hardware, name=name, home=home, networks=networks, cisp=cisp),
        )
        return data_object(kind, importSpec=spec, fileItem=_files(package, hardware, name))

    def _networks(self, hardware: Hardware, pool: ResourcePool, cisp: Any) -> dict[str, Network]:
        """OVF network -> network; a network of the hosts for all of them when the caller names none."""
        mapping = {item.name: found(self, item.network, Network) for item in cisp.networkMapping}
        if not mapping:
            offered = [net for host in pool.owner.hosts for net in host.networks if net.wsdl == "Network"]
            mapping = {nic.network: offered[0] for nic in hardware.nics if offered}
        missing = next((nic.network for nic in hardware.nics if nic.network not in mapping), None)
        if missing is not None:
            raise fault(
                vim.fault.OvfInvalidValueReference,
                f"Network '{missing}' is not mapped.",
                lineNumber=0,
                elementName="Connection",
                attributeName="",
                value=missing,
            )
        return mapping


def _refusal(error: PackageError) -> SoapFault:
    return fault(vim.fault.OvfInvalidPackage, str(error), lineNumber=0)


def _files(package: Descriptor, hardware: Hardware, name: str) -> list[Any]:
    items = []
    for index, drive in enumerate(hardware.disks):
        disk = package.disk(drive.disk)
        if not disk.file:
            continue
        file = package.file(disk.file)
        items.append(
            data_object(
                vim.OvfManager.FileItem,
                deviceId=import_key(name, unit_of(index)),
                path=file.href,
                compressionMethod=file.compression or None,
                chunkSize=file.chunk_size,
                size=file.size,
                cimType=DISK_FILE,
                create=False,
            )
        )
    return items


def unit_of(index: int) -> int:
    """The n-th disk's place on its SCSI controller, which itself has unit 7."""
    return index if index < 7 else index + 1


def _config(
    package: Descriptor, hardware: Hardware, *, name: str, home: Datastore, networks: dict[str, Network], cisp: Any
) -> Any:
    given = {item.key: item.value for item in cisp.propertyMapping}
    properties = []
    for info, known in zip(property_infos(package), package.properties, strict=True):
        value = given.get(known.id)
        properties.append(
            data_object(
                vim.vApp.PropertySpec,
                operation="add",
                info=data_object(type(info), **{**info.__dict__, "value": value}),
            )
        )
    return data_object(
        vim.vm.ConfigSpec,
        name=name,
        files=data_object(vim.vm.FileInfo, vmPathName=f"[{home.name}]"),
        guestId=package.os_type or "otherGuest64",
        version=next(iter(hardware.virtual_system_types), "vmx-19"),
        numCPUs=hardware.cpus,
        numCoresPerSocket=hardware.cores_per_socket,
        memoryMB=hardware.memory_mb,
        annotation=package.annotation or None,
        cpuAllocation=data_object(vim.ResourceAllocationInfo, reservation=hardware.cpu_mhz_reserved),
        memoryAllocation=data_object(vim.ResourceAllocationInfo, reservation=hardware.memory_mb_reserved),
        extraConfig=[
            data_object(vim.option.OptionValue, key=item.key, value=item.value) for item in hardware.extra_config
        ],
        deviceChange=[*_disks(package, hardware, cisp), *_cards(hardware, networks)],
        vAppConfig=data_object(
            vim.vApp.VmConfigSpec, property=properties, ovfEnvironmentTransport=list(package.transports)
        )
        if properties or package.transports
        else None,
    )


def _disks(package: Descriptor, hardware: Hardware, cisp: Any) -> list[Any]:
    device = vim.vm.device
    thin = (cisp.diskProvisioning or "thin") != "thick"
    controller = data_object(device.ParaVirtualSCSIController, key=-100, busNumber=0, sharedBus="noSharing")
    changes = [data_object(device.VirtualDeviceSpec, operation="add", device=controller)] if hardware.disks else []
    for index, drive in enumerate(hardware.disks):
        capacity = package.disk(drive.disk).capacity
        backing = data_object(
            device.VirtualDisk.FlatVer2BackingInfo, fileName="", diskMode="persistent", thinProvisioned=thin
        )
        disk = data_object(
            device.VirtualDisk,
            key=-200 - index,
            controllerKey=-100,
            unitNumber=unit_of(index),
            capacityInKB=capacity // 1024,
            capacityInBytes=capacity,
            backing=backing,
        )
        changes.append(data_object(device.VirtualDeviceSpec, operation="add", fileOperation="create", device=disk))
    return changes


def _cards(hardware: Hardware, networks: dict[str, Network]) -> list[Any]:
    device = vim.vm.device
    changes = []
    for index, nic in enumerate(hardware.nics):
        backing = networks[nic.network].nic_backing(NicState(key=-300 - index, mac="", network=networks[nic.network]))
        connectable = data_object(
            device.VirtualDevice.ConnectInfo,
            startConnected=nic.connected,
            allowGuestControl=True,
            connected=nic.connected,
        )
        card = data_object(
            managed_class(NIC_KINDS.get(nic.kind.lower(), "VirtualVmxnet3")),
            key=-300 - index,
            backing=backing,
            connectable=connectable,
            addressType="assigned",
            unitNumber=nic.unit,
        )
        changes.append(data_object(device.VirtualDeviceSpec, operation="add", device=card))
    return changes
