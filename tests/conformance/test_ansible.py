"""Ansible's collections for vSphere work against the simulated vCenter as they do against a real one."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / ".tools"
LIMIT = 900
"""Seconds; a module is a process of its own, there are a hundred."""


def collections():
    """Where ``make tools`` put the collections; fails in CI and skips elsewhere when they are not there."""
    found = TOOLS / "collections"
    if (found / "ansible_collections" / "community" / "vmware").is_dir() and shutil.which(playbook()):
        return found
    why = TOOLS / "why-no-collections"
    reason = why.read_text().strip() if why.exists() else "`make tools` fetches them"
    stop = pytest.fail if os.environ.get("CI") else pytest.skip
    return stop(f"Ansible's collections were not found: {reason}")


def playbook():
    return str(Path(sys.executable).with_name("ansible-playbook"))


@pytest.mark.process
async def test_a_playbook_of_hosts_switches_port_groups_and_machines(vcenter, tmp_path):
    await play(vcenter, tmp_path, "-e", "whole=false", "--skip-tags", "long")


@pytest.mark.soak
@pytest.mark.process
async def test_the_whole_playbook(vcenter, tmp_path):
    await play(vcenter, tmp_path, "-e", "whole=true")


async def play(vcenter, tmp_path, *options):
    where = collections()
    host, _, port = vcenter.ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "ANSIBLE_COLLECTIONS_PATH": str(where),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_PIPELINING": "1",
        "VMWARE_HOST": host,
        "VMWARE_PORT": port,
        "VMWARE_USER": vcenter.ready["username"],
        "VMWARE_PASSWORD": vcenter.ready["password"],
        "SSL_CERT_FILE": vcenter.ready["ca_file"],
    }
    process = await asyncio.create_subprocess_exec(
        playbook(),
        *("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"),
        *options,
        str(HERE / "ansible" / "vsphere.yml"),
        env=environment,
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out = (await asyncio.wait_for(process.communicate(), LIMIT))[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out[-3000:]
    assert re.search(r"failed=0 .*ignored=0", out), out[-300:]
    assert not vcenter.world.defects
    names = vcenter.inventory.keys()
    assert {"dvs0", "vm-0003"} <= names
    assert not names & {"fabric", "blue", "trunk", "web-1", "web-2", "web-3", "vSwitch1", "backup"}
