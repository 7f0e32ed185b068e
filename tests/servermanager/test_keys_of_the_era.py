"""Every section and option that the era's schemas, playbooks and sample files know has its place in a role's data."""

import pytest

from contrail_vsphere.servermanager import documents
from contrail_vsphere.servermanager.catalogue import catalogue
from contrail_vsphere.servermanager.parameters import Findings

DAEMON = "log log_level introspect_port listen_port"
GLOBAL = """
    log_level cloud_orchestrator hosts_entries external_lb controller_nodes controller_ip config_ip
    ceph_controller_nodes
    analytics_nodes analytics_ip analyticsdb_nodes compute_nodes external_rabbitmq_servers external_zookeeper_servers
    external_configdb_servers external_analyticsdb_zookeeper_servers configdb_cassandra_user configdb_cassandra_password
    analyticsdb_cassandra_user analyticsdb_cassandra_password configdb_minimum_diskgb configdb_cql_port
    analyticsdb_minimum_diskgb analyticsdb_cql_port enable_config_service enable_control_service enable_webui_service
    config_nodes webui_nodes config_seeds analyticsdb_seeds uve_partition_count xmpp_auth_enable xmpp_dns_auth_enable
    sandesh_ssl_enable introspect_ssl_enable apiserver_auth_protocol apiserver_certfile apiserver_keyfile
    apiserver_cafile apiserver_insecure webui_auth_protocol ssl_certfile ssl_keyfile ssl_cafile redis_password
    neutron_metadata_ip neutron_metadata_port opscenter_ip nested_mode kubernetes_node_data_interface ansible_test_mode
"""
KEYSTONE = """
    version ip admin_port public_port auth_protocol admin_user admin_password admin_tenant identity_uri auth_url
    insecure
    certfile keyfile cafile user_domain_name project_domain_name domain_id region_name
"""
RABBITMQ = "vhost user password owner group port ssl server_cert server_key cacert ssl_port ha_queues"
CASSANDRA = """
    commitlog_dir data_dirs saved_caches_dir java_max_heap_size java_max_heap_newsize version listen_address
"""
VCPLUGIN = """
    vc_url datacenter dvs username password ipfabricpg mode api_server_ip api_server_port zookeeper_server_list
    introspect_port esxtocomputemap vcenter_compute_ip vc_plugin_ip
"""
KEYS = {
    "controller": {
        "GLOBAL": GLOBAL, "KEYSTONE": KEYSTONE, "RABBITMQ": RABBITMQ, "CASSANDRA": CASSANDRA, "VCPLUGIN": VCPLUGIN,
        "CONFIG": "", "CONFIGDB": "", "CONTROL": f"{DAEMON} bgp_port xmpp_server_port",
        "CONTROLLER": "encap_priority external_routers_list bgp_asn flow_export_rate",
        "DNS": f"{DAEMON} named_log_file dns_server_port", "SCHEMA": DAEMON, "SVC_MONITOR": DAEMON,
        "DEVICE_MANAGER": DAEMON, "ANALYTICS_API": "aaa_mode",
        "API": f"{DAEMON} listen_address list_optimization_enabled aaa_mode cloud_admin_role global_read_only_role"
               " strict_compliance",
        "WEBUI": "http_listen_port https_listen_port webui_storage_enable compute_manager_ip image_manager_ip"
                 " network_manager_ip enable_underlay enable_mx enable_udd service_endpoint_from_config"
                 " network_manager_auth_protocol image_manager_auth_protocol compute_manager_auth_protocol"
                 " server_options_key_file server_options_cert_file config_editor_schema_path vcenter_server_ip"
                 " vcenter_wsdl_path vcenter_auth_protocol",
    },
    "analytics": {
        "GLOBAL": GLOBAL, "KEYSTONE": KEYSTONE, "RABBITMQ": RABBITMQ, "ANALYTICS": "", "ALARM_GEN": DAEMON,
        "QUERY_ENGINE": DAEMON, "TOPOLOGY": DAEMON, "ANALYTICS_API": f"{DAEMON} listen_address aaa_mode",
        "ANALYTICS_COLLECTOR": f"{DAEMON} syslog_port analytics_flow_ttl analytics_statistics_ttl"
                               " analytics_config_audit_ttl analytics_data_ttl",
        "SNMP_COLLECTOR": f"{DAEMON} scan_frequency fast_scan_frequency",
    },
    "analyticsdb": {"GLOBAL": GLOBAL, "KEYSTONE": KEYSTONE, "ANALYTICSDB": "", "CASSANDRA": CASSANDRA},
    "lb": {
        "GLOBAL": GLOBAL, "LB": "", "HAPROXY": "haproxy_auth_user haproxy_auth_password",
        "HAPROXY_TORAGENT": "haproxy_toragent_config",
    },
    "agent": {
        "GLOBAL": GLOBAL, "KEYSTONE": KEYSTONE, "KUBERNETES": "api_server token", "HYPERVISOR": "type",
        "AGENT": "vrouter_physical_interface vrouter_physical_interface_detected ctrl_data_network ctrl_data_ip"
                 " compile_vrouter_module vrouter_agent_ip non_mgmt_ip non_mgmt_gw gateway_mode qos_queue_id_list"
                 " qos_logical_queue_list qos_default_nic_queue qos_priority_tagging priority_id_list"
                 " priority_scheduling_list priority_bandwidth_list vgw_intf_list vgw_public_subnet_list"
                 " vgw_public_vn_name_list vgw_gateway_route_list vrouter_module_params compute_controller_list"
                 " metadata_ssl_enable tsn_evpn_mode tsn_server_list resource_backup_restore backup_file_count"
                 " backup_idle_timeout restore_audit_timeout slo_destination_list sample_destination_list",
    },
    "vcenter-plugin": {"GLOBAL": GLOBAL, "VCPLUGIN": f"{VCPLUGIN} clustername"},
}  # fmt: skip
# Of a server in release 4's dialect, with values of the kind they had.
OF_A_SERVER = {
    "kernel_upgrade": True, "kernel_version": "4.4.0", "vrouter_physical_interface": "eth1", "ctrl_data_ip": "10.0.0.1",
    "controller_components": ["config", "control", "webui"], "sriov": {"eth2": {"VF": 7}}, "local_asn": 64512,
    "qos_priority_tagging": True, "compute_as_gateway_mode": "server", "tsn_evpn_mode": True, "tsn_mode": True,
    "tsn_server_list": ["10.0.0.2"], "compute_controller_list": ["10.0.0.3"], "resource_backup_restore": True,
    "backup_file_count": 3, "backup_idle_timeout": 10000, "restore_audit_timeout": 15000, "vrouter_1G_hugepages": 1,
    "vrouter_2M_hugepages": 2, "coremask": "0x3", "huge_pages": 4, "vgw": {}, "qos": {}, "qos_niantic": {},
    "storage": {"osd_disks": []}, "live_migration": True, "flow_entries": 1, "mpls_labels": 1, "nexthops": 1, "vrfs": 1,
    "macs": 1, "oflow_entries": 1, "mac_oentries": 1, "max_interface_entries": 1, "flow_hold_limit": 1,
    "vrouter_dbg": 1, "vr_memory_alloc_checks": 1,
}  # fmt: skip


@pytest.mark.parametrize("role", KEYS)
def test_every_option_of_every_section(role):
    sections = catalogue().role(role).sections
    assert set(KEYS[role]) - set(sections) == set()
    lacking = {
        f"{section}.{option}"
        for section, options in KEYS[role].items()
        for option in options.split()
        if option not in sections[section].options
    }
    assert lacking == set()


def test_every_key_of_a_server():
    document = {"id": "s1", "ip_address": "10.0.0.1", "parameters": {"provision": {"contrail_4": OF_A_SERVER}}}
    findings = Findings()
    documents.check_server(document, findings, path="$.server", catalogue=catalogue())
    assert findings.problems == []
