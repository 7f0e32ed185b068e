"""What single types do beyond the common rules: networks, interfaces, addresses, security groups, projects."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from contrail_vsphere.simulator.contrail import subnets
from contrail_vsphere.simulator.contrail.answers import RefusedError, stumbled
from contrail_vsphere.simulator.contrail.context import Site
from contrail_vsphere.simulator.contrail.ipam import IPAM_REFS, subnet_items
from contrail_vsphere.simulator.contrail.rules import complete_rules
from contrail_vsphere.simulator.contrail.store import ApiObject, Transaction
from contrail_vsphere.wire.contrail.schema import resource, structure

References = dict[str, dict[str, Any]]
"""Field -> uuid -> attr."""

READ_WRITE, READ_WRITE_LINK = 5, 7
"""Values of ``perms2.global_access`` that make a network shared."""


class Hooks:
    """Does nothing; types that do something override."""

    own_children: frozenset[str] = frozenset()
    """Types of children that go with the object."""
    extra: Mapping[str, Any] | None = None
    """``extra_dict`` of the type's UPDATE notifications."""

    def before_create(self, site: Site, tx: Transaction, made: ApiObject) -> None:
        """Complete or refuse an object that is about to be there."""

    def after_create(self, site: Site, tx: Transaction, made: ApiObject) -> None:
        """What is made beside it."""

    def before_update(
        self, site: Site, tx: Transaction, changed: ApiObject, properties: dict[str, Any], references: References
    ) -> None:
        """Complete or refuse a change; may edit ``properties`` and ``references``."""

    def before_delete(self, site: Site, tx: Transaction, gone: ApiObject) -> None:
        """Give back what the object held."""


class VirtualNetwork(Hooks):
    """Subnets, network id, the routing instance."""

    own_children = frozenset({"routing-instance"})
    extra = MappingProxyType({"deallocated_vxlan_network_identifier": None})

    def before_create(self, site: Site, tx: Transaction, made: ApiObject) -> None:
        self._complete(site, made.references)
        store = site.store
        made.properties["virtual_network_network_id"] = store.network_ids
        store.network_ids += 1
        perms = made.properties["perms2"]
        if made.properties.get("is_shared"):
            made.properties["perms2"] = {**perms, "global_access": READ_WRITE_LINK}
        elif perms["global_access"] in {READ_WRITE, READ_WRITE_LINK}:
            made.properties["is_shared"] = True

    def after_create(self, site: Site, tx: Transaction, made: ApiObject) -> None:
        own_child(
            site,
            tx,
            made,
            type_name="routing-instance",
            name=made.name,
            properties={"routing_instance_is_default": True},
        )

    def before_update(
        self, site: Site, tx: Transaction, changed: ApiObject, properties: dict[str, Any], references: References
    ) -> None:
        if IPAM_REFS in references:
            self._complete(site, references)
            site.ipam.check_edit(changed, references[IPAM_REFS])
        perms = properties.get("perms2") or changed.properties["perms2"]
        if "is_shared" in properties:
            access = READ_WRITE_LINK if properties["is_shared"] else 0
            properties["perms2"] = {**perms, "global_access": access}
        elif "perms2" in properties:
            properties["is_shared"] = perms.get("global_access") in {READ_WRITE, READ_WRITE_LINK}

    def before_delete(self, site: Site, tx: Transaction, gone: ApiObject) -> None:
        site.ipam.forget(tx, gone)

    def _complete(self, site: Site, references: References) -> None:
        found = references.get(IPAM_REFS)
        if not found:
            return
        references[IPAM_REFS] = made = {
            uuid: subnets.complete(attr, new_uuid=site.store.new_uuid) for uuid, attr in found.items()
        }
        subnets.refuse_overlap([item for item in subnet_items(made) if item.get("subnet")])


class VirtualMachineInterface(Hooks):
    """MAC and the link to the network's routing instance, made at create and never again."""

    def before_create(self, site: Site, tx: Transaction, made: ApiObject) -> None:
        if not made.references.get("virtual_network_refs"):
            raise stumbled("KeyError: 'virtual_network_refs'")
        macs = (made.properties.get("virtual_machine_interface_mac_addresses") or {}).get("mac_address") or []
        if not macs:
            macs = [":".join(f"{byte:02x}" for byte in (2, *uuids.UUID(made.uuid).bytes[:5]))]
        made.properties["virtual_machine_interface_mac_addresses"] = {
            "mac_address": [mac.replace("-", ":") for mac in macs]
        }
        made.properties.setdefault("port_security_enabled", True)

    def after_create(self, site: Site, tx: Transaction, made: ApiObject) -> None:
        network = made.referred("virtual_network_refs")[0]
        attr = dict.fromkeys(structure("PolicyBasedForwardingRuleType")) | {"direction": "both"}
        instances = site.store.children(network, "routing-instance")
        if instances:
            tx.set_references(made, "routing_instance_refs", {instances[0].uuid: attr})
            tx.tell("UPDATE", made)

    def before_update(
        self, site: Site, tx: Transaction, changed: ApiObject, properties: dict[str, Any], references: References
    ) -> None:
        macs = (properties.get("virtual_machine_interface_mac_addresses") or {}).get("mac_address")
        if macs:
            properties["virtual_machine_interface_mac_addresses"] = {
                "mac_address": [mac.replace("-", ":") for mac in macs]
            }


class InstanceIp(Hooks):
    """Its address is taken at create and given back at delete; in between it cannot change."""

    def before_create(self, site: Site, tx: Transaction, made: ApiObject) -> None:
        network = self._network(site, made)
        asked = made.properties.get("instance_ip_address")
        subnet = str(made.properties.get("subnet_uuid") or "")
        if asked:
            interfaces = [site.store[uuid] for uuid in made.referred("virtual_machine_interface_refs")]
            for_vm = any(interface.references.get("virtual_machine_refs") for interface in interfaces)
            given = site.ipam.reserve(tx, network, asked, owner=made.uuid, for_vm=for_vm, subnet_uuid=subnet)
        else:
            family = str(made.properties.get("instance_ip_family") or "v4")
            asked, given = site.ipam.allocate(tx, network, owner=made.uuid, family=family, subnet_uuid=subnet)
        made.properties["instance_ip_address"] = asked
        made.properties["subnet_uuid"] = given

    def before_update(
        self, site: Site, tx: Transaction, changed: ApiObject, properties: dict[str, Any], references: References
    ) -> None:
        asked = properties.get("instance_ip_address", changed.properties.get("instance_ip_address"))
        if asked != changed.properties.get("instance_ip_address"):
            raise RefusedError(400, "Instance IP Address can not be changed")

    def before_delete(self, site: Site, tx: Transaction, gone: ApiObject) -> None:
        for uuid in gone.referred("virtual_network_refs"):
            network = site.store.objects.get(uuid)
            address = gone.properties.get("instance_ip_address")
            if network is not None and address:
                site.ipam.free(tx, network, address)

    def _network(self, site: Site, made: ApiObject) -> ApiObject:
        found = made.referred("virtual_network_refs")
        if not found:
            raise RefusedError(400, "can only join an iterable")
        return site.store[found[0]]


class SecurityGroup(Hooks):
    """Id and rules."""

    def before_create(self, site: Site, tx: Transaction, made: ApiObject) -> None:
        made.properties["security_group_id"] = site.store.group_ids
        site.store.group_ids += 1
        entries = made.properties.get("security_group_entries")
        if entries:
            made.properties["security_group_entries"] = complete_rules(entries, site.store.new_uuid)

    def before_update(
        self, site: Site, tx: Transaction, changed: ApiObject, properties: dict[str, Any], references: References
    ) -> None:
        if properties.get("security_group_entries"):
            properties["security_group_entries"] = complete_rules(
                properties["security_group_entries"], site.store.new_uuid
            )


class Project(Hooks):
    """Every project has an application policy set of its own."""

    own_children = frozenset({"application-policy-set"})

    def after_create(self, site: Site, tx: Transaction, made: ApiObject) -> None:
        name = "default-application-policy-set"
        policies = own_child(
            site, tx, made, type_name="application-policy-set", name=name, properties={"all_applications": True}
        )
        tx.set_references(made, "application_policy_set_refs", {policies.uuid: None})
        tx.tell("UPDATE", made)


def own_child(
    site: Site, tx: Transaction, parent: ApiObject, *, type_name: str, name: str, properties: Mapping[str, Any]
) -> ApiObject:
    """An object the server makes by itself: nobody is its creator."""
    uuid = site.store.new_uuid()
    number = uuids.UUID(uuid).int
    stamp = site.store.stamp()
    perms = {**parent.properties["id_perms"], "creator": None, "created": stamp, "last_modified": stamp}
    perms["uuid"] = {"uuid_mslong": number >> 64, "uuid_lslong": number & (1 << 64) - 1}
    made = ApiObject(
        uuid=uuid,
        type=resource(type_name),
        fq_name=(*parent.fq_name, name),
        parent_uuid=parent.uuid,
        parent_type=parent.type.name,
        properties={
            "id_perms": perms,
            "perms2": {**parent.properties["perms2"], "owner": "contrail-api"},
            **properties,
        },
    )
    made.properties["display_name"] = name
    tx.insert(made)
    tx.tell("CREATE", made)
    return made


NO_HOOKS = Hooks()
HOOKS: Mapping[str, Hooks] = {
    "virtual-network": VirtualNetwork(),
    "virtual-machine-interface": VirtualMachineInterface(),
    "instance-ip": InstanceIp(),
    "security-group": SecurityGroup(),
    "project": Project(),
}
