"""``openvswitch,vmware_dvs`` on one Neutron: ports of both kinds on one network, seen in the API and in its tables."""

from __future__ import annotations

import asyncio
import json

import openstack
import pytest
from neutron_stand import HOST, NeutronStand

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("neutron"), pytest.mark.asyncio(loop_scope="session")]
KVM, DEAD = "kvm-with-ovs", "kvm-1"
OVS_AGENT = {"bridge_mappings": {"physnet1": "br-ex"}, "tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.1"}


async def rows(stand, statement):
    return await asyncio.to_thread(stand.neutron.execute, statement)


async def ovs_host(stand):
    """An Open vSwitch host as its NeutronAgent registers: alive for an hour."""
    await rows(stand, f"""
        INSERT INTO agents (id, agent_type, `binary`, topic, host, created_at, started_at, heartbeat_timestamp,
            configurations)
        VALUES (UUID(), 'Open vSwitch agent', 'neutron-openvswitch-agent', 'N/A', '{KVM}', UTC_TIMESTAMP(),
            UTC_TIMESTAMP(), UTC_TIMESTAMP() + INTERVAL 1 HOUR, '{json.dumps(OVS_AGENT)}')
    """)  # fmt: skip


async def drivers(stand, port):
    """Who bound it, as Neutron's tables have it."""
    found = await rows(stand, f"""
        SELECT b.vif_type, l.driver FROM ml2_port_bindings b
        LEFT JOIN ml2_port_binding_levels l ON l.port_id = b.port_id AND l.host = b.host
        WHERE b.port_id = '{port.id}'
    """)  # fmt: skip
    return found[0] if len(found) == 1 else found


async def blocks(stand, port):
    """What must report before Neutron calls the port ACTIVE."""
    found = await rows(
        stand,
        f"""
        SELECT entity FROM provisioningblocks JOIN ports USING (standard_attr_id) WHERE ports.id = '{port.id}'
    """,
    )
    return sorted(entity for (entity,) in found)


async def test_hosts_of_both_kinds_share_a_network(stand: NeutronStand):
    await ovs_host(stand)
    network = await stand.network("mixed", "10.3.0.0/24")
    group = await stand.group("mixed")
    await stand.allow(group, port_range_min=80, port_range_max=80, remote_group_id=group.id)
    await stand.port_group_of(network)
    ours = await stand.port(network, security_group_ids=[group.id])
    theirs = await stand.port(network, host=KVM, security_group_ids=[group.id])
    nobody = await stand.port(network, host=DEAD)
    assert [port.binding_vif_type for port in (ours, theirs, nobody)] == ["dvs", "ovs", "binding_failed"]
    assert set(theirs.binding_vif_details) & {"dvs_id", "pg_id", "dvs_port_group_name", "dvs_port_key"} == set()
    assert await drivers(stand, ours) == ("dvs", "vmware_dvs")
    assert await drivers(stand, theirs) == ("ovs", "openvswitch")
    assert await drivers(stand, nobody) == ("binding_failed", None)

    nic = await stand.boot(ours)
    await stand.active(ours)
    assert await blocks(stand, ours) == []
    # The other driver's port waits for its own NeutronAgent, and only for that.
    assert await stand.status(theirs) == "DOWN"
    assert await blocks(stand, theirs) == ["L2"]
    peer = theirs.fixed_ips[0]["ip_address"]
    sources = {
        str(getattr(getattr(rule.qualifier[0], "sourceAddress", None), "address", "")) for rule in stand.rules(nic)
    }
    assert peer in sources  # members of a security group on KVM are let in
    journal = await rows(stand, f"SELECT COUNT(*) FROM vmware_dvs_journal WHERE object_id = '{theirs.id}'")
    assert journal == [(0,)]


async def test_a_port_goes_from_one_driver_to_the_other_and_back(stand: NeutronStand):
    network = await stand.network("wandering", "10.31.0.0/24")
    await stand.port_group_of(network)
    port = await stand.port(network, host=KVM)
    await stand.api("update_port", port.id, binding_host_id=HOST)
    assert await drivers(stand, port) == ("dvs", "vmware_dvs")
    nic = await stand.boot(await stand.api("get_port", port.id))
    await stand.active(port)
    await stand.unplug(nic)
    await stand.api("update_port", port.id, binding_host_id=KVM)
    assert await drivers(stand, port) == ("ovs", "openvswitch")
    names = lambda: {each.name for each in stand.dvs.ports.ports.values()}  # noqa: E731
    await stand.until(lambda: port.id not in names(), "nothing of it is left on the switch")


async def test_tunnels_are_the_other_drivers_alone(stand: NeutronStand):
    tunnelled = await stand.network("tunnel", "10.4.0.0/24", provider_network_type="vxlan")
    assert (await stand.port(tunnelled)).binding_vif_type == "binding_failed"
    theirs = await stand.port(tunnelled, host=KVM)
    assert await drivers(stand, theirs) == ("ovs", "openvswitch")
    after = await stand.network("after-the-tunnel", "10.32.0.0/24")
    await stand.port_group_of(after)  # the worker has come past the tunnel
    assert stand.port_group(tunnelled) is None


async def test_what_a_switch_cannot_do_is_refused_for_ours_and_not_for_theirs(stand: NeutronStand):
    network = await stand.network("limited", "10.33.0.0/24")
    policy = await stand.api("create_qos_policy", name="packets", project_id="tenant")
    await stand.api("create_qos_packet_rate_limit_rule", policy, max_kpps=10)
    theirs = await stand.port(network, host=KVM)
    await stand.api("update_port", theirs.id, qos_policy_id=policy.id)
    ours = await stand.port(network)
    with pytest.raises(openstack.exceptions.ConflictException, match="packet_rate_limit"):
        await stand.api("update_port", ours.id, qos_policy_id=policy.id)
    assert (await stand.api("get_port", ours.id)).qos_policy_id is None


async def test_neutrons_own_tables_do_not_know_ours(stand: NeutronStand):
    """So that other drivers' rows live and go as before, and our tables can be dropped without them."""
    ties = await rows(stand, """
        SELECT TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS
        WHERE CONSTRAINT_SCHEMA = DATABASE()
    """)  # fmt: skip
    assert len(ties) > 100
    assert [tie for tie in ties if any(name.startswith("vmware_dvs") for name in tie)] == []
    triggers = await rows(stand, "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()")
    assert triggers == [(0,)]
