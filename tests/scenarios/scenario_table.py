"""Which tests hold which clause of the scenarios F1 to F30, and under which releases of vCenter.

A clause is something that an operator may expect to come true. ``profiles`` names the releases whose behaviour differs
in the scenario, and the test that is put to each; ``why`` says what differs. A clause without tests is one that the
product does not keep yet: those are listed, so that none is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PROFILES = ("vc65", "vc67", "vc70", "vc80u2", "vc80u3", "vc90", "vc91")


@dataclass(frozen=True, slots=True)
class Clause:
    """Something that must come true; tests as ``directory/file::function``, without ``tests/`` and ``.py``."""

    words: str
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    title: str
    clauses: tuple[Clause, ...]
    why: str = ""
    """What differs between releases; empty where the scenario is the same everywhere."""
    profiles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Test -> the releases it is put to."""


def c(words: str, *tests: str) -> Clause:
    return Clause(words, tests)


BROKEN = "scenarios/test_f01_f02_broken_by_users::"
HOSTS = "scenarios/test_f03_f04_f05_hosts::"
MOVED = "scenarios/test_f06_f18_f20_moved_and_disabled::"
LOST = "scenarios/test_f08_f09_lost_and_found::"
PUBLISH = "scenarios/test_f11_publishing::"
DOUBT = "scenarios/test_f17_f25_f29_doubt::"
TENANTS = "scenarios/test_f27_tenants::"
OLD = "scenarios/test_old_vcenters::"
DAY = "contrailvm/test_everyday::"
MANAGERS = "managers/test_f10_two_managers::"
ADOPT = "managers/test_f23_f24_adoption::"
RENEW = "managers/test_f22_certificates::"
TOKENS = "bootstrap/test_tokens_and_clones::"
BOOT = "bootstrap/test_bootstrap_server::"
OBJECTS = "bootstrap/test_virtual_router_objects::"
DEVICES = "special_nics/test_special_nics::"
VLCM = "system_vm_backend/test_everyday_on_vlcm::"
VLCM_TROUBLE = "system_vm_backend/test_troubles_on_vlcm::"
HAND_OVER = "system_vm_backend/test_hand_over::"
ROLLING = "rollout/test_f13_rolling_upgrade::"
FAILED = "rollout/test_f12_f14_failed_upgrade::"
ON_THE_WAY = "rollout/test_f09_f15_f16_on_the_way::"
SETTINGS = "rollout/test_settings_roll_out::"
EARLY = "rollout/test_powered_on_out_of_turn::"
FRAMES = "rollout/test_f13_no_frame_is_lost::"
EVERY_RELEASE = ("vc65", "vc67", "vc70", "vc80u2", "vc90")
NO_HOOKS = "6.5 does not show in which hook it waits"

TABLE: dict[str, Scenario] = {
    "F1": Scenario(
        "a user powers off or suspends a ContrailVM",
        (
            c("noticed within 5 s by events", BROKEN + "test_f1_what_a_user_stops_runs_again"),
            c("noticed by the poll without events", BROKEN + "test_f1_without_events_the_poll_finds_it"),
            c("an event in vCenter names the user", BROKEN + "test_f1_an_event_in_vcenter_names_the_user"),
            c("more than 3 in 15 minutes: hold", BROKEN + "test_f1_flapping_ends_in_a_hold_with_the_host_closed"),
        ),
        f"{NO_HOOKS}; before 8.2 certificates are not pinned; 9 keeps it by vLCM",
        {
            OLD + "test_a_deployment_becomes_green_and_heals": EVERY_RELEASE,
            VLCM + "test_f1_a_powered_off_contrailvm_comes_back": (),
        },
    ),
    "F2": Scenario(
        "a ContrailVM is deleted",
        (
            c(
                "a new one, wired and reserved as the old",
                BROKEN + "test_f2_a_new_contrailvm_is_wired_and_reserved_as_the_old_one",
            ),
            c("with a new token", BROKEN + "test_f2_the_unused_token_of_a_contrailvm_that_is_gone_opens_nothing"),
            c(
                "the vRouter keeps name and address",
                TOKENS + "test_f2_the_vrouter_keeps_its_name_and_its_addresses_over_a_redeployment",
            ),
            c(
                "the VirtualRouter object in Contrail is bound again",
                OBJECTS + "test_objects_follow_names_and_addresses_and_go_after_a_grace",
            ),
        ),
        NO_HOOKS,
        {
            OLD + "test_a_deployment_becomes_green_and_heals": EVERY_RELEASE,
            VLCM + "test_f2_a_deleted_contrailvm_is_deployed_again_with_a_new_token": ("vc90", "vc91"),
        },
    ),
    "F3": Scenario(
        "a host joins a cluster in scope",
        (
            c(
                "served; tenants wait for a controller",
                HOSTS + "test_f3_a_host_that_joins_is_closed_until_its_vrouter_has_a_controller",
            ),
            c(
                "agent settings are written where the policy has one choice",
                HOSTS + "test_f4_settings_are_written_where_there_is_one_choice_only",
            ),
        ),
        "9 keeps it by vLCM",
        {VLCM + "test_f3_a_host_that_joins_is_served": ()},
    ),
    "F4": Scenario(
        "a host joins without usable datastore or network",
        (
            c(
                "only that host is red, and heals",
                HOSTS + "test_f4_only_the_host_without_it_is_red_and_it_heals_when_it_is_attached",
            ),
            c("candidates are named", HOSTS + "test_f4_with_several_choices_they_are_named_and_nothing_is_written"),
        ),
    ),
    "F5": Scenario(
        "a host enters maintenance",
        (
            c("no issue of maintenance is resolved", HOSTS + "test_f5_a_host_in_maintenance_is_left_alone_for_hours"),
            c(
                "also where EAM waits for its end",
                HOSTS + "test_f5_an_issue_that_only_waits_for_the_end_of_maintenance_is_not_resolved",
            ),
            c("standby by DPM", HOSTS + "test_f5_a_host_that_dpm_put_to_sleep_is_left_asleep"),
            c(
                "afterwards a deadline, and an alarm",
                HOSTS + "test_f5_a_host_back_from_maintenance_that_does_not_forward_is_an_alarm_and_stays_closed",
            ),
        ),
        "up to 6.7 maintenance is always an issue; later only where something waits",
        {
            HOSTS + "test_f5_a_host_in_maintenance_is_left_alone_for_hours": ("vc65", "vc67", "vc80u3"),
            VLCM + "test_f5_a_host_passes_through_maintenance": ("vc90", "vc91"),
        },
    ),
    "F6": Scenario(
        "a host is removed or moved out",
        (
            c(
                "its ContrailVM goes, the others stay",
                MOVED + "test_f6_a_host_that_is_removed_takes_its_contrailvm_along_and_nothing_else",
            ),
            c("moved out and back", MOVED + "test_f6_a_host_moved_out_of_the_cluster_and_back_is_served_anew"),
            c(
                "its VirtualRouter object in Contrail is decommissioned after a grace",
                OBJECTS + "test_objects_follow_names_and_addresses_and_go_after_a_grace",
            ),
        ),
        "before 7.0 U1 EAM leaves orphans behind",
        {
            MOVED + "test_f6_a_host_that_is_removed_takes_its_contrailvm_along_and_nothing_else": (
                "vc65",
                "vc67",
                "vc80u3",
            )
        },
    ),
    "F7": Scenario(
        "a host disconnects for two hours",
        (
            c(
                "nothing is done to it, its VM is valid",
                DAY + "test_f7_a_host_that_is_away_for_two_hours_keeps_its_contrailvm",
            ),
            c("it is judged anew", HOSTS + "test_f7_a_host_that_comes_back_changed_is_judged_anew"),
        ),
    ),
    "F8": Scenario(
        "vCenter or EAM restarts, sessions are lost",
        (
            c("healed, nothing doubled", LOST + "test_f8_what_broke_meanwhile_is_healed_and_nothing_is_doubled"),
            c("no hook is lost", LOST + "test_f8_no_hook_is_lost"),
            c("the agency is made once", LOST + "test_f8_the_agency_is_made_once"),
        ),
    ),
    "F9": Scenario(
        "the manager dies at any point",
        (
            c("between CreateAgency and its reply", LOST + "test_f9_a_crash_between_the_creation_and_its_reply"),
            c(
                "at every point",
                "crash/test_crash_points::test_a_death_at_any_point_leaves_nothing_doubled_or_orphaned",
            ),
            c(
                "in the middle of a rollout",
                ON_THE_WAY + "test_f9_a_manager_that_dies_in_the_middle_goes_on_where_it_was",
            ),
            c("in the middle of the way back", ON_THE_WAY + "test_f9_a_manager_that_dies_in_a_rollback_finishes_it"),
            c("holds and attempts survive", LOST + "test_f9_holds_and_attempts_survive_a_crash"),
        ),
        "9 keeps it by vLCM",
        {VLCM_TROUBLE + "test_f9_a_manager_that_crashes_in_a_rollout_finishes_it": ()},
    ),
    "F10": Scenario(
        "two managers",
        (
            c(
                "a standby writes nothing and takes over",
                MANAGERS + "test_a_standby_writes_nothing_and_goes_on_where_the_leader_ended",
            ),
            c(
                "a leader that was frozen writes nothing",
                MANAGERS + "test_a_leader_that_was_frozen_writes_nothing_although_it_does_not_know",
            ),
        ),
    ),
    "F11": Scenario(
        "the package's server is down, slow or wrong",
        (
            c(
                "nothing is created before it can be fetched",
                PUBLISH + "test_f11_nothing_is_created_before_the_package_can_be_fetched",
            ),
            c("what waits is deployed after", PUBLISH + "test_f11_a_redeployment_waits_and_others_are_not_disturbed"),
            c(
                "the new certificate is given to EAM",
                PUBLISH + "test_f11_a_certificate_that_eam_does_not_know_is_given_to_it",
            ),
        ),
        "before 8.2 EAM does not verify, and takes plain HTTP",
        {
            OLD + "test_a_deployment_becomes_green_and_heals": ("vc65", "vc70", "vc80u2"),
            PUBLISH + "test_f11_nothing_is_created_before_the_package_can_be_fetched": ("vc70", "vc80u3"),
        },
    ),
    "F12": Scenario(
        "a package that is wrong",
        (
            c(
                "refused when it is built or published",
                "package/test_build_and_verify::test_mistakes_in_a_description_are_named_and_leave_nothing",
                "package/test_build_and_verify::test_faults_are_named",
                "package/test_build_and_verify::test_manifest_and_signature_are_held_to_the_files",
                FAILED + "test_f12_a_wrong_package_is_refused_before_it_is_published_and_no_upgrade_can_name_it",
                FAILED + "test_f12_a_package_that_was_changed_after_it_was_looked_at_is_not_published",
            ),
            c("never retried blindly", "contrailvm_plan/test_plan_repair::test_f12_a_broken_package_is_never_retried"),
            c(
                "stopped before a vRouter is lost",
                FAILED + "test_f12_a_package_that_vcenter_cannot_import_never_costs_a_vrouter",
            ),
            c(
                "stopped at the canary",
                FAILED + "test_f12_a_package_that_cannot_be_powered_on_is_stopped_at_the_canary",
            ),
        ),
        "before 6.9 there is no InvalidConfig: the VM is just off",
        {FAILED + "test_f12_a_package_that_cannot_be_powered_on_is_stopped_at_the_canary": ("vc67", "vc80u3")},
    ),
    "F13": Scenario(
        "a rolling upgrade",
        (
            c(
                "one at a time, or as many as allowed",
                ROLLING + "test_f13_every_host_gets_the_new_version_and_only_the_one_in_turn_is_dark",
            ),
            c(
                "canary first, behind a gate",
                ROLLING + "test_f13_the_canary_passes_its_gate_before_anybody_else_begins",
            ),
            c(
                "slots are of the whole deployment",
                ROLLING + "test_f13_slots_are_of_the_whole_deployment_and_clusters_follow_the_canaries",
            ),
            c("pause and resume", ROLLING + "test_f13_pause_lets_turns_end_and_resume_goes_on"),
            c("a person approves the canaries", ROLLING + "test_f13_a_person_looks_at_the_canary"),
            c("rollback that is asked for", ROLLING + "test_f13_an_asked_for_rollback_goes_the_same_way_back"),
            c("no frame is lost elsewhere", FRAMES + "test_f13_tenants_on_hosts_not_in_turn_never_lose_a_frame"),
            c(
                "the gate waits for a vRouter that drops frames",
                "rollout/test_f13_dropped_frames::test_f13_a_vrouter_that_drops_frames_keeps_its_turn_and_nobody_follows",
                "rollout/test_f13_dropped_frames::test_f14_one_that_drops_them_until_the_deadline_has_failed",
            ),
            c(
                "other settings and sizes likewise",
                SETTINGS + "test_other_settings_come_host_by_host_and_nothing_is_deployed",
                ROLLING + "test_f13_another_size_is_an_upgrade_too",
            ),
            c(
                "a size that the package does not have is refused, forced or not",
                SETTINGS + "test_a_size_that_the_package_does_not_have_is_refused_in_one_line_and_nothing_is_begun",
            ),
            c(
                "a new ContrailVM that a user powers on out of turn is powered off, and never do two forward",
                EARLY + "test_it_is_powered_off_within_seconds_and_the_rollout_goes_on",
                EARLY + "test_one_that_knows_its_token_is_not_enrolled_before_the_old_one_is_off",
            ),
            c("the gate waits for the ports", FRAMES + "test_a_turn_ends_only_when_all_ports_are_plugged"),
        ),
        f"{NO_HOOKS}; 9 keeps it by vLCM, batch by batch",
        {
            ROLLING + "test_f13_every_host_gets_the_new_version_and_only_the_one_in_turn_is_dark": (
                "vc65",
                "vc67",
                "vc80u3",
            ),
            VLCM + "test_f13_an_upgrade_goes_host_by_host_by_applies": (),
            EARLY + "test_it_is_powered_off_within_seconds_and_the_rollout_goes_on": ("vc65", "vc80u3"),
        },
    ),
    "F14": Scenario(
        "an upgrade fails on a host",
        (
            c("at the canary: nobody else noticed", FAILED + "test_f14_the_canary_fails_and_nobody_else_ever_noticed"),
            c("later: the others are held in their hook", FAILED + "test_f14_a_host_fails_after_the_canary_passed"),
            c(
                "tenants elsewhere lose no frame",
                FRAMES + "test_f14_a_bad_package_costs_the_tenants_of_the_canary_frames_and_nobody_else",
            ),
            c(
                "when controllers are down the package is not blamed",
                FAILED + "test_f14_when_the_controllers_are_down_the_package_is_not_to_blame",
            ),
        ),
        f"{NO_HOOKS}; 9 keeps it by vLCM",
        {
            FAILED + "test_f14_the_canary_fails_and_nobody_else_ever_noticed": ("vc65", "vc80u3"),
            VLCM_TROUBLE + "test_f14_a_failed_upgrade_goes_back_and_costs_one_host": (),
        },
    ),
    "F15": Scenario(
        "no space for two ContrailVMs per host",
        (
            c(
                "an upgrade is refused with the numbers",
                ON_THE_WAY + "test_f15_without_space_for_two_the_upgrade_is_refused_and_says_how_much_it_needs",
            ),
            c("by apply it waits, with an alarm", ON_THE_WAY + "test_f15_by_apply_it_waits_until_there_is_space"),
        ),
    ),
    "F16": Scenario(
        "a hook is not completed for a night",
        (
            c("EAM waits; processed on return", ON_THE_WAY + "test_f16_a_night_without_manager_costs_nothing"),
            c(
                "a hook that is not left is told again",
                "contrailvm_plan/test_plan_hooks::test_f16_eam_is_told_again_when_it_stays_in_the_hook",
            ),
        ),
        f"{NO_HOOKS}; vLCM's hooks end after ten hours",
        {
            ON_THE_WAY + "test_f16_a_night_without_manager_costs_nothing": ("vc65", "vc80u3"),
            VLCM_TROUBLE + "test_a_manager_that_was_away_longer_than_a_hook_lasts_carries_on": (),
        },
    ),
    "F17": Scenario(
        "a device is missing, a port group deleted, a NIC moved",
        (
            c(
                "the cause is told, the others go on",
                DOUBT + "test_f17_invalid_config_on_one_host_is_told_with_its_cause_and_the_others_go_on",
            ),
            c("a NIC that was moved is put back", DOUBT + "test_f17_a_nic_that_somebody_moved_is_put_back"),
            c(
                "a host without its PCI device is told of, the others serve",
                DEVICES + "test_f17_a_host_without_the_device_is_told_of_and_the_others_serve",
            ),
            c(
                "a host that is out of reach for a while is not put on hold",
                DOUBT + "test_f17_a_host_that_vcenter_does_not_reach_for_a_while_is_not_put_on_hold",
            ),
            c(
                "the port group is made again",
                DOUBT + "test_f17_the_overlay_port_group_that_somebody_deleted_is_made_again",
            ),
        ),
    ),
    "F18": Scenario(
        "a user moves or renames a ContrailVM",
        (
            c("known by its id", MOVED + "test_f18_a_new_name_folder_or_pool_changes_nothing_for_the_contrailvm"),
            c(
                "after a vMotion: deploy first, then delete",
                MOVED + "test_f18_after_a_vmotion_the_host_gets_a_new_one_before_the_moved_one_goes",
            ),
            c(
                "where EAM lets him: an alarm",
                MOVED + "test_f18_where_eam_lets_users_move_it_a_person_is_told_and_nothing_is_deleted",
            ),
        ),
        f"up to 6.7 a wrong folder or pool is an issue; {NO_HOOKS}",
        {
            MOVED + "test_f18_a_new_name_folder_or_pool_changes_nothing_for_the_contrailvm": ("vc65", "vc67", "vc80u3"),
            MOVED + "test_f18_after_a_vmotion_the_host_gets_a_new_one_before_the_moved_one_goes": (
                "vc65",
                "vc67",
                "vc80u3",
            ),
        },
    ),
    "F19": Scenario(
        "somebody clones or snapshots a ContrailVM",
        (
            c(
                "a clone hears nothing and gets no certificate",
                TOKENS + "test_f19_a_clone_is_told_of_hears_nothing_and_gets_no_certificate",
            ),
            c(
                "a ContrailVM being replaced is no stranger",
                TOKENS + "test_f19_contrailvms_being_deployed_or_replaced_are_no_strangers",
            ),
            c("a snapshot is told of", MOVED + "test_f19_a_snapshot_is_told_of_until_it_is_removed"),
        ),
    ),
    "F20": Scenario(
        "a cluster is disabled",
        (
            c(
                "nothing is repaired or upgraded meanwhile",
                MOVED + "test_f20_nothing_is_repaired_or_upgraded_while_the_cluster_is_disabled",
            ),
            c(
                "an agency it refuses is made later",
                MOVED + "test_f20_an_agency_that_a_disabled_cluster_refuses_is_made_once_it_is_enabled",
            ),
        ),
        "AgencyDisabled is of EAM 7.6; before, it is an issue without a name",
        {
            MOVED + "test_f20_nothing_is_repaired_or_upgraded_while_the_cluster_is_disabled": (
                "vc70",
                "vc80u2",
                "vc80u3",
                "vc90",
            )
        },
    ),
    "F21": Scenario(
        "vCenter 8 becomes 9",
        (
            c(
                "an agency is handed over, ContrailVMs run on",
                HAND_OVER + "test_f21_an_agency_is_handed_over_and_its_contrailvms_run_on",
            ),
            c(
                "only when the deployment says so",
                HAND_OVER + "test_what_eam_has_stays_with_eam_until_the_deployment_says_otherwise",
            ),
        ),
        "System VMs are of 9",
        {HAND_OVER + "test_f21_an_agency_is_handed_over_and_its_contrailvms_run_on": ("vc90", "vc91")},
    ),
    "F22": Scenario(
        "certificates are rotated",
        (
            c("of publishing", RENEW + "test_publishing_the_new_one_is_presented_and_pinned_at_rest"),
            c("of the extension", RENEW + "test_the_extension_gets_a_new_certificate_and_logs_in_with_it"),
            c("of the CA", RENEW + "test_the_ca_is_rotated_while_guests_start_and_hosts_join"),
            c("of vCenter", RENEW + "test_vcenter_gets_another_certificate_whose_thumbprint_was_added_before"),
        ),
    ),
    "F23": Scenario(
        "an administrator unregisters the extension",
        (
            c("nothing is done any more", DAY + "test_f23_after_somebody_unregistered_us_nothing_is_done"),
            c(
                "made again only by a person's word",
                ADOPT + "test_f23_what_went_with_the_extension_is_made_again_only_by_a_persons_word",
            ),
        ),
    ),
    "F24": Scenario(
        "agencies of earlier tools",
        (
            c(
                "nothing of ours beside them",
                ADOPT + "test_f24_nothing_of_ours_comes_where_another_tools_contrailvms_run",
            ),
            c("taken over cluster by cluster", ADOPT + "test_f24_cluster_by_cluster_ours_come_in_the_place_of_theirs"),
        ),
    ),
    "F25": Scenario(
        "vCenter reports stale data",
        (
            c(
                "two consistent reads before anything is done",
                DOUBT + "test_f25_an_issue_that_is_gone_at_the_second_look_is_not_resolved",
            ),
            c("EAM lags behind", DOUBT + "test_f25_eam_that_lags_behind_is_not_believed_at_once"),
            c("the inventory lags behind", DOUBT + "test_f25_an_inventory_that_lags_behind_is_not_acted_on"),
        ),
    ),
    "F26": Scenario(
        "1,000 hosts in 40 clusters",
        (c("one call per agency and poll", DAY + "test_a_converged_estate_costs_one_call_per_agency_and_poll"),),
    ),
    "F27": Scenario(
        "a tenant comes to a host without vRouter",
        (
            c(
                "refused by vCenter until it forwards",
                TENANTS + "test_f27_a_host_that_lost_its_contrailvm_is_closed_until_it_forwards_again",
            ),
            c(
                "also where hooks do not show",
                OLD + "test_where_no_hook_shows_tenants_wait_for_the_vrouter_all_the_same",
            ),
        ),
    ),
    "F28": Scenario(
        "a host loses power",
        (
            c(
                "the ContrailVM first, then tenants",
                HOSTS + "test_f28_after_a_power_failure_the_contrailvm_comes_first_then_the_tenants",
            ),
        ),
    ),
    "F29": Scenario(
        "clocks disagree, sessions expire",
        (c("aware times only; nothing is late", DOUBT + "test_f29_the_clocks_of_manager_and_vcenter_disagree"),),
    ),
    "F30": Scenario(
        "a guest with a stolen token",
        (
            c("single use", TOKENS + "test_f30_a_token_that_was_spent_opens_nothing"),
            c(
                "bound to its VM, void after a wrong try",
                TOKENS + "test_f30_a_fresh_token_is_bound_to_its_vm_and_void_after_a_wrong_try",
            ),
            c("void once another bearer showed it", BOOT + "test_a_stolen_token_is_void_once_another_bearer_showed_it"),
            c(
                "revoked when it is replaced",
                TOKENS + "test_the_certificate_of_a_replaced_contrailvm_is_revoked_before_the_next_has_its_own",
            ),
        ),
    ),
}
"""By number, as the scenarios are called in the names of tests."""

NOT_YET: tuple[tuple[str, str], ...] = ()
"""Clauses the product does not keep yet."""
