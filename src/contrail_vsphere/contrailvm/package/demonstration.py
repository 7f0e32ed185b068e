"""The demo's package: real in every respect but one, its disk holds the first-boot program and no operating system."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from contrail_vsphere.contrailvm.package.build import build
from contrail_vsphere.contrailvm.package.description import Description, Disk, Nic, Role, Size
from contrail_vsphere.contrailvm.package.values import Package
from contrail_vsphere.wire.ovf.certificate import Signer


def make_demo_package(
    out_dir: Path,
    *,
    version: str = "1.0.0",
    roles: Sequence[Role] = ("management", "overlay"),
    program: Path | None = None,
    signer: Signer | None = None,
) -> Package:
    """Build the demo's package into ``out_dir``.

    It has a NIC for each of ``roles``, on networks of the same names. The disk is a tar archive of ``program`` (a
    directory; by default the installed ``contrailvm_guest``), as a first-boot disk would carry it. Another ``version``
    gives another digest.
    """
    source = program if program is not None else _installed_program()
    with tempfile.TemporaryDirectory(prefix="contrailvm-disk.") as scratch:
        image = Path(scratch, "firstboot.raw")
        image.write_bytes(_archive(source))
        return build(_describe(image, version, roles), out_dir, signer=signer)


def _installed_program() -> Path:
    import contrailvm_guest

    return Path(contrailvm_guest.__path__[0])


def _archive(directory: Path) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(directory.rglob("*.py")):
            data = path.read_bytes()
            info = tarfile.TarInfo(f"{directory.name}/{path.relative_to(directory).as_posix()}")
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def _describe(image: Path, version: str, roles: Sequence[Role]) -> Description:
    return Description(
        name="ContrailVM",
        version=version,
        product="Contrail vRouter VM",
        vendor="contrail-vsphere demo",
        annotation="Forwards the traffic of the tenant VMs of one ESXi host.",
        disk=(Disk(file=image, capacity_mb=64),),
        nic=tuple(Nic(role=role, network=role) for role in roles),
        size=(
            Size(
                id="small", label="Small", description="up to 50 tenant VMs", cpus=2, memory_mb=4096,
                memory_mb_reserved=4096, cpu_mhz_reserved=1000,
            ),
            Size(
                id="medium", label="Medium", description="up to 200 tenant VMs", cpus=4, memory_mb=8192,
                memory_mb_reserved=8192, cpu_mhz_reserved=2000, default=True,
            ),
        ),
    )  # fmt: skip
