"""The vRouter agent's configuration file, ``contrail-vrouter-agent.conf``.

``[HYPERVISOR]`` is what makes the agent honour VLANs of ports: with ``type=vmware`` it needs
``vmware_physical_interface`` (it aborts without), and ``vmware_mode`` must be said because its own default is
``esxi_neutron``. The option the agent declares is called ``vmware_physical_port``, the one it reads is this one.
"""

from __future__ import annotations

from contrailvm_guest.configuration import Configuration

AGENT_INTROSPECT_PORT = 8085
HEADER = "# Written by contrailvm_guest at boot; changes are overwritten.\n"


def render_agent_conf(configuration: Configuration, roles: dict[str, str]) -> bytes:
    """The file for this host; ``roles`` maps role to interface name."""
    fabric = roles.get("underlay") or roles.get("management", "")
    sections: list[tuple[str, list[tuple[str, str]]]] = [
        ("CONTROL-NODE", [("servers", " ".join(configuration.control_nodes))]),
        (
            "DEFAULT",
            [
                ("agent_name", configuration.vrouter_name),
                ("collectors", " ".join(configuration.collectors)),
                ("http_server_port", str(AGENT_INTROSPECT_PORT)),
                ("log_file", "/var/log/contrail/contrail-vrouter-agent.log"),
                ("log_level", configuration.log_level),
                ("log_local", "1"),
            ],
        ),
        ("DNS", [("servers", " ".join(configuration.dns_servers))]),
        (
            "HYPERVISOR",
            [
                ("type", "vmware"),
                ("vmware_physical_interface", roles["overlay"]),
                ("vmware_mode", configuration.mode),
            ],
        ),
        (
            "VIRTUAL-HOST-INTERFACE",
            [
                ("name", "vhost0"),
                ("physical_interface", fabric),
                ("ip", configuration.address),
                ("gateway", configuration.gateway),
            ],
        ),
    ]
    lines = [HEADER]
    for title, options in sections:
        said = [f"{name}={value}\n" for name, value in options if value]
        if said:
            lines += [f"\n[{title}]\n", *said]
    return "".join(lines).encode("ascii")
