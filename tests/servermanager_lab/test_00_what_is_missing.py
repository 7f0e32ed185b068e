"""On a machine, or for a user, that cannot have the lab the demo says what is missing, and starts nothing."""

import os
import shutil

import pytest

from contrail_vsphere.cli.main import main
from contrail_vsphere.demo import server_lab


@pytest.mark.xdist_group("server-lab")
def test_one_worker_has_all_tests_of_the_lab(request):
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("tests are not spread by group here")
    assert request.node.nodeid.endswith("@server-lab")


def test_an_ordinary_user_is_told_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(
        shutil, "which", lambda name, path=None: None if name in ("podman", "docker-registry") else name
    )
    monkeypatch.setattr(server_lab.subprocess, "Popen", None)
    assert main(["demo-servers", "--once"]) == 2
    said = capsys.readouterr().err
    assert "need root: run it as root" in said
    assert "apt-get install podman" in said
    assert "apt-get install docker-registry" in said
    assert len(said.strip().splitlines()) <= 2
