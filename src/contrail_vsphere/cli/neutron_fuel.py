"""``contrail-vsphere neutron fuel``: what the Fuel plugin's deployment scripts call on a controller."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contrail_vsphere import __version__
from contrail_vsphere.cli.output import print_json, say
from contrail_vsphere.model.errors import ContrailVsphereError, SettingsError

if TYPE_CHECKING:
    from contrail_vsphere.ml2.fuel import Rendered

app = typer.Typer(help="From Fuel's astute data to files and Pacemaker resources.", no_args_is_help=True)

NO_RESOURCES = 105
"""Exit status of ``crm_resource --list-raw`` where no resource is configured at all."""

Astute = Annotated[Path, typer.Option("--astute", help="The node's astute data.")]
Root = Annotated[Path, typer.Option("--root", help="Write below this directory instead of /.")]


@app.command()
def render(
    astute: Astute = Path("/etc/astute.yaml"),
    root: Root = Path("/"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
) -> None:
    """Write the files of this controller.

    Driver settings, a file per vCenter, secrets, Pacemaker resources.
    """
    rendered = _read(astute)
    written = [file.path for file in rendered.files if _write(root, file.path, file.text, file.mode)]
    if as_json:
        print_json({"vcenters": rendered.vcenters, "files": [file.path for file in rendered.files], "written": written})
    else:
        say(f"{len(written)} of {len(rendered.files)} files written for {len(rendered.vcenters)} vCenters")


@app.command("apply")
def apply_(astute: Astute = Path("/etc/astute.yaml"), root: Root = Path("/")) -> None:
    """Write the files, and load the resources.

    Those of a vCenter that the environment has no more go; a worker here that runs older code is restarted. May run
    again at any time.
    """
    render(astute, root)
    from contrail_vsphere.ml2.fuel import RESOURCES_FILE

    vcenters = _read(astute).vcenters
    if vcenters:
        _retire(root, [name for name in _settled(root) if name not in vcenters])
        _run("crm", "configure", "load", "update", str(_below(root, RESOURCES_FILE)))
        restart(root)


@app.command()
def restart(root: Root = Path("/")) -> None:
    """Restart the workers here that run older code.

    One after the other, once packages and tables are upgraded; those of other controllers are restarted there.
    """
    from contrail_vsphere.ml2.pacemaker import Workers

    older = [name for name in _settled(root) if _runs_other_code(root, name)]
    for name, _, _ in Workers(older).primitives():
        _run("crm", "--force", "resource", "restart", name)


@app.command()
def remove(root: Root = Path("/")) -> None:
    """Take resources and files away.

    Whatever the environment says by now, on each controller. Port groups stay until their networks are deleted.
    """
    from contrail_vsphere.ml2.fuel import DRIVER_FILE, HIERA_FILE, RESOURCES_FILE

    _retire(root, _settled(root))
    for path in (DRIVER_FILE, HIERA_FILE, RESOURCES_FILE):
        _below(root, path).unlink(missing_ok=True)


def _settled(root: Path) -> list[str]:
    """The vCenters that this controller has files of."""
    from contrail_vsphere.ml2.fuel import SETTINGS_DIR

    return sorted(path.stem for path in _below(root, SETTINGS_DIR).glob("*.ini"))


def _retire(root: Path, vcenters: list[str]) -> None:
    """Resources first, and from whichever controller comes first; then the files that they need."""
    from contrail_vsphere.ml2.fuel import worker_files
    from contrail_vsphere.ml2.pacemaker import Workers

    names = [name for name, _, _ in Workers(vcenters).primitives()]
    if names and shutil.which("crm") is not None:
        there = set(_run("crm_resource", "--list-raw", also=NO_RESOURCES).split())
        left = [name for name in names if name in there]
        for name in left:
            _run("crm", "--force", "resource", "stop", name)
        if left:
            _run("crm", "--force", "configure", "delete", *left)
    for vcenter in vcenters:
        for path in worker_files(vcenter):
            _below(root, path).unlink(missing_ok=True)


def _runs_other_code(root: Path, vcenter: str) -> bool:
    """Whether the worker that runs on this controller says so by its heartbeat."""
    from contrail_vsphere.ml2.fuel import RUN_DIR

    running = _below(root, RUN_DIR)
    heartbeat = running / f"{vcenter}.heartbeat"
    if not ((running / f"{vcenter}.pid").exists() and heartbeat.exists()):
        return False
    return bool(json.loads(heartbeat.read_text(encoding="utf-8")).get("version") != __version__)


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _read(path: Path) -> Rendered:
    import yaml

    from contrail_vsphere.ml2.fuel import render as rendered

    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path} holds no astute data")
    return rendered(document)


def _write(root: Path, path: str, text: str, mode: int) -> bool:
    """Whether it was not so already. The file appears whole, and is never readable by more than it should be."""
    target = _below(root, path)
    if target.exists() and target.read_text(encoding="utf-8") == text and target.stat().st_mode & 0o777 == mode:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(text, encoding="utf-8")
    try:
        shutil.chown(part, group="neutron")
    except (LookupError, PermissionError):
        if mode & 0o040 and str(root) == "/":
            raise SettingsError("there is no group neutron", hint="install neutron first") from None
    part.chmod(mode)
    part.replace(target)
    return True


def _run(*command: str, also: int = 0) -> str:
    """What it says; ``also``: an exit status that is no failure either."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode not in (0, also):
        raise ContrailVsphereError(f"`{' '.join(command)}` failed with {done.returncode}")
    return done.stdout
