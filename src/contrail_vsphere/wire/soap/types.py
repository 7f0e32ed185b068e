"""Names of vSphere types, both ways, from pyVmomi's metadata."""

from __future__ import annotations

import functools
from typing import Any

from pyVmomi import VmomiSupport, eam, vim, vmodl

__all__ = ["eam", "managed_class", "vim", "vmodl", "wsdl_name"]


@functools.lru_cache(maxsize=8192)
def managed_class(name: str, namespace: str = "urn:vim25") -> Any:
    """The bindings' class for a managed object type on the wire; plain ManagedObject for a type we do not know.

    On the EAM endpoint foreign references (``HostSystem``) travel unqualified: a name EAM lacks is looked up in vim.
    """
    for candidate in (namespace, "urn:vim25", "urn:eam"):
        try:
            return VmomiSupport.GetWsdlType(candidate, name)
        except KeyError:
            continue
    return VmomiSupport.ManagedObject


def wsdl_name(value: Any) -> str:
    """Type name on the wire of a value or class; a decoded value of unknown type remembers the name it came with."""
    unknown = getattr(value, "__dict__", {}).get("_unknown_type")
    if unknown:
        return str(unknown)
    cls = value if isinstance(value, type) else type(value)
    return str(VmomiSupport.GetWsdlName(cls))
