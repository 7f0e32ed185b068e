"""The TOML file that says what a package is to be; every mistake in it is named by its place."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from contrail_vsphere.contrailvm.package.values import MANAGER_PROPERTIES, OPTIONAL_PROPERTIES
from contrail_vsphere.model.errors import PackageError

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=64)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=400)]
Role = Literal["management", "fabric", "control-data", "overlay"]
Megahertz = Annotated[int, Field(ge=0, le=10_000_000)]
Megabytes = Annotated[int, Field(ge=0, le=25_165_824)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Disk(_Table):
    """``[[disk]]``: ``file`` is a streamOptimized VMDK, or raw bytes that are converted."""

    file: Path
    capacity_mb: Annotated[int, Field(ge=1, le=62 << 20)] | None = None
    """For raw images: how large the disk is, if larger than the image."""


class Nic(_Table):
    """``[[nic]]``: what it is for, and the name by which the deployer maps its network."""

    role: Role
    network: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    kind: Literal["VmxNet3", "E1000", "E1000e"] = "VmxNet3"
    description: Text = ""


class Property(_Table):
    """``[[property]]``: one more property than those the ContrailVM Manager needs."""

    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", max_length=64)]
    type: Literal["string", "boolean", "uint8", "uint16", "uint32", "int", "ip", "real32"] = "string"
    default: str = ""
    user_configurable: bool = True
    password: bool = False
    label: Text = ""
    description: Text = ""
    min_length: int | None = None
    max_length: int | None = None
    values: tuple[str, ...] = ()


class Size(_Table):
    """``[[size]]``: a deployment option."""

    id: Word
    label: Text
    cpus: Annotated[int, Field(ge=1, le=768)]
    memory_mb: Annotated[int, Field(ge=4, le=25_165_824)]
    description: Text = ""
    default: bool = False
    cpu_mhz_reserved: Megahertz = 0
    memory_mb_reserved: Megabytes = 0

    @model_validator(mode="after")
    def _reserve_no_more_than_there_is(self) -> Self:
        if self.memory_mb_reserved > self.memory_mb:
            raise ValueError(f"reserves {self.memory_mb_reserved} MB of {self.memory_mb} MB memory")
        return self


class Description(_Table):
    """The whole file. Without ``[[size]]``, the top level's CPU and memory are the only size."""

    name: Word
    version: Word
    product: Text
    vendor: Text
    file_name: Word = "contrailvm"
    full_version: Text = ""
    annotation: Text = ""
    os_type: Word = "other5xLinux64Guest"
    hardware_version: Annotated[int, Field(ge=8, le=21)] = 13
    cpus: Annotated[int, Field(ge=1, le=768)] = 4
    cores_per_socket: Annotated[int, Field(ge=1, le=64)] | None = None
    memory_mb: Annotated[int, Field(ge=4, le=25_165_824)] = 8192
    cpu_mhz_reserved: Megahertz = 0
    memory_mb_reserved: Megabytes = 0
    disks: tuple[Disk, ...] = Field(alias="disk", min_length=1, max_length=15)
    nics: tuple[Nic, ...] = Field(alias="nic", min_length=2, max_length=4)
    properties: tuple[Property, ...] = Field(alias="property", default=())
    sizes: tuple[Size, ...] = Field(alias="size", default=(), max_length=20)

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        _once("nic role", [nic.role for nic in self.nics])
        _once("network", [nic.network for nic in self.nics])
        _once("size", [size.id for size in self.sizes])
        _once("property", [*MANAGER_PROPERTIES, *OPTIONAL_PROPERTIES, *(entry.key for entry in self.properties)])
        if sum(size.default for size in self.sizes) > 1:
            raise ValueError("more than one size is the default")
        for role in ("management", "overlay"):
            if all(nic.role != role for nic in self.nics):
                raise ValueError(f"no NIC has the role {role}")
        if self.memory_mb_reserved > self.memory_mb:
            raise ValueError(f"reserves {self.memory_mb_reserved} MB of {self.memory_mb} MB memory")
        return self

    @property
    def offered(self) -> tuple[Size, ...]:
        """The sizes; one without id where the file names none."""
        if self.sizes:
            return self.sizes
        return (
            Size.model_construct(
                id="",
                label="",
                cpus=self.cpus,
                memory_mb=self.memory_mb,
                cpu_mhz_reserved=self.cpu_mhz_reserved,
                memory_mb_reserved=self.memory_mb_reserved,
            ),
        )


def _once(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is there twice")


def load_description(path: Path) -> Description:
    """The description in a TOML file, disk files relative to it; PackageError with a line for each mistake."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PackageError(f"{path}: {error.strerror}", hint="give the TOML description of the package") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PackageError(f"{path} is not TOML: {error}", hint="correct that line") from error
    try:
        found = Description.model_validate(document)
    except ValidationError as error:
        problems = [_line(detail["loc"], detail["msg"]) for detail in error.errors()]
        raise PackageError.of(str(path), problems) from error
    disks = tuple(disk.model_copy(update={"file": path.parent / disk.file}) for disk in found.disks)
    return found.model_copy(update={"disks": disks})


def _line(location: tuple[int | str, ...], message: str) -> str:
    where = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    text = message.removeprefix("Value error, ")
    if text == "Extra inputs are not permitted":
        text = "is not a known key (remove it or correct its name)"
    return f"{where}: {text}" if where else text
