"""``contrail-vsphere contrailvm package ...``: build, verify and publish ContrailVM packages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contrail_vsphere.cli.config import DEFAULT_FILE, ConfigFile
from contrail_vsphere.cli.output import print_json, print_table, say, warn
from contrail_vsphere.model.errors import InvalidState, NotFound, PackageError, UsageError

if TYPE_CHECKING:
    from contrail_vsphere.app.data_dir import DataDirectory
    from contrail_vsphere.contrailvm.package.bundle import OfflineBundle

app = typer.Typer(help="ContrailVM packages: OVF descriptor, disks, manifest.", no_args_is_help=True)

LEAST_DIGITS = 12
"""Of a digest, to name a package by it."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


@app.command()
def build(
    description: Annotated[
        Path | None, typer.Argument(help="Description of the package (TOML), beside its disk image.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory to put the package into.")] = Path("packages"),
    ova: Annotated[Path | None, typer.Option(help="Also write it as one OVA file.")] = None,
    sign_key: Annotated[Path | None, typer.Option(help="RSA key (PEM, mode 0600) to sign the manifest with.")] = None,
    sign_cert: Annotated[Path | None, typer.Option(help="Its certificate (PEM).")] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Instead of a description: the small package the demo uses.")
    ] = False,
    version: Annotated[str, typer.Option(help="With --demo: its version.")] = "1.0.0",
    as_json: AsJson = False,
) -> None:
    """Build an OVF package from a disk image.

    The description says what the VM is; the same input gives the same bytes.
    """
    from contrail_vsphere.contrailvm import package as packages
    from contrail_vsphere.pki.secrets import read_private
    from contrail_vsphere.wire.ovf.certificate import load_signer

    if (sign_key is None) != (sign_cert is None):
        raise UsageError("--sign-key and --sign-cert go together")
    signer = None
    if sign_key is not None and sign_cert is not None:
        signer = load_signer(key_pem=read_private(sign_key), certificate_pem=_read(sign_cert))
    if demo == (description is not None):
        raise UsageError("give a description, or --demo", hint="contrail-vsphere contrailvm package build --help")
    with _every_problem():
        if description is None:
            made = packages.make_demo_package(out, version=version, signer=signer)
        else:
            made = packages.build(description, out, ova=ova, signer=signer)
    _tell(made, as_json=as_json)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A package directory, an .ovf, an .ova, or an offline bundle (.zip).")],
    as_json: AsJson = False,
) -> None:
    """Check a package, or an offline bundle of VIBs.

    Every problem is one line.
    """
    from contrail_vsphere.contrailvm.package import verify as check

    if _is_bundle(path):
        _tell_bundle(_verified(path), as_json=as_json)
        return
    with _every_problem():
        made = check(path)
    _tell(made, as_json=as_json)


@app.command()
def publish(
    path: Annotated[Path, typer.Argument(help="A package directory, an .ovf, an .ova, or an offline bundle (.zip).")],
    config: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Verify a package and offer it to deployments.

    It is copied into the manager's data directory; deployments name it by its version, and an offline bundle of VIBs by
    name and version of its first VIB.
    """
    from contrail_vsphere.contrailvm.package import verify as check

    if _is_bundle(path):
        data = _data(config)
        data.make()
        _tell_bundle(data.bundles().add(_verified(path)), as_json=as_json)
        return
    with _every_problem():
        made = check(path)
    data = _data(config)
    data.make()
    asyncio.run(data.packages().add(made))
    _tell(made, as_json=as_json)
    say(f'published: deployments name it with package = "{made.version}"')


@app.command("list")
def list_packages(config: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """The published packages."""
    store = _data(config).packages()
    for directory, reason in store.damaged.items():
        warn(f"published package {directory[:12]} is not served: {reason}")
    found = [_facts(each) for each in store.packages.values()]
    if as_json:
        print_json(found)
        return
    print_table(
        "",
        ("name", "version", "digest", "bytes"),
        ((e["name"], e["version"], e["digest"][:12], str(e["bytes"])) for e in found),
        empty="none; publish one: contrail-vsphere contrailvm package publish PATH",
    )


@app.command()
def remove(
    package: Annotated[str, typer.Argument(help="Its version, or the first 12 digits or more of its digest.")],
    config: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Take a package off the shelf.

    Refused while a deployment uses it. A running manager sees it with the next apply.
    """
    data = _data(config)
    store = data.packages()
    by_digest = len(package) >= LEAST_DIGITS
    found = [
        each
        for each in store.packages.values()
        if each.version == package or (by_digest and each.digest.startswith(package))
    ]
    if not found:
        raise NotFound(f"no package {package!r} is published", hint="contrail-vsphere contrailvm package list")
    if len(found) > 1:
        digests = ", ".join(each.digest[:12] for each in found)
        raise UsageError(f"{package!r} is the version of several packages", hint=f"name one by its digest: {digests}")
    users = data.users_of(found[0].digest)
    if users:
        raise InvalidState(
            f"package {found[0].version} is used by {', '.join(users)}",
            hint="apply another version there, or remove the deployment",
        )
    store.remove([found[0].digest])
    if as_json:
        print_json({"version": found[0].version, "digest": found[0].digest})
    else:
        typer.echo(f"package {found[0].version} ({found[0].digest[:12]}): removed")


def _is_bundle(path: Path) -> bool:
    return path.suffix == ".zip"


def _verified(path: Path) -> OfflineBundle:
    from contrail_vsphere.contrailvm.package.bundle import verify_bundle

    with _every_problem():
        return verify_bundle(path)


def _tell_bundle(bundle: OfflineBundle, *, as_json: bool) -> None:
    for warning in bundle.warnings:
        warn(warning)
    vibs = [{"name": each.name, "version": each.version, "level": each.acceptance_level} for each in bundle.vibs]
    if as_json:
        print_json({"name": bundle.name, "version": bundle.version, "digest": bundle.digest, "vibs": vibs})
        return
    typer.echo(f"bundle {bundle.name} {bundle.version} ({bundle.digest[:12]}): {len(vibs)} VIBs, sound")


@contextmanager
def _every_problem() -> Iterator[None]:
    """The error is one line and names the first problem; where there are several, all are said before it."""
    try:
        yield
    except PackageError as error:
        if len(error.problems) > 1:
            for problem in error.problems:
                say(f"  {problem}")
        raise


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _data(config: Path) -> DataDirectory:
    from contrail_vsphere.app.clock import utc_now
    from contrail_vsphere.app.data_dir import DataDirectory
    from contrail_vsphere.config.load import load

    return DataDirectory(load(config, os.environ).manager.data_dir, now=utc_now)


def _facts(package: Any) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "digest": package.digest,
        "bytes": package.size,
        "signed_by": package.signer,
        "directory": str(package.directory),
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in package.files],
    }


def _tell(package: Any, *, as_json: bool) -> None:
    facts = _facts(package)
    if as_json:
        print_json(facts)
        return
    typer.echo(
        f"{facts['name']} {facts['version']}  {facts['digest'][:12]}  {facts['bytes']} bytes  {facts['directory']}"
    )
    for file in facts["files"]:
        typer.echo(f"  {file['name']}  {file['size']} bytes  sha256 {file['sha256'][:16]}...")
