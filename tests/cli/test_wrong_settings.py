"""Wrong settings and an unwelcoming vCenter: one line that says what and what to do, and nothing half-made."""

from __future__ import annotations

import sqlite3

import pytest

pytestmark = pytest.mark.usefixtures("untouched")


def test_no_settings_file(desk):
    line = desk.refused(2, "run", "--config", "nowhere.toml")
    assert line.startswith("settings file nowhere.toml: No such file or directory (write one with: ")


def test_malformed_settings(desk):
    (desk.path / "contrail-vsphere.toml").write_text("[vcenter.lab\n")
    assert "contrail-vsphere.toml is not TOML" in desk.refused(2, "config", "check")


def test_an_unknown_key_names_the_nearest_right_one(desk):
    desk.settings(vcenter={"thumbprnt": "x"})
    assert "unknown key thumbprnt (did you mean thumbprint?)" in desk.refused(2, "config", "check")


def test_an_unknown_key_in_the_environment(desk, monkeypatch):
    monkeypatch.setenv("CONTRAIL_VSPHERE__MANAGER__DATADIR", "x")
    assert "did you mean data_dir?" in desk.refused(2, "contrailvm", "register")


def test_every_mistake_of_a_file_has_its_line(desk):
    desk.settings(vcenter={"port": 0, "hots": "x"}, log={"level": "loud"}, control={"listen": "nowhere"})
    said = desk.do("config", "check")
    assert said.code == 2
    assert len(said.errors) == len(said.err.splitlines()) == 4


def test_wrong_password(desk):
    (desk.path / "password").write_text("wrong")
    line = desk.refused(1, "contrailvm", "register")
    assert "incorrect user name or password" in line
    assert "check user name and password" in line
    assert "wrong" not in line


@pytest.mark.parametrize("command", [("config", "check"), ("contrailvm", "register")])
def test_a_secret_that_others_can_read(desk, command):
    (desk.path / "password").chmod(0o644)
    line = desk.refused(2, *command)
    assert "has mode 0644: others can read it (chmod 600 " in line


def test_no_account(desk):
    desk.settings(vcenter={"username": None})
    assert "set username" in desk.refused(2, "contrailvm", "register")


def test_an_untrusted_certificate(desk):
    desk.settings(vcenter={"ca_file": None})
    line = desk.refused(1, "contrailvm", "register")
    assert "ca_file" in line
    assert "thumbprint" in line


def test_a_wrong_thumbprint(desk):
    desk.settings(vcenter={"ca_file": None, "thumbprint": ":".join(["AB"] * 20)})
    line = desk.refused(1, "config", "check")
    assert "AB:AB" in line or "thumbprint" in line


def test_a_ca_file_that_is_none(desk):
    (desk.path / "ca.pem").write_text("not a certificate\n")
    desk.settings(vcenter={"ca_file": "ca.pem"})
    assert "ca.pem" in desk.refused(2, "config", "check")


def test_an_unreachable_vcenter(desk):
    desk.settings(vcenter={"port": 1})
    line = desk.refused(1, "contrailvm", "register")
    assert line == "127.0.0.1:1: Connection refused (is vCenter up, is this its address?)"


def test_an_unknown_vcenter_table(desk):
    line = desk.refused(2, "contrailvm", "register", "--vcenter", "dc9")
    assert line == "no [vcenter.dc9] in the settings (there are: lab)"


def test_a_directory_that_cannot_be_made(desk):
    (desk.path / "file").write_text("")
    desk.settings(manager={"data_dir": "file/data"})
    assert "set data_dir to a directory you may write" in desk.refused(2, "contrailvm", "register")


@pytest.mark.parametrize("command", [("run",), ("contrailvm", "unregister", "--yes")])
def test_not_registered_yet(desk, command):
    assert "contrail-vsphere contrailvm register" in desk.refused(2, *command)


@pytest.mark.parametrize(
    "command",
    [
        ("status",), ("plan",), ("hosts",), ("resolve",), ("approve",), ("pause",), ("resume",),
        ("remove", "dc1", "--yes"), ("release-brake", "--reason", "meant"),
    ],
)  # fmt: skip
def test_no_manager_runs(desk, command):
    line = desk.refused(2, "contrailvm", *command)
    assert "no manager has run with these settings" in line
    assert "contrail-vsphere run --config FILE" in line


def test_a_journal_of_a_newer_version(desk, tmp_path_factory):
    directory = tmp_path_factory.mktemp("manager")
    desk.settings(manager={"data_dir": str(directory)}, vcenter={"username": None})
    # The identity stands in for a registration: the journal is looked at before vCenter is.
    from contrail_vsphere.app.clock import utc_now
    from contrail_vsphere.app.data_dir import DataDirectory

    data = DataDirectory(directory, now=utc_now)
    data.extension_identity("net.juniper.contrail.vm-manager", data.authority())
    data.journal().close()
    with sqlite3.connect(directory / "journal.sqlite") as journal:
        journal.execute("PRAGMA user_version = 99")
    journal.close()
    assert "written by a newer version" in desk.refused(1, "run")


def test_two_managers_on_one_directory(desk, tmp_path_factory):
    from contrail_vsphere.app.clock import utc_now
    from contrail_vsphere.app.data_dir import DataDirectory

    directory = tmp_path_factory.mktemp("manager")
    desk.settings(manager={"data_dir": str(directory)})
    data = DataDirectory(directory, now=utc_now)
    data.extension_identity("net.juniper.contrail.vm-manager", data.authority())
    with data.held():
        assert "another manager runs with data_dir" in desk.refused(1, "run")
    assert not (directory / "journal.sqlite").exists()


def test_an_example_is_not_overwritten(desk):
    file = desk.path / "contrail-vsphere.toml"
    before = file.read_text()
    assert "exists" in desk.refused(2, "config", "init")
    assert file.read_text() == before
    assert desk.do("config", "init", "new.toml").code == 0
    assert desk.do("config", "check", "--no-connect", "--config", "new.toml").code == 0


def test_what_is_in_force_shows_no_secret(desk, monkeypatch):
    desk.settings(vcenter={"password_file": None})
    monkeypatch.setenv("CONTRAIL_VSPHERE__VCENTER__LAB__PASSWORD", "hidden word")
    said = desk.do("config", "show", "--json")
    assert "hidden word" not in said.out
    assert {"key": "vcenter.lab.password", "value": "***"}.items() <= next(
        row.items() for row in said.json if row["key"] == "vcenter.lab.password"
    )
