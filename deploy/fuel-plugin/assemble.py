"""Put a plugin directory together that fuel-plugin-builder takes: ``assemble.py VERSION TARGET``.

The three package versions differ in their metadata and in what the builder knows of; scripts, settings and tasks are
the same. The package that the controllers install is built here with dpkg-deb from this source tree.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
VERSIONS = ("3.0.0", "4.0.0", "5.0.0")
NEWER_ONLY = {"components.yaml": ("4.0.0", "5.0.0")}
NEUTRON_CONFIGURED = {
    "3.0.0": "openstack-network",
    "4.0.0": "openstack-network-server-config",
    "5.0.0": "primary-openstack-network-server-config, openstack-network-server-config",
}
"""Fuel's own tasks that configure Neutron's server: one for all of Neutron in 7.0, one per role since 9.0."""
MIGRATE_FIRST = "  cross-depends: [{name: contrail-vsphere-dvs-migrate, role: [primary-controller]}]\n"
"""Since 8.0 tasks may wait for other nodes; before, the primary controller is deployed first anyway."""
GROUP = """\
#!/bin/sh
# Settings and secrets of the workers belong to this group, and are written before Neutron's own packages may come.
getent group neutron >/dev/null || groupadd --system neutron
"""
CONTROL = """\
Package: contrail-vsphere-dvs
Version: {version}
Architecture: all
Maintainer: contrail-vsphere
Depends: python3 (>= 3.11)
Description: Neutron vmware_dvs: mechanism driver, worker, and Pacemaker's ResourceAgent
"""


def assemble(version: str, target: Path) -> None:
    """Everything but the RPM."""
    target.mkdir(parents=True)
    for source in sorted((HERE / "common").iterdir()):
        if version not in NEWER_ONLY.get(source.name, VERSIONS):
            continue
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, target / source.name)
    for source in sorted((HERE / version).iterdir()):
        shutil.copy2(source, target / source.name)
    tasks = target / "deployment_tasks.yaml"
    text = tasks.read_text().replace("NEUTRON_CONFIGURED", NEUTRON_CONFIGURED[version])
    if version != "3.0.0":
        # Since 8.0 a task may run again on every deployment, so that controllers that come later are in the resources.
        text = text.replace("  version: 2.0.0\n", "  version: 2.0.0\n  reexecute_on: [deploy_changes]\n")
        at = text.index("- id: contrail-vsphere-dvs-apply\n")
        text = text[:at] + text[at:].replace("  type: shell\n", "  type: shell\n" + MIGRATE_FIRST, 1)
    tasks.write_text(text)
    repository = target / "repositories" / "ubuntu"
    repository.mkdir(parents=True)
    package(repository)


def package(directory: Path) -> Path:
    """The Debian package: sources, the command, the ResourceAgent."""
    found = {}
    exec((ROOT / "src/contrail_vsphere/__init__.py").read_text(), found)  # noqa: S102 - our own version
    version = found["__version__"]
    with tempfile.TemporaryDirectory() as made:
        tree = Path(made)
        tree.chmod(0o755)
        shutil.copytree(
            ROOT / "src/contrail_vsphere",
            tree / "usr/lib/python3/dist-packages/contrail_vsphere",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        about = tree / f"usr/lib/python3/dist-packages/contrail_vsphere-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: contrail-vsphere\nVersion: {version}\n")
        (about / "entry_points.txt").write_text(entry_points())
        agent = tree / "usr/lib/ocf/resource.d/contrail-vsphere/neutron-worker"
        agent.parent.mkdir(parents=True)
        shutil.copy2(ROOT / "deploy/pacemaker/neutron-worker", agent)
        command = tree / "usr/bin/contrail-vsphere"
        command.parent.mkdir(parents=True)
        command.write_text("#!/usr/bin/python3\nfrom contrail_vsphere.cli.main import run\nrun()\n")
        command.chmod(0o755)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(CONTROL.format(version=version))
        (tree / "DEBIAN/postinst").write_text(GROUP)
        (tree / "DEBIAN/postinst").chmod(0o755)
        target = directory / f"contrail-vsphere-dvs_{version}_all.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(target)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return target


def entry_points() -> str:
    """By which Neutron finds the driver, its tables and its settings; as the project declares them."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    wanted = {name: values for name, values in declared.items() if name.startswith(("neutron.", "oslo."))}
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
        for name, values in wanted.items()
    )


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in VERSIONS:
        sys.exit(f"usage: assemble.py {'|'.join(VERSIONS)} TARGET")
    assemble(sys.argv[1], Path(sys.argv[2]))
