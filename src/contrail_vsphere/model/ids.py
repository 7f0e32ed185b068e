"""Identities of outside objects, kept apart by type so that a host is never passed where a VM is meant.

What is inside is what the outside world itself calls the object: for vSphere the managed object id ("host-12").
"""

from typing import NewType
from uuid import UUID

DatacenterId = NewType("DatacenterId", str)
ClusterId = NewType("ClusterId", str)
"""A compute resource: a cluster ("domain-c8") or the compute resource of a standalone host ("domain-s9")."""
HostId = NewType("HostId", str)
VmId = NewType("VmId", str)
DatastoreId = NewType("DatastoreId", str)
NetworkId = NewType("NetworkId", str)
"""A standard network ("network-7") or a distributed port group ("dvportgroup-9")."""
DvsId = NewType("DvsId", str)
FolderId = NewType("FolderId", str)
ResourcePoolId = NewType("ResourcePoolId", str)
TaskId = NewType("TaskId", str)
AgencyId = NewType("AgencyId", str)
EsxAgentId = NewType("EsxAgentId", str)

VnId = NewType("VnId", UUID)
"""Contrail's ids are UUIDs; kept as such, because its servers compare text and know lower case only."""
VirtualMachineId = NewType("VirtualMachineId", UUID)
"""A ``virtual-machine`` of Contrail; the VM in vCenter is a :data:`VmId`."""
VmiId = NewType("VmiId", UUID)
IipId = NewType("IipId", UUID)
ProjectId = NewType("ProjectId", UUID)
SecurityGroupId = NewType("SecurityGroupId", UUID)
