"""What a VRouterAgent is told of a port, and how it is known again. Pure."""

from __future__ import annotations

import hashlib
import json

from contrail_vsphere.contrail.vrouter_agent import VRouterPort
from contrail_vsphere.model.contrail import Address, Vmi
from contrail_vsphere.model.errors import InvalidArgument
from contrail_vsphere.vcenter_plugin.desired import WantedPort
from contrail_vsphere.vcenter_plugin.plan.actions import Wait
from contrail_vsphere.vcenter_plugin.plan.contrail import lacking_address
from contrail_vsphere.vcenter_plugin.plan.sights import PortSight


def values_for(
    port: PortSight, wanted: WantedPort, *, vlan: int, name: str, enabled: bool = True
) -> VRouterPort | Wait:
    """What the VRouterAgent is told of the port, or what that waits for."""
    vmi = port.vmi
    if vmi is None or vmi.network != wanted.network or wanted.mac not in vmi.macs:
        return Wait(state="PROVISIONING", port=port.id, reason="Contrail does not have the interface yet")
    lacking = lacking_address(port, wanted)
    if lacking:
        return Wait(state="PROVISIONING", port=port.id, reason=lacking)
    values = agent_port(port, wanted, vmi, vlan=vlan, name=name, enabled=enabled)
    return Wait(state="ERROR", port=port.id, reason=values) if isinstance(values, str) else values


def agent_port(
    port: PortSight, wanted: WantedPort, vmi: Vmi, *, vlan: int, name: str, enabled: bool = True
) -> VRouterPort | str:
    """What the VRouterAgent is told, or why it must not be."""
    first: dict[str, Address] = {}
    for iip in sorted(port.iips, key=lambda each: str(each.uuid)):
        if iip.address is not None and not iip.service and not iip.secondary:
            first.setdefault("v4" if iip.address.version == 4 else "v6", iip.address)
    v4, v6 = first.get("v4"), first.get("v6")
    try:
        return VRouterPort(
            id=vmi.uuid,
            vm=port.id.vm,
            network=wanted.network,
            project=wanted.project,
            name=name,
            mac=wanted.mac,
            vlan=vlan,
            ip=v4 if v4 is not None and v4.version == 4 else None,
            ip6=v6 if v6 is not None and v6.version == 6 else None,
            enabled=enabled,
        )
    except InvalidArgument as error:
        return str(error)


def digest_of(values: VRouterPort) -> str:
    """Of everything that needs a new plug when it changes; a name does not."""
    body = {key: value for key, value in values.body().items() if key not in ("display-name", "link-state")}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
