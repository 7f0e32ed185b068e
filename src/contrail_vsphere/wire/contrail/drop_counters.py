"""Why a vRouter drops frames: its counters, as ``Snh_KDropStatsReq`` of the VRouterAgent's introspect lists them.

A vRouter that does its work drops frames too: those that policy forbids, its own copies of multicast, ARP for others.
A vRouter that does not do its work drops under the other counters, which a health gate may look at.
Source: the agent's kstate.sandesh and kstate.cc (DropStatsMsgHandler), the vRouter's vr_stats.c.
"""

from __future__ import annotations

COUNTERS = (
    "discard", "pull", "invalid_if", "invalid_arp", "trap_no_if", "nowhere_to_go", "flow_queue_limit_exceeded",
    "flow_no_memory", "flow_invalid_protocol", "flow_nat_no_rflow", "flow_action_drop", "flow_action_invalid",
    "flow_unusable", "flow_table_full", "interface_tx_discard", "interface_drop", "duplicated", "push", "ttl_exceeded",
    "invalid_nh", "invalid_label", "invalid_protocol", "interface_rx_discard", "invalid_mcast_source",
    "head_alloc_fail", "pcow_fail", "mcast_clone_fail", "rewrite_fail", "misc", "invalid_packet", "cksum_err", "no_fmd",
    "cloned_original", "invalid_vnid", "frag_err", "invalid_source", "mcast_df_bit", "l2_no_route", "vlan_fwd_tx",
    "vlan_fwd_enq", "no_memory", "drop_new_flow", "flow_evict",
)  # fmt: skip
"""In the order of the answer, each with ``ds_`` before it; releases add to the end."""

HARMLESS = frozenset(
    {
        "invalid_arp", "flow_action_drop", "flow_unusable", "flow_evict", "duplicated", "ttl_exceeded",
        "invalid_mcast_source", "cloned_original", "mcast_df_bit",
    }
)  # fmt: skip
"""They grow where all is well: policy, frames that come back by multicast, ARP that is not for this vRouter."""
