import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from ansible_double import AnsibleDouble
from sm_stand import free_port, missing, now, wait_for

from contrail_vsphere.servermanager.catalogue import catalogue
from contrail_vsphere.servermanager.objects import Objects
from contrail_vsphere.servermanager.planner import Planner
from contrail_vsphere.servermanager.provision import Provisioner
from contrail_vsphere.servermanager.runs import RegistryToPull
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.vault import Vault


@pytest.fixture(scope="session")
def postgres_url():
    """A real PostgreSQL of this test session, as an ordinary user: it refuses root."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not places:
        missing("postgresql")
    binaries = places[-1].parent
    # Not below pytest's own directory: every session that starts closes that to other users.
    directory = Path(tempfile.mkdtemp(prefix="tests-postgres-"))
    as_user = []
    if os.geteuid() == 0:
        as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(directory, "nobody", "nogroup")
    data = directory / "data"
    subprocess.run(
        [*as_user, binaries / "initdb", "-D", data, "-U", "tester", "--auth=trust", "--no-sync"],
        check=True, capture_output=True, timeout=60, cwd=directory,
    )  # fmt: skip
    port = free_port()
    server = subprocess.Popen(
        [*as_user, binaries / "postgres", "-D", data, "-k", directory, "-p", str(port), "-c",
         "listen_addresses=127.0.0.1", "-c", "fsync=off"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory,
    )  # fmt: skip

    def answers():
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="tester", dbname="postgres", connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        wait_for(answers, seconds=20, process=server)
        yield f"postgresql://tester@127.0.0.1:{port}"
    finally:
        # At once: the polite ways wait for connections, or write down what is thrown away here.
        server.send_signal(signal.SIGQUIT)
        server.wait(20)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'server-manager.db'}"
    else:
        base = request.getfixturevalue("postgres_url")
        name = f"t{os.urandom(6).hex()}"
        with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        url = f"{base}/{name}"
    opened = Store(url, now=now)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(tmp_path):
    opened = Store(f"sqlite:///{tmp_path / 'server-manager.db'}", now=now)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def vault(tmp_path):
    return Vault(tmp_path / "secret.key")


@pytest.fixture
def objects(vault):
    return Objects(catalogue=catalogue(), vault=vault)


@pytest.fixture
def ansible():
    return AnsibleDouble()


@pytest.fixture
def provisioner(store, vault, ansible):
    planner = Planner(catalogue=catalogue(), vault=vault, config_dir="/etc/contrail")
    return Provisioner(store, planner=planner, ansible=ansible, registry=RegistryToPull(address="reg:5100"))
