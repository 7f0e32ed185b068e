"""Wrong use of the parser: one line, exit 2, and help that fits a terminal."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest
import typer

from contrail_vsphere.cli import main as main_module
from contrail_vsphere.cli.main import app, main
from contrail_vsphere.cli.server_manager import main as server_manager
from contrail_vsphere.simulator.contrail.profile import PROFILES
from contrail_vsphere.simulator.profile import RELEASES


def groups(command, path=()):
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from groups(child, (*path, name))


COMMANDS = [path for path, _ in groups(typer.main.get_command(app))]


def run(capsys, *arguments):
    code = main(list(arguments))
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_that_fits(path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(capsys, *path, "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: contrail-vsphere")
    # A truncated sentence of the list of commands ends so.
    usage, *lines = out.splitlines()
    assert not [line for line in lines if line.endswith("...")]
    assert all(len(line) <= 80 for line in (usage, *lines))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nope",), "error: no such command 'nope' (see: contrail-vsphere --help)"),
        (("contrailvm", "aply"), "Did you mean 'apply'?"),
        (("run", "--confg", "x"), "--config"),
        (("contrailvm", "package", "build", "--nope"), "(see: contrail-vsphere contrailvm package build --help)"),
        (("demo", "--hosts", "2"), "--hosts"),
        (("demo", "--hosts", "many"), "--hosts"),
        (("contrailvm", "release-brake"), "missing option '--reason'"),
        (("simulate", "vcenter", "--listen", "here"), "for example 127.0.0.1:8443"),
        (("simulate", "vcenter", "--profile", "vc1"), "there are: vc65"),
        (("simulate", "control", "hosts"), "no simulator is named"),
        (("simulate", "control", "hosts", "--url", "here"), "no control URL"),
        (("contrailvm", "remove", "dc1"), "repeat with --yes"),
        (("contrailvm", "package", "build"), "give a description, or --demo"),
        (("contrailvm", "package", "build", "--demo", "--sign-key", "k"), "go together"),
        (("contrailvm", "apply", "nowhere.toml"), "nowhere.toml: No such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_use_is_one_line(arguments, line, capsys):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert line in err


@pytest.mark.parametrize(("server", "profiles"), [("vcenter", RELEASES), ("contrail", PROFILES)])
def test_help_names_the_releases(server, profiles, capsys):
    _, out, _ = run(capsys, "simulate", server, "--help")
    line = re.search(r"to behave like:(.*?)\[", out, re.DOTALL)[1]
    assert set(re.findall(r"[a-z]+\d*\w*", line)) - {"or"} == set(profiles)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("contrail-vsphere sim", ["simulate"]),
        ("contrail-vsphere simulate vcenter --pa", ["--pace", "--password-file"]),
        ("contrail-vsphere simulate control vrouter vm-47 xmpp", ["xmpp-up", "xmpp-down"]),
        ("server-manager prov", ["provision"]),
    ],
)
def test_a_shell_is_told_how_a_line_may_go_on(typed, offered, capsys, monkeypatch):
    name, *words = typed.split()
    monkeypatch.setenv(f"_{name.upper().replace('-', '_')}_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    entry = {"contrail-vsphere": main_module.run, "server-manager": server_manager.run}[name]
    with pytest.raises(SystemExit) as left:
        entry([])
    assert left.value.code == 0
    assert capsys.readouterr().out.split() == offered


def test_no_command_shows_the_help(capsys):
    code, out, err = run(capsys)
    assert code == 2
    assert "Usage: contrail-vsphere" in out + err


@pytest.mark.parametrize(("name", "extra"), [("contrail-vsphere", "neutron"), ("server-manager", "servermanager")])
def test_a_package_that_the_base_installation_goes_without(name, extra, capsys):
    lacking = typer.Typer()

    @lacking.command()
    def status() -> None:
        import not_installed_here.part  # noqa: F401

    assert main([], application=lacking, name=name) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: this command needs the Python package not_installed_here, which is not installed (")
    assert f"'.[{extra}]'" in line and line.count("\n") == 1


def test_interrupted(capsys, monkeypatch):
    def ctrl_c(*_args, **_options):
        raise KeyboardInterrupt

    # By module: the package has a function of the module's name.
    monkeypatch.setattr(importlib.import_module("contrail_vsphere.config.load"), "read", ctrl_c)
    assert run(capsys, "config", "show") == (130, "", "error: interrupted\n")


@pytest.mark.process
def test_help_is_quick():
    """Nothing of what the commands need is imported before they run."""
    code = "import contrail_vsphere.cli.main, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"pyVmomi", "aiohttp", "fastapi", "pydantic", "cryptography"} & set(loaded)


@pytest.mark.process
def test_a_reader_that_leaves_early_is_no_error():
    pipe = f"{sys.executable} -m contrail_vsphere.cli.main config init - | head -1"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("# Settings")
    assert done.stderr == ""
