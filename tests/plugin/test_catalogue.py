"""Every requirement, race and defect that the plugin was measured by has a test: this is the table, and it is complete.

``S`` are the requirements of the design note, ``R`` the races, ``B``, ``F`` and ``J`` the defects of predecessors.
"""

from __future__ import annotations

import ast
from pathlib import Path

HERE = Path(__file__).parent.parent

ROWS = {
    "S1": ("plugin/test_everyday_ports.py::test_a_vm_gets_vlan_objects_and_plug_and_its_frames_arrive",
           "plugin/test_addresses_of_guests.py::test_a_guest_s_addresses_are_learned_and_followed"),
    "S2": ("plugin/test_everyday_ports.py::test_a_network_becomes_a_port_group_within_a_second",
           "plugin/test_everyday_ports.py::test_two_networks_of_one_name_and_names_that_vcenter_escapes"),
    "S3": ("plugin/test_everyday_ports.py::test_what_a_user_breaks_is_put_right",),
    "S4": ("plugin/test_races.py::test_everything_is_found_when_no_event_is_heard",),
    "S5": ("plugin/test_names_and_vlans.py::test_a_cluster_wide_vlan_is_preferred",
           "plugin/test_races.py::test_b1_what_switches_show_is_claimed_before_anything_is_given_out"),
    "S6": ("plugin/test_everyday_ports.py::test_a_vm_gets_vlan_objects_and_plug_and_its_frames_arrive",),
    "S7": ("plugin/test_everyday_ports.py::test_a_vm_gets_vlan_objects_and_plug_and_its_frames_arrive",
           "plugin/test_in_a_contrailvm.py::test_it_serves_its_host_and_holds_nothing_of_vcenters"),
    "S8": ("plugin/test_everyday_ports.py::test_a_vm_that_is_deleted_takes_everything_with_it",),
    "S9": ("plugin/test_everyday_ports.py::test_a_network_that_is_deleted_takes_its_port_group_when_it_is_empty",
           "plugin/test_races.py::test_r2_a_network_that_goes_while_vms_are_in_it_waits_and_says_for_whom"),
    "S10": ("plugin/test_frames.py::test_s10_the_port_s_vlan_leaves_the_guest_s_frames_untagged_and_service_vms_have_two_sides",),  # noqa: E501
    "S11": ("plugin/test_frames.py::test_s11_guests_speak_vrrp_where_port_groups_and_vrouters_let_them",),
    "S12": ("plugin/test_standby.py::test_after_kill_nine_the_standby_goes_on_and_writes_nothing_twice",
            "plugin/test_outages.py::test_an_hour_without"),
    "S13": ("plugin/test_shape_of_sites.py::test_s13_two_datacenters_with_a_switch_each",
            "plugin_ha/test_shards.py::test_one_plugin_for_each_switch_does_what_one_for_both_would"),
    "S14": ("plugin_distributed/test_hosts_wait_for_the_plugin.py"
            "::test_hosts_are_opened_once_the_plugin_acts_and_has_plugged_what_it_owes",
            "rollout/test_host_plugins_hold_turns.py::test_an_upgraded_host_s_turn_waits_for_its_plugin",
            "plugin/test_shape_of_sites.py::test_s14_a_contrailvm_is_known_by_who_manages_it_and_never_by_its_name"),
    "S15": ("plugin/test_scopes.py::test_each_host_serves_its_own_vms_and_networks_are_made_once",
            "plugin_distributed/test_one_plugin_per_contrailvm.py"
            "::test_each_contrailvm_serves_its_host_by_what_its_first_boot_left",
            "plugin/test_reach_of_one_host.py::test_vcenter_tells_it_of_its_own_host_alone"),
    "R1": ("plugin/test_races.py::test_r1_contrail_is_away_when_the_vm_comes",
           "plugin/test_defects.py::test_b5_a_vm_whose_network_is_not_there_yet_waits_and_is_connected_by_itself"),
    "R2": ("plugin/test_races.py::test_r2_a_network_that_goes_while_vms_are_in_it_waits_and_says_for_whom",),
    "R3": ("plugin/test_races.py::test_r3_a_port_group_that_a_user_destroys_comes_back",
           "plugin/test_everyday_ports.py::test_what_a_user_breaks_is_put_right"),
    "R4": ("plugin/test_races.py::test_r4_many_vms_at_once_get_one_vlan_each_in_few_tasks",),
    "R5": ("plugin/test_races.py::test_r5_two_vms_change_places",
           "plugin/test_races_of_moves.py"
           "::test_r5_moves_that_meet_their_vlan_at_the_destination_are_never_open_beside_it"),
    "R6": ("plugin/test_races.py::test_r6_a_move_and_a_new_card_at_once",
           "plugin/test_races_of_moves.py::test_r6_a_card_that_goes_to_another_network_while_its_vm_moves"),
    "R7": ("plugin/test_races_of_moves.py::test_r7_what_was_prepared_for_a_move_that_fails_is_taken_away",),
    "R8": ("plugin/test_races_of_moves.py::test_r8_a_storage_vmotion_with_names_of_files_changes_nothing",),
    "R9": ("plugin/test_races.py::test_r9_a_dead_host_holds_nobody_up_and_is_cleaned_when_it_is_back",),
    "R10": ("plugin/test_races.py::test_r10_a_vm_that_is_deleted_right_after_a_move",
            "plugin/test_races_of_moves.py::test_r10_a_vm_that_is_deleted_while_it_moves_leaves_nothing"),
    "R11": ("plugin/test_races_of_ports.py::test_r11_clones_with_the_same_mac_address_are_served_and_reported",),
    "R12": ("plugin/test_races.py::test_r12_a_vm_that_is_registered_again_elsewhere_keeps_its_address",
            "plugin/test_reach_of_one_host.py"
            "::test_a_vm_that_is_registered_on_another_host_under_another_id_keeps_its_objects",
            "plugin_ha/test_two_vcenters.py"
            "::test_r12_a_vm_that_goes_to_the_other_vcenter_is_served_there_and_leaves_nothing_behind"),
    "R13": ("plugin/test_races.py::test_r13_a_rename_and_a_new_vm_of_the_old_name",),
    "R14": ("plugin/test_races.py::test_r14_an_agent_that_starts_anew_without_its_files_is_plugged_again",),
    "R15": ("plugin/test_races_of_ports.py::test_r15_a_stale_port_file_does_not_outlive_the_next_look",
            "plugin/test_one_id_two_owners.py"
            "::test_r15_the_port_file_of_another_vm_s_interface_of_the_same_id_does_not_come_back"),
    "R16": ("plugin/test_races.py::test_r16_r17_vcenter_forgets_its_sessions_in_the_middle",),
    "R17": ("plugin/test_races.py::test_r16_r17_vcenter_forgets_its_sessions_in_the_middle",),
    "R18": ("plugin/test_races_of_ports.py::test_r18_whatever_contrail_answers_there_is_one_of_each",),
    "R19": ("plugin/test_races.py::test_r19_a_crash_at_any_moment_leaves_no_vlan_twice",
            "plugin_crash/test_plugin_crash_points.py::test_a_hundred_deaths"),
    "R20": ("plugin/test_races_of_ports.py::test_r20_a_leader_that_slept_writes_nothing_more",
            "plugin/test_standby.py::test_a_leader_that_was_frozen_finds_itself_succeeded"),
    "R21": ("plugin/test_races_of_ports.py::test_r21_port_keys_that_vanish_and_come_again",),
    "R22": ("plugin/test_races_of_ports.py::test_r22_a_host_comes_back_with_other_vms_than_it_left_with",),
    "R23": ("plugin/test_races.py::test_r23_a_template_has_no_place",
            "plugin/test_races_of_ports.py"
            "::test_r23_a_template_s_port_keeps_no_vlan_although_the_first_writes_fail"),
    "R24": ("plugin/test_races_of_ports.py::test_r24_a_revert_changes_the_cards_and_nobody_says_so",),
    "R25": ("plugin/test_races_of_ports.py::test_r25_a_conflict_port_gets_a_vlan_of_its_own",),
    "R26": ("plugin/test_races.py::test_r26_a_port_without_a_vlan_stays_closed",),
    "R27": ("plugin/test_races_of_ports.py::test_r27_names_are_data",),
    "B1": ("plugin/test_races.py::test_b1_what_switches_show_is_claimed_before_anything_is_given_out",),
    "B2": ("plugin/test_races.py::test_b2_a_card_on_another_switch_is_never_touched",),
    "B3": ("plugin/test_defects.py::test_b3_no_vlan_that_is_none_is_ever_written",
           "plugin/test_names_and_vlans.py::test_what_is_no_vlan_never_enters_the_table"),
    "B4": ("plugin/test_races_of_ports.py::test_r27_names_are_data",),
    "B5": ("plugin/test_defects.py::test_b5_a_vm_whose_network_is_not_there_yet_waits_and_is_connected_by_itself",),
    "B6": ("plugin/test_races.py::test_b6_an_agent_that_was_away_gets_its_ports_without_another_event",),
    "B7": ("plugin/test_one_id_two_owners.py::test_b7_a_new_vm_of_a_renamed_one_s_name_gets_an_address_of_its_own",
           "plugin/test_defects.py::test_b7_b8_two_cards_in_one_network_are_two_ports_with_two_addresses",
           "plugin_migration/test_taking_over.py"
           "::test_with_compat_ids_objects_are_the_ones_that_contrail_vcenter_manager_would_make",
           "plugin/test_races_of_ports.py::test_r27_names_are_data"),
    "B8": ("plugin/test_races_of_ports.py::test_r11_clones_with_the_same_mac_address_are_served_and_reported",),
    "B9": ("plugin/test_defects.py::test_b9_a_session_that_dies_at_any_step_is_mended_within_seconds",),
    "B10": ("plugin/test_defects.py::test_b10_a_port_that_never_arrives_holds_nobody_up",),
    "B11": ("plugin/test_defects.py::test_b11_a_network_made_anew_under_its_name_gets_its_vms_back",),
    "B12": ("plugin/test_defects.py::test_b12_no_port_is_ever_open_without_its_vlan_or_before_it_is_its_own",),
    "J1": ("plugin/test_races.py::test_j1_nothing_is_deleted_while_contrail_is_away",
           "plugin/test_defects.py::test_j1_whatever_a_reading_of_contrail_ends_with_nothing_is_deleted"),
    "J2": ("plugin/test_everyday_ports.py::test_two_networks_of_one_name_and_names_that_vcenter_escapes",
           "plugin/test_races_of_ports.py::test_r27_names_are_data"),
    "J4": ("plugin/test_races_of_ports.py::test_r20_a_leader_that_slept_writes_nothing_more",
           "plugin_ha/test_reigns.py"
           "::test_who_was_frozen_in_a_burst_writes_nothing_after_its_successor_has_begun"),
    "J5": ("plugin/test_defects.py::test_j5_a_port_group_that_goes_before_its_network_costs_nothing",),
    "F": ("plugin/test_defects.py::test_f_a_port_group_that_somebody_renames_keeps_every_interface",),
}  # fmt: skip
WANTED = {
    *(f"S{number}" for number in range(1, 16)),
    *(f"R{number}" for number in range(1, 28)),
    *(f"B{number}" for number in range(1, 13)),
    *("J1", "J2", "J4", "J5", "F"),
}


def test_the_table_is_complete():
    assert set(ROWS) == WANTED
    assert all(ROWS.values())


def test_every_test_of_the_table_exists():
    known: dict[str, set[str]] = {}
    for test in {test for tests in ROWS.values() for test in tests}:
        file, _, name = test.partition("::")
        if file not in known:
            tree = ast.parse((HERE / file).read_text())
            functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
            known[file] = {function.name for function in functions}
        assert name in known[file], test
