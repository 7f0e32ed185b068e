"""What Neutron's database wants of one vCenter, read as Neutron's own agents would be told it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from neutron.db import models_v2
from neutron.db.models import securitygroup as sg_models
from neutron.db.qos import models as qos_models
from neutron.objects import network as network_objects
from neutron.objects import ports as port_objects
from neutron.objects import trunk as trunk_objects
from neutron.objects.qos import policy as qos_policy
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib.context import get_admin_context
from neutron_lib.db import api as db_api
from neutron_lib.plugins import directory
from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.ml2.options import DriverSettings
from contrail_vsphere.ml2.tables import journal
from contrail_vsphere.ml2.worker.desired import Quality, Segment, Wanted, WantedNetwork, WantedPort
from contrail_vsphere.ml2.worker.quality import quality_of
from contrail_vsphere.ml2.worker.security_rules import port_security
from contrail_vsphere.ml2.worker.trunks import Subport, trunk_of

BATCH = 500
"""Ids in one query."""


class WantedReader:
    """Of one vCenter. Needs Neutron's core plugin in this process; every method blocks."""

    def __init__(self, settings: DriverSettings, vcenter: str) -> None:
        self.hosts = sorted(host for host, site in settings.placement.sites.items() if site.vcenter == vcenter)
        """Neutron hosts of this vCenter."""
        self._physnets = {physnet for owner, _, physnet in settings.placement.switches if owner == vcenter}

    def everything(self) -> Wanted:
        """All networks and ports that concern this vCenter."""
        context = get_admin_context()
        ports = self._ports(context, {"binding:host_id": self.hosts})
        return Wanted(self._networks(context, None), {port.id: port for port in ports}, complete=True)

    def objects(self, network_ids: Collection[str], port_ids: Collection[str]) -> Wanted:
        """These, and the networks of these ports."""
        context = get_admin_context()
        found = {port.id: port for port in self._ports_by_id(context, port_ids)}
        ports: dict[str, WantedPort | None] = dict.fromkeys(port_ids)
        ports.update(found)
        wanted_networks = {*network_ids, *(port.network_id for port in found.values())}
        networks: dict[str, WantedNetwork | None] = dict.fromkeys(wanted_networks)
        networks.update(self._networks(context, wanted_networks) if wanted_networks else {})
        return Wanted(networks, ports)

    def ports_concerned(self, entries: Iterable[journal.Entry]) -> set[str]:
        """Ports on our hosts whose rules depend on what these rows name."""
        own = {entry.object_id for entry in entries if entry.kind == journal.SECURITY_GROUP}
        remote = {entry.object_id for entry in entries if entry.kind == journal.GROUP_MEMBERS}
        addresses = {entry.object_id for entry in entries if entry.kind == journal.ADDRESS_GROUP}
        qualities = {entry.object_id for entry in entries if entry.kind == journal.QUALITY}

        def read(session: Session) -> set[str]:
            found = _ports_concerned(session, own, remote, addresses, self.hosts)
            return found | _ports_of_policies(session, qualities, self.hosts)

        with db_api.CONTEXT_READER.using(context := get_admin_context()):
            return read(context.session)

    def ports_with_macs(self, macs: Collection[str]) -> tuple[WantedPort, ...]:
        """Ports on our hosts with these MAC addresses."""
        filters = {"mac_address": sorted(macs), "binding:host_id": self.hosts}
        return self._ports(get_admin_context(), filters) if macs else ()

    def _networks(self, context: Any, ids: Collection[str] | None) -> dict[str, WantedNetwork]:
        filters = {"id": sorted(ids)} if ids is not None else {}
        plugin = directory.get_plugin()
        fields = ["id", "name", "admin_state_up", "mtu"]
        names = {each["id"]: each for each in plugin.get_networks(context, filters, fields=fields)}
        by_network: dict[str, list[Any]] = {}
        criteria = {"network_id": sorted(names)} if ids is not None else {}
        for segment in network_objects.NetworkSegment.get_objects(context, **criteria) if names else ():
            by_network.setdefault(segment.network_id, []).append(segment)
        found = {}
        for network_id, network in names.items():
            segments = by_network.get(network_id, [])
            ours = tuple(
                Segment(each.id, each.physical_network, each.segmentation_id or 0)
                for each in sorted(segments, key=lambda each: str(each.id))
                if each.network_type in ("vlan", "flat") and each.physical_network in self._physnets
            )
            if ours:
                found[network_id] = WantedNetwork(
                    network_id,
                    network["name"],
                    bool(network["admin_state_up"]),
                    ours,
                    mtu=int(network.get("mtu") or 0),
                    several=len(segments) > 1,
                )
        return found

    def _ports_by_id(self, context: Any, ids: Collection[str]) -> Iterable[WantedPort]:
        ordered = sorted(ids)
        for at in range(0, len(ordered), BATCH):
            yield from self._ports(context, {"id": ordered[at : at + BATCH]})

    def _ports(self, context: Any, filters: Mapping[str, Any]) -> tuple[WantedPort, ...]:
        return self._with_trunks(context, self._plain_ports(context, filters))

    def _plain_ports(self, context: Any, filters: Mapping[str, Any]) -> dict[str, WantedPort]:
        """As if there were no trunks."""
        plugin = directory.get_plugin()
        hosts = set(self.hosts)
        ours = {
            port["id"]: port
            for port in plugin.get_ports(context, filters=dict(filters))
            if port["binding:vif_type"] == "dvs" and port["binding:host_id"] in hosts
        }
        if not ours:
            return {}
        levels = port_objects.PortBindingLevel.get_objects(context, port_id=sorted(ours))
        segment_of = {(level.port_id, level.host): level.segment_id for level in levels}
        devices = {port["id"]: port for port in plugin.get_ports_from_devices(context, sorted(ours))}
        info = plugin.security_group_info_for_ports(context, devices)
        qualities = self._qualities(context, ours.values())
        return {
            port_id: WantedPort(
                id=port_id,
                network_id=port["network_id"],
                segment_id=segment_of.get((port_id, port["binding:host_id"]), ""),
                mac=port["mac_address"].lower(),
                host=port["binding:host_id"],
                admin_up=bool(port["admin_state_up"]),
                status=port["status"],
                security=port_security(port, info),
                details=port["binding:vif_details"],
                quality=qualities.get(_policy(port), Quality()),
            )
            for port_id, port in ours.items()
        }

    @staticmethod
    def _qualities(context: Any, ports: Iterable[Mapping[str, Any]]) -> dict[str, Quality]:
        ids = sorted({_policy(port) for port in ports} - {""})
        policies = qos_policy.QosPolicy.get_objects(context, id=ids) if ids else ()
        return {policy.id: quality_of(policy.rules) for policy in policies}

    def _with_trunks(self, context: Any, ports: dict[str, WantedPort]) -> tuple[WantedPort, ...]:
        """Parents with what their subports need, subports with their parent; either brings the others along."""
        mine = trunk_objects.SubPort.get_objects(context, port_id=sorted(ports)) if ports else ()
        trunks = sorted({each.trunk_id for each in mine})
        parents = {
            each.id: each.port_id for each in (trunk_objects.Trunk.get_objects(context, id=trunks) if trunks else ())
        }
        for each in mine:
            ports[each.port_id] = replace(ports[each.port_id], parent=parents.get(each.trunk_id, ""))
        # A subport is judged by its parent, which brings all its subports along.
        ports |= self._ports_without_trunks(context, set(parents.values()) - set(ports))
        of_parent = trunk_objects.Trunk.get_objects(context, port_id=sorted(ports)) if ports else ()
        for trunk in of_parent:
            parent = ports[trunk.port_id]
            missing = [each.port_id for each in trunk.sub_ports if each.port_id not in ports]
            subports = self._ports_without_trunks(context, missing) | {
                each.port_id: ports[each.port_id] for each in trunk.sub_ports if each.port_id in ports
            }
            vlans = self._vlans(context, {parent.segment_id, *(port.segment_id for port in subports.values())})
            ranges, problems = trunk_of(
                vlans.get(parent.segment_id) or 0,
                [
                    Subport(
                        each.port_id,
                        each.segmentation_id,
                        vlans.get(subports[each.port_id].segment_id) if each.port_id in subports else None,
                    )
                    for each in trunk.sub_ports
                ],
            )
            fitting = [port for port_id, port in subports.items() if port_id not in problems]
            # A subport's own MAC address may differ from its parent's: the switch must let it be sent from.
            guards = tuple(
                replace(port.security, other_macs=port.security.other_macs or port.mac != parent.mac)
                for port in fitting
            )
            ports[parent.id] = replace(parent, trunk=ranges, subports=guards)
            for port_id, port in subports.items():
                ports[port_id] = replace(port, parent=parent.id, problem=problems.get(port_id, ""))
        return tuple(ports.values())

    def _ports_without_trunks(self, context: Any, ids: Collection[str]) -> dict[str, WantedPort]:
        return self._plain_ports(context, {"id": sorted(ids)}) if ids else {}

    @staticmethod
    def _vlans(context: Any, segment_ids: Collection[str]) -> dict[str, int]:
        wanted = sorted(set(segment_ids) - {""})
        return {
            each.id: each.segmentation_id or 0
            for each in network_objects.NetworkSegment.get_objects(context, id=wanted)
        }


def _policy(port: Mapping[str, Any]) -> str:
    """The port's own QoS policy, else its network's."""
    return str(port.get("qos_policy_id") or port.get("qos_network_policy_id") or "")


def _ports_of_policies(session: Session, policies: set[str], hosts: list[str]) -> set[str]:
    if not policies:
        return set()
    binding, own, of_network = (
        ml2_models.PortBinding,
        qos_models.QosPortPolicyBinding,
        qos_models.QosNetworkPolicyBinding,
    )
    here = binding.host.in_(hosts) & (binding.vif_type == "dvs")
    direct = select(binding.port_id).join(own, own.port_id == binding.port_id).where(own.policy_id.in_(policies), here)
    through = (
        select(binding.port_id)
        .join(models_v2.Port, models_v2.Port.id == binding.port_id)
        .join(of_network, of_network.network_id == models_v2.Port.network_id)
        .where(of_network.policy_id.in_(policies), here)
    )
    return set(session.scalars(direct)) | set(session.scalars(through))


def _ports_concerned(
    session: Session, own: set[str], remote: set[str], addresses: set[str], hosts: list[str]
) -> set[str]:
    rule = sg_models.SecurityGroupRule
    concerned = set(own)
    if remote:
        concerned |= set(session.scalars(select(rule.security_group_id).where(rule.remote_group_id.in_(remote))))
    if addresses:
        concerned |= set(
            session.scalars(select(rule.security_group_id).where(rule.remote_address_group_id.in_(addresses)))
        )
    if not concerned:
        return set()
    member, binding = sg_models.SecurityGroupPortBinding, ml2_models.PortBinding
    return set(
        session.scalars(
            select(member.port_id)
            .join(binding, binding.port_id == member.port_id)
            .where(member.security_group_id.in_(concerned), binding.host.in_(hosts), binding.vif_type == "dvs")
        )
    )
