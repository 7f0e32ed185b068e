"""Packages on the command line: built, verified, published; what is wrong with one is said, nothing of it is kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.contrailvm.desired import Desired, Key, PackageRef
from contrail_vsphere.contrailvm.notebook import Notebook


@pytest.fixture
def package(desk):
    said = desk.do("contrailvm", "package", "build", "--demo", "--out", "packages", "--json")
    assert (said.code, said.err) == (0, "")
    return desk.path / said.json["directory"]


def test_build_verify_publish_list(desk, package):
    assert desk.do("contrailvm", "package", "verify", package).code == 0
    said = desk.do("contrailvm", "package", "publish", package, "--json")
    assert said.code == 0
    listed = desk.do("contrailvm", "package", "list", "--json").json
    assert [each["digest"] for each in listed] == [said.json["digest"]]
    assert desk.data.stat().st_mode & 0o077 == 0
    # Once more changes nothing.
    assert desk.do("contrailvm", "package", "publish", package).code == 0
    assert desk.do("contrailvm", "package", "list", "--json").json == listed


def test_an_empty_shelf(desk):
    said = desk.do("contrailvm", "package", "list")
    assert said.out == "none; publish one: contrail-vsphere contrailvm package publish PATH\n"
    assert not desk.data.exists()


@pytest.mark.parametrize("command", ["verify", "publish"])
def test_a_missing_disk(desk, package, command):
    next(package.glob("*.vmdk")).unlink()
    said = desk.do("contrailvm", "package", command, package)
    assert (said.code, said.out) == (2, "")
    (line,) = said.errors
    assert "file 'contrailvm-disk1.vmdk' is missing (add it" in line
    assert not desk.data.exists()


@pytest.mark.parametrize("command", ["verify", "publish"])
def test_a_damaged_disk(desk, package, command):
    disk = next(package.glob("*.vmdk"))
    content = bytearray(disk.read_bytes())
    content[len(content) // 2] ^= 0xFF
    disk.write_bytes(content)
    line = desk.refused(2, "contrailvm", "package", command, package)
    assert "SHA" in line or "digest" in line
    assert not desk.data.exists()


def test_every_problem_of_a_package_has_a_line(desk, package):
    for file in (next(package.glob("*.vmdk")), next(package.glob("*.ovf"))):
        file.write_bytes(file.read_bytes() + b"\n")
    said = desk.do("contrailvm", "package", "verify", package)
    assert said.code == 2
    *problems, line = said.err.splitlines()
    assert said.errors == [line]
    assert f"has {len(problems)} problems" in line
    assert all(each.startswith("  ") for each in problems)


@pytest.mark.parametrize("path", ["nowhere", "contrail-vsphere.toml", "."])
def test_what_is_no_package(desk, path):
    assert desk.refused(2, "contrailvm", "package", "verify", path)


def test_a_description_that_is_wrong(desk):
    description = desk.path / "vm.toml"
    description.write_text('[package]\nnaem = "x"\n')
    said = desk.do("contrailvm", "package", "build", description)
    assert said.code == 2
    assert said.errors
    assert not (desk.path / "packages").exists()


def test_a_published_package_that_was_damaged_is_named(desk, package):
    digest = desk.do("contrailvm", "package", "publish", package, "--json").json["digest"]
    record = desk.data / "packages" / digest / "package.json"
    record.write_text(json.dumps({"digest": "x"}))
    said = desk.do("contrailvm", "package", "list")
    assert said.code == 0
    assert "is not served" in said.err


def test_a_package_is_taken_off_the_shelf_by_version_or_digest(desk, package):
    for name in (lambda facts: facts["version"], lambda facts: facts["digest"][:12]):
        facts = desk.do("contrailvm", "package", "publish", package, "--json").json
        assert desk.do("contrailvm", "package", "remove", name(facts), "--json").json["digest"] == facts["digest"]
        assert desk.do("contrailvm", "package", "list", "--json").json == []
    assert "no package '1.0.0'" in desk.refused(1, "contrailvm", "package", "remove", "1.0.0")


def test_a_package_that_a_deployment_uses_stays(desk, package):
    facts = desk.do("contrailvm", "package", "publish", package, "--json").json
    with DataDirectory(desk.data, now=lambda: datetime.now(UTC)).journal() as journal:
        key = Key("dc1", "domain-c8")
        desired = Desired(key, "C0", PackageRef(facts["version"], facts["digest"]), ())
        Notebook(journal).write_desired({key: desired}, sources={})
    assert "is used by dc1 on C0" in desk.refused(1, "contrailvm", "package", "remove", facts["version"])
    assert len(desk.do("contrailvm", "package", "list", "--json").json) == 1
