"""Settings of driver and worker, what they exclude, and resources made of them; without Neutron running."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from oslo_config import cfg

from contrail_vsphere.ml2.options import driver_settings, worker_settings
from contrail_vsphere.ml2.pacemaker import Workers, crmsh, pcs, removal
from contrail_vsphere.ml2.worker.quality import quality_of
from contrail_vsphere.ml2.worker.trunks import Subport, trunk_of
from contrail_vsphere.model.errors import SettingsError

ROOT = Path(__file__).parents[2]
TWO = """
[vmware_dvs]
vcenters = vC1,vC2
[vmware_dvs:vC1]
host_map = a:c1
switch_map = p:d
firewall = off
[vmware_dvs:vC2]
host_map = b:c1
switch_map = p:d
binding_mode = key
[ml2_vmware]
vcenter = vC1
vsphere_hostname = vc
vsphere_login = me
vsphere_password = secret
"""


def loaded(tmp_path, text):
    path = tmp_path / "neutron.conf"
    path.write_text(text)
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(path)], default_config_files=[])
    return conf


def test_firewall_and_booking_are_said_per_vcenter(tmp_path):
    conf = loaded(tmp_path, TWO)
    settings = driver_settings(conf)
    assert [settings.filtered(name) for name in ("vC1", "vC2")] == [False, True]
    assert [settings.booked(name) for name in ("vC1", "vC2")] == [False, True]
    own = worker_settings(conf)
    assert own.vcenter == "vC1"
    assert "secret" not in repr(own)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("host_map = b:c1", "host_map = a:c1", "host a is mapped by vC1 and vC2"),
        ("switch_map = p:d\nfirewall", "switch_map = p:d,q:e\nfirewall", "2 switches"),
        ("vcenter = vC1", "vcenter = vC9", "'vC9'"),
        ("vsphere_login = me", "", "vsphere_login"),
        ("vsphere_password = secret", "", "no password"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, old, new, words):
    conf = loaded(tmp_path, TWO.replace(old, new, 1))
    with pytest.raises(SettingsError, match=words):
        driver_settings(conf)
        worker_settings(conf)


def test_the_sample_configuration_has_every_option(tmp_path):
    sample = tmp_path / "sample.conf"
    program = Path(sys.prefix) / "bin/oslo-config-generator"
    subprocess.run(
        [program, "--namespace", "contrail_vsphere", "--output-file", sample],
        check=True,
        timeout=180,
        capture_output=True,
    )
    text = sample.read_text()
    for name in ("vcenters", "cloud_id", "host_map", "switch_map", "vsphere_hostname", "orphan_seconds", "mtu_policy"):
        assert re.search(rf"^#{name} =", text, re.MULTILINE), name


def test_resources_prefer_controllers_in_turn_and_stay_apart():
    workers = Workers(["vC1", "vC2", "vC3"], ["one", "two"], {"settings": "/etc/x/{vcenter}.ini"})
    text = crmsh(workers)
    assert text.count("primitive ") == 3
    assert "location prefer_p_vmware_dvs_vC3 p_vmware_dvs_vC3 50: one" in text
    assert "settings=/etc/x/vC2.ini" in text
    assert text.count("colocation ") == 3
    script = pcs(workers)
    for line in script.splitlines()[2:]:
        assert shlex.split(line)[0] == "pcs"
    assert script.index("constraint") < script.index("resource enable")
    assert removal(workers, "pcs").count("pcs resource delete") == 3


def test_the_resource_agent_describes_itself_and_refuses_what_is_missing():
    agent = ROOT / "deploy/pacemaker/neutron-worker"
    functions = Path("/usr/lib/ocf/lib/heartbeat/ocf-shellfuncs")
    if not functions.exists():
        pytest.skip("resource-agents is not installed (tests/real_parts/install.sh)")
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OCF_ROOT": "/usr/lib/ocf", "OCF_RESKEY_vcenter": "vC1"}

    def run(action, **more):
        return subprocess.run(
            [agent, action], env={**env, **more}, capture_output=True, text=True, timeout=120, check=False
        )

    described = run("meta-data")
    assert described.returncode == 0
    assert 'name="vcenter" unique="1" required="1"' in described.stdout
    nothing = {"OCF_RESKEY_rundir": "/nonexistent"}
    assert run("monitor", **nothing).returncode == 7  # not running
    assert run("stop", **nothing).returncode == 0
    assert run("validate-all", OCF_RESKEY_binary="no-such-program").returncode == 5  # not installed


class Limit:
    rule_type, max_kbps, max_burst_kbps, direction = "bandwidth_limit", 1000, 0, "ingress"


def test_a_limit_without_a_burst_allows_most_of_a_second():
    found = quality_of([Limit()])
    assert found.from_vm is None
    assert (found.to_vm.average, found.to_vm.burst) == (1_000_000, 100_000)


def test_a_trunk_takes_what_it_can_carry_untranslated():
    ranges, problems = trunk_of(100, [Subport("a", 101, 101), Subport("b", 7, 300), Subport("c", 5, None)])
    assert ranges == ((100, 101),)
    assert sorted(problems) == ["b", "c"]
    assert "cannot translate" in problems["b"]
