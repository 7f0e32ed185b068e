"""What a fresh API server has: a domain, a project, networks, ipams, the global configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contrail_vsphere.simulator.contrail import resources
from contrail_vsphere.simulator.contrail.context import Caller, Site
from contrail_vsphere.wire.contrail.schema import resource

DOMAIN = "default-domain"
_PROJECT = (DOMAIN, "default-project")
_GLOBAL = "default-global-system-config"
_POLICIES = "default-policy-management"

_OBJECTS: tuple[tuple[str, tuple[str, ...], str, Mapping[str, Any]], ...] = (
    (
        "global-system-config",
        (_GLOBAL,),
        "",
        {"autonomous_system": 64512, "config_version": "1.0", "ibgp_auto_mesh": True, "enable_4byte_as": False},
    ),
    ("global-vrouter-config", (_GLOBAL, "default-global-vrouter-config"), "global-system-config", {}),
    ("fabric", (_GLOBAL, "default-fabric"), "global-system-config", {}),
    ("domain", (DOMAIN,), "", {}),
    ("project", _PROJECT, "domain", {}),
    ("security-group", (*_PROJECT, "__no_rule__"), "project", {}),
    ("network-ipam", (*_PROJECT, "default-network-ipam"), "project", {}),
    (
        "network-ipam",
        (*_PROJECT, "service-chain-flat-ipam"),
        "project",
        {"ipam_subnet_method": "flat-subnet"},
    ),
    ("virtual-network", (*_PROJECT, "default-virtual-network"), "project", {"is_shared": False}),
    ("virtual-network", (*_PROJECT, "ip-fabric"), "project", {"is_shared": False}),
    ("virtual-network", (*_PROJECT, "__link_local__"), "project", {"is_shared": False}),
    ("virtual-network", (*_PROJECT, "dci-network"), "project", {"is_shared": False}),
    ("policy-management", (_POLICIES,), "", {}),
    (
        "application-policy-set",
        (_POLICIES, "global-application-policy-set"),
        "policy-management",
        {"all_applications": True},
    ),
    *(
        ("tag-type", (name,), "", {})
        for name in ("application", "deployment", "label", "neutron_fwaas", "neutron_tag", "site", "tier")
    ),
)


def install(site: Site) -> None:
    """Put the default objects into an empty store; like the real ones they have no display name."""
    with site.store.commit() as tx:
        for type_name, fq_name, parent_type, properties in _OBJECTS:
            body: dict[str, Any] = {"fq_name": list(fq_name), **properties}
            if parent_type:
                body["parent_type"] = parent_type
            made = resources.create(site, Caller(), resource(type_name), body)
            tx.set_property(made, "display_name", None)
