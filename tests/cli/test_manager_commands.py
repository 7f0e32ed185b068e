"""Commands that talk to a running manager: what they say, and that a refused one changes nothing."""

from __future__ import annotations

import secrets
import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from operators_desk import write_settings

from contrail_vsphere.app.contrailvm import ContrailVmService
from contrail_vsphere.cli.main import main
from contrail_vsphere.config.load import load

DEPLOYMENT = """\
[deployment.dc1]
clusters = ["C0"]
package = "1.0.0"
datastores = ["nfs-shared"]
[deployment.dc1.networks]
management = "mgmt"
overlay = { switch = "dvs0" }
"""


@pytest.fixture(scope="module")
def manager(vcenter_thread, tmp_path_factory):
    """A registered manager with a published package that runs beside the simulator; its settings file."""
    directory = tmp_path_factory.mktemp("manager")
    address = f"127.{secrets.randbelow(250) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
    listeners = {name: {"listen": f"{address}:{port}"} for name, port in LISTENERS.items()}
    file = write_settings(directory, vcenter_thread, **listeners)
    config = ("--config", str(file))
    assert main(["contrailvm", "register", *config]) == 0
    assert main(["contrailvm", "package", "build", "--demo", "--out", str(directory / "package")]) == 0
    assert main(["contrailvm", "package", "publish", str(directory / "package"), *config]) == 0
    service = ContrailVmService(load(file, {}))
    vcenter_thread.run(service.__aenter__())
    yield file
    vcenter_thread.run(service.__aexit__())
    assert main(["contrailvm", "unregister", "--yes", *config]) == 0


LISTENERS = {"publish": 8443, "bootstrap": 8444, "control": 8080}


@pytest.fixture
def there(desk, manager, monkeypatch):
    """The desk, with the running manager's settings."""
    monkeypatch.setenv("CONTRAIL_VSPHERE_CONFIG", str(manager))
    return desk


@pytest.fixture
def refused_apply(there):
    """Applies a wrong deployments file; what was wrong is returned, and nothing has come of it."""

    def apply(text, *options):
        before = there.vcenter.facts()
        (there.path / "deployments.toml").write_text(text)
        said = there.do("contrailvm", "apply", "deployments.toml", *options)
        assert (said.code, said.out) == (2, "")
        assert said.errors
        assert there.do("contrailvm", "status", "--json").json["deployments"] == []
        assert there.vcenter.facts() == before
        return said.err

    return apply


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["apply", "dry run"])
class TestWrongDeployments:
    def test_unknown_cluster(self, refused_apply, options):
        assert "no cluster 'C9'; there is C0" in refused_apply(DEPLOYMENT.replace("C0", "C9"), *options)

    def test_cluster_named_twice(self, refused_apply, options):
        assert "'C0' is named twice" in refused_apply(DEPLOYMENT.replace('["C0"]', '["C0", "C0"]'), *options)

    def test_unknown_package(self, refused_apply, options):
        assert "no package '9.9.9'; there is 1.0.0" in refused_apply(DEPLOYMENT.replace("1.0.0", "9.9.9"), *options)

    def test_unknown_network(self, refused_apply, options):
        assert "mgmt" in refused_apply(DEPLOYMENT.replace('"mgmt"', '"mgnt"'), *options)

    def test_unknown_key(self, refused_apply, options):
        assert "did you mean 'datastores'?" in refused_apply(DEPLOYMENT.replace("datastores", "datastore"), *options)

    def test_malformed_file(self, refused_apply, options):
        assert "TOML" in refused_apply("[deployment.dc1", *options)


@pytest.mark.parametrize("command", [("pause",), ("resume",), ("resolve",), ("approve",)], ids=lambda words: words[0])
def test_an_unknown_deployment(there, command):
    line = there.refused(1, "contrailvm", *command, "--deployment", "dc9")
    assert "'dc9'" in line
    assert "`contrailvm status` lists them" in line


def test_removing_an_unknown_deployment(there):
    assert "no deployment 'dc9'" in there.refused(1, "contrailvm", "remove", "dc9", "--yes")


def test_a_brake_that_is_not_engaged(there):
    assert "not engaged" in there.refused(1, "contrailvm", "release-brake", "--reason", "meant")


def test_nothing_is_deployed_yet(there):
    assert there.do("contrailvm", "status").out.startswith("no deployments; apply one: ")
    assert there.do("contrailvm", "plan").out == "nothing is to be done\n"
    assert there.do("contrailvm", "hosts").out == "no hosts: nothing is deployed yet\n"


def test_a_second_manager(there):
    assert "another manager runs with data_dir" in there.refused(1, "run")


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_port_in_use(there, manager, tmp_path, listener):
    """A second manager of the same extension finds a port taken: it says which, and the first is not disturbed."""
    from contrail_vsphere.app.data_dir import DataDirectory

    before = there.vcenter.facts()
    other = tmp_path / "other"
    other.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        changes = {listener: {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}}
        file = write_settings(other, there.vcenter, **changes)
        # The registered identity, so that the manager comes as far as its listeners.
        first, second = (DataDirectory(each.parent / "data", now=None) for each in (manager, file))
        second.make()
        (second.path / "identities").mkdir(mode=0o700)
        for name in ("extension.key", "extension.crt"):
            target = second.path / "identities" / name
            target.touch(mode=0o600)
            target.write_bytes((first.path / "identities" / name).read_bytes())
        line = there.refused(2, "run", "--config", file)
    assert listener in line
    assert "in use" in line
    assert there.vcenter.facts() == before


def test_unregistering_asks_first(there):
    before = there.vcenter.facts()
    said = there.do("contrailvm", "unregister")
    assert said.code == 2
    assert said.errors == ["error: nothing was unregistered (repeat with --yes if all of this may go)"]
    assert there.vcenter.facts() == before


def test_from_apply_to_remove(there):
    (there.path / "dc1.toml").write_text(DEPLOYMENT)
    would = there.do("contrailvm", "apply", "dc1.toml", "--dry-run").out
    assert would == "dc1 on C0: added\nnothing was changed; without --dry-run it is done\n"
    assert there.do("contrailvm", "status", "--json").json["deployments"] == []
    assert there.do("contrailvm", "apply", "dc1.toml").out.count("added") == 1
    assert there.do("contrailvm", "apply", "dc1.toml").out == "nothing to change\n"
    assert "dc1 on C0" in there.do("contrailvm", "plan").out
    assert there.do("contrailvm", "pause", "--deployment", "dc1").code == 0
    assert "(paused)" in there.do("contrailvm", "status").out
    assert there.do("contrailvm", "resume").code == 0
    (row,) = there.do("contrailvm", "status", "--json").json["deployments"]
    assert [unit["host_name"] for unit in row["units"]] == ["esx-00", "esx-01"]
    assert there.do("contrailvm", "remove", "dc1", "--yes").out == "dc1 on C0: will be removed\n"


def test_an_upgrade_before_anything_runs(there):
    assert "upgrade to what?" in there.refused(2, "contrailvm", "upgrade", "dc1")
    assert "no deployment 'dc9'" in there.refused(1, "contrailvm", "upgrade", "dc9", "--to", "1.1.0")
    assert "no deployment 'dc9'" in there.refused(1, "contrailvm", "rollback", "dc9")
    for step in ("pause", "resume", "approve"):
        line = there.refused(2, "contrailvm", step, "--rollout")
        assert f"contrailvm {step} --rollout --deployment NAME" in line
        line = there.refused(1, "contrailvm", step, "--rollout", "--deployment", "dc9")
        assert "no deployment 'dc9'" in line


def test_a_manager_that_is_gone(there, manager, tmp_path):
    """Its token file is there, nobody answers."""
    data = manager.parent / "data"
    file = write_settings(tmp_path, there.vcenter, manager={"data_dir": str(data)}, control={"listen": "127.0.0.1:9"})
    line = there.refused(1, "contrailvm", "apply", "--config", file, file)
    assert line == "no manager answers at http://127.0.0.1:9 (start it: contrail-vsphere run --config FILE)"
    line = there.refused(1, "plugin", "status", "--config", file)
    assert (
        line
        == "no plugin answers at http://127.0.0.1:8234 (start it: contrail-vsphere run --role plugin --config FILE)"
    )
