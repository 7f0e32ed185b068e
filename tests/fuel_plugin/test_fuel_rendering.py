"""What a controller of a Fuel environment gets, from recorded astute data."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from oslo_config import cfg

from contrail_vsphere.ml2.fuel import DRIVER_FILE, RESOURCES_FILE, SETTINGS_DIR, render, vcenter_name, worker_files
from contrail_vsphere.ml2.options import driver_settings
from contrail_vsphere.ml2.placement import Site, VCenterMaps, placement
from contrail_vsphere.model.errors import SettingsError

HERE = Path(__file__).parent
COMMAND = Path(sys.prefix) / "bin/contrail-vsphere"
FIRST, SECOND = "172.16.0.254", "vc2.example.org"
"""The vCenters of fuel8, which have no other name."""
HOST = r"[a-z0-9][a-z0-9.-]{0,40}"


def astute(name):
    return yaml.safe_load((HERE / "astute" / f"{name}.yaml").read_text())


def files(document):
    return {file.path: file for file in render(document).files}


def test_one_worker_per_vcenter_with_all_its_clusters():
    rendered = render(astute("fuel8"))
    found = {file.path: file for file in rendered.files}
    assert rendered.vcenters == (FIRST, SECOND)
    assert rendered.nodes == ("node-1.domain.tld", "node-3.domain.tld")
    driver = found[DRIVER_FILE].text
    assert f"vcenters = {FIRST}, {SECOND}" in driver
    assert "host_map = vcenter-cluster1:Cluster1, vcenter-cluster10:Cluster10" in driver
    # Cluster1 is no prefix of Cluster10 here.
    assert "switch_map = Cluster1/physnet2:dvs1, Cluster10/physnet2:dvs10" in driver
    own = found[f"{SETTINGS_DIR}/{SECOND}.ini"].text
    assert "vsphere_hostname = vc2.example.org" in own
    assert f"ca_file = {SETTINGS_DIR}/{SECOND}-ca.pem" in own
    resources = found[RESOURCES_FILE].text
    assert resources.count("primitive ") == 2
    assert f"location prefer_p_vmware_dvs_{SECOND} p_vmware_dvs_{SECOND} 50: node-3.domain.tld" in resources


def test_the_driver_reads_what_was_rendered():
    driver = files(astute("fuel8"))[DRIVER_FILE].text
    section = driver.split(f"[vmware_dvs:{FIRST}]")[1].split("[")[0]
    values = dict(line.split(" = ") for line in section.strip().splitlines())
    hosts = dict(each.strip().split(":") for each in values["host_map"].split(","))
    found = placement([VCenterMaps(FIRST, hosts, [each.strip() for each in values["switch_map"].split(",")])])
    assert found.switch(Site(FIRST, "Cluster10"), "physnet2").name == "dvs10"


def test_secrets_are_in_files_of_their_own_that_others_cannot_read():
    for path, file in files(astute("fuel8")).items():
        assert ("Se:cret#1" in file.text) == (path == f"{SETTINGS_DIR}/{FIRST}.password")
        if path.endswith((".password", ".ini")) and path.startswith(SETTINGS_DIR):
            assert file.mode == 0o640
        assert "Se:cret#1" not in repr(file)


def test_fuel_7_writes_its_network_elsewhere():
    found = files(astute("fuel7"))
    assert "switch_map = Cluster1/physnet2:dvSwitch" in found[DRIVER_FILE].text
    assert "firewall = false" in found[DRIVER_FILE].text


def test_switched_off_is_nothing():
    document = astute("fuel8")
    document["contrail-vsphere-dvs"]["vmware_dvs_enabled"] = False
    assert render(document).files == ()
    del document["contrail-vsphere-dvs"]
    assert render(document).files == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["contrail-vsphere-dvs"].update(vmware_dvs_net_maps="Cluster1:dvs1"), "Cluster10, Other"),
        (lambda d: d["contrail-vsphere-dvs"].update(vmware_dvs_net_maps="Cluster1"), "Cluster1"),
        (lambda d: d["contrail-vsphere-dvs"].update(vmware_dvs_net_maps="Cluster1:dvs1:u1;u2"), "uplinks"),
        (lambda d: d["vcenter"]["computes"][1].update(vc_user="somebody"), "2 accounts"),
        (lambda d: d["vcenter"]["computes"][0].update(vc_password=""), "vc_password"),
        (lambda d: d.update(use_vcenter=False), "no vCenter"),
        (lambda d: d["vcenter"].update(computes=[]), "empty"),
        (lambda d: d.pop("deployment_id"), "no deployment_id"),
        (lambda d: d["vcenter"]["computes"][0].update(vc_host="../neutron"), "no host name"),
    ],
)
def test_what_does_not_fit_is_said(change, words):
    document = astute("fuel8")
    change(document)
    if words == "Cluster1":  # one name alone is every cluster's switch
        assert "Other/physnet2:Cluster1" in files(document)[DRIVER_FILE].text
        return
    with pytest.raises(SettingsError, match=words):
        render(document)


@given(order=st.permutations(range(3)))
def test_every_cluster_is_in_exactly_one_vcenter(order):
    document = copy.deepcopy(astute("fuel8"))
    document["vcenter"]["computes"] = [document["vcenter"]["computes"][each] for each in order]
    driver = files(document)[DRIVER_FILE].text
    for host in ("vcenter-cluster1:", "vcenter-cluster10:", "vcenter-other:"):
        assert driver.count(host) == 1


@given(gone=st.sets(st.sampled_from([FIRST, SECOND]), max_size=1), more=st.lists(st.from_regex(HOST, fullmatch=True)))
def test_a_vcenter_that_comes_or_goes_leaves_the_files_and_resources_of_the_others(gone, more):
    document = astute("fuel8")
    before = files(document)
    computes = document["vcenter"]["computes"]
    staying = [each for each in computes if each["vc_host"] not in gone]
    names = {vcenter_name(each) for each in more} - {FIRST, SECOND}
    assume(len({each for each in more if vcenter_name(each) in names}) == len(names))
    document["vcenter"]["computes"] = [
        computes[2] | {"vc_host": each, "service_name": f"s{number}"} for number, each in enumerate(more)
        if vcenter_name(each) in names
    ] + staying  # fmt: skip
    after = files(document)
    for name in {FIRST, SECOND} - gone:
        for path in worker_files(name):
            assert after.get(path) == before.get(path)
        assert primitive(after, name) == primitive(before, name)
        assert f"[vmware_dvs:{name}]" in after[DRIVER_FILE].text


def primitive(found, name):
    (line,) = (
        each for each in found[RESOURCES_FILE].text.splitlines() if each.startswith(f"primitive p_vmware_dvs_{name} ")
    )
    return line


def test_a_name_fits_into_the_drivers_tables_and_stays_one_of_its_own():
    long = "vc." + "x" * 60 + ".example.org"
    assert len(vcenter_name(long)) == 64
    assert vcenter_name(long) != vcenter_name(long.replace("example", "another"))
    assert vcenter_name("VC2.Example.org") == "vc2.example.org"
    assert vcenter_name("fe80::1") == "fe80--1"


def test_neutron_reads_the_sections_of_such_names(tmp_path):
    path = tmp_path / "driver.ini"
    path.write_text(files(astute("fuel8"))[DRIVER_FILE].text)
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(path)])
    found = driver_settings(conf)
    assert found.placement.site("vcenter-other") == Site(SECOND, "Other")
    assert found.placement.site("vcenter-cluster10") == Site(FIRST, "Cluster10")


def test_the_command_writes_once(tmp_path):
    command = [
        COMMAND,
        "neutron",
        "fuel",
        "render",
        "--astute",
        HERE / "astute/fuel8.yaml",
        "--root",
        tmp_path,
        "--json",
    ]
    first = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    written = yaml.safe_load(first.stdout)["written"]
    assert sorted(written) == sorted(files(astute("fuel8")))
    secret = tmp_path / SETTINGS_DIR.lstrip("/") / f"{FIRST}.password"
    assert secret.read_text() == "Se:cret#1\n"
    assert secret.stat().st_mode & 0o777 == 0o640
    again = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    assert yaml.safe_load(again.stdout)["written"] == []
