"""The deployments file: what an operator writes, checked as a whole (``names`` resolves it).

    [deployment.dc1]
    clusters = ["Compute A", "domain-c21"]        # by name or managed object id
    package = "1.0.0"
    datastores = ["local-*"]                      # in order of preference; none: the hosts' own EsxAgent settings

    [deployment.dc1.networks]
    management = "mgmt"
    fabric = "underlay"                           # where the package has a NIC of that role
    overlay = { switch = "dvs0" }                 # we make the trunk port group; or the name of one of yours

Every mistake in the file is reported at once, unknown names with the nearest right one, and nothing is written unless
all of it holds.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from contrail_vsphere.contrailvm.desired import BackendChoice, Desired, Key
from contrail_vsphere.contrailvm.rollout.window import parse_window
from contrail_vsphere.model.errors import DesiredStateError

Name = Annotated[str, Field(min_length=1, max_length=80)]
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,30}", re.IGNORECASE)
"""Deployment names become part of agency names."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OverlayTable(_Table):
    """An overlay trunk that we make and keep on a distributed switch."""

    switch: Name
    port_group: Name = "contrailvm-overlay"
    ports: int = Field(default=1800, ge=1, le=60000)


class NetworksTable(_Table):
    """Networks by role, by name or managed object id."""

    management: Name
    fabric: Name | None = None
    control_data: Name | None = Field(default=None, alias="control-data")
    overlay: Name | OverlayTable


class ReservationTable(_Table):
    """What each ContrailVM has for itself."""

    cpu_mhz: int = Field(default=0, ge=0)
    memory_mb: int = Field(default=0, ge=0)


class PoolTable(_Table):
    """Our own resource pool in each cluster; reservations are for all ContrailVMs of the cluster together."""

    name: Name = "ContrailVM"
    cpu_mhz: int = Field(default=0, ge=0)
    memory_mb: int = Field(default=0, ge=0)


class RepairTable(_Table):
    """See ``RepairPolicy``; times in seconds."""

    automatic: bool = True
    attempts: int = Field(default=3, ge=1, le=100)
    window: float = Field(default=900, ge=60)
    hook_deadline: float = Field(default=600, ge=10)
    progress_deadline: float = Field(default=900, ge=10)
    forwarding_grace: float = Field(default=120, ge=5)
    restarts: int = Field(default=2, ge=0, le=100)


class RolloutTable(_Table):
    """See ``RolloutPolicy``; times in seconds."""

    canary: int = Field(default=1, ge=0, le=1000)
    concurrency: int = Field(default=1, ge=1, le=1000)
    gate: float = Field(default=60, ge=0, le=86400)
    drops: Annotated[float, Field(ge=0)] | Literal["any"] = 10.0
    deadline: float = Field(default=900, ge=10, le=86400)
    on_failure: Literal["rollback", "stop"] = "rollback"
    order: tuple[Name, ...] = ()
    approval: bool = False
    windows: tuple[Name, ...] = ()

    @field_validator("windows")
    @classmethod
    def _readable(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        for each in windows:
            parse_window(each)
        return windows


class DevicesTable(_Table):
    """What a ContrailVM has of its host itself; all its memory is reserved then (vSphere 7.0 and later)."""

    sriov: Name | None = None
    """A network on SR-IOV adapters: one virtual function, for the underlay."""
    pci: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")], ...] = ()
    """Devices by vendor and device, as ``lspci -n`` writes them; one of each entry."""


class GuestTable(_Table):
    """What the vRouters are told."""

    controllers: tuple[Name, ...] = ()
    dns: tuple[Name, ...] = ()
    collectors: tuple[Name, ...] = ()
    gateway: str = ""
    http_proxy: str = ""
    log_level: Literal["debug", "info", "notice", "warning", "error"] = "info"
    vmware_mode: Literal["vcenter", "esxi_neutron"] = "vcenter"


class DeploymentTable(_Table):
    """One ``[deployment.NAME]``."""

    clusters: tuple[Name, ...] = Field(min_length=1)
    package: Name
    size: str = ""
    networks: NetworksTable
    datastores: tuple[Name, ...] = ()
    folder: str = ""
    """Managed object id of a VM folder; empty: EAM's own."""
    resource_pool: PoolTable | None = PoolTable()
    reservation: ReservationTable = ReservationTable()
    repair: RepairTable = RepairTable()
    devices: DevicesTable = DevicesTable()
    guest: GuestTable = GuestTable()
    rollout: RolloutTable = RolloutTable()
    backend: BackendChoice = "auto"
    """``system-vm`` also hands over what EAM has; there is no way back from it."""
    stable_macs: bool = True
    vib: str = ""
    """A published offline bundle, ``NAME VERSION`` of its first VIB or its digest; EAM only."""


class _File(_Table):
    deployment: dict[str, DeploymentTable]


@dataclass(frozen=True, slots=True)
class Diff:
    """What ``apply`` would change in the journal."""

    added: tuple[Key, ...] = ()
    changed: tuple[tuple[Key, tuple[str, ...]], ...] = ()
    removed: tuple[Key, ...] = ()
    places: Mapping[Key, str] = field(default_factory=dict)
    """``DEPLOYMENT on CLUSTER`` of all these, in the cluster's own name."""

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def lines(self) -> tuple[str, ...]:
        """As an operator reads it, a line per deployment and cluster."""
        return (
            *(f"{self.places[key]}: added" for key in self.added),
            *(f"{self.places[key]}: changed: {', '.join(fields)}" for key, fields in self.changed),
            *(f"{self.places[key]}: will be removed" for key in self.removed),
        )


def read_deployments(path: Path) -> dict[str, DeploymentTable]:
    """Read and check a deployments file; DesiredStateError lists every mistake, one per line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DesiredStateError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    return parse_deployments(text, source=str(path))


def parse_deployments(text: str, *, source: str = "deployments") -> dict[str, DeploymentTable]:
    """As ``read_deployments``, from text."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DesiredStateError(f"{source}: {error}", hint="it must be TOML") from error
    try:
        tables = _File.model_validate(document).deployment
    except ValidationError as error:
        raise mistakes(source, [_explain(each) for each in error.errors()]) from None
    wrong = [
        f"deployment {name!r}: letters, digits, '.', '_' and '-' only" for name in tables if not NAME.fullmatch(name)
    ]
    if wrong:
        raise mistakes(source, wrong)
    if not tables:
        raise DesiredStateError(f"{source}: there is no [deployment.NAME] table")
    return tables


def difference(before: Mapping[Key, Desired], after: Mapping[Key, Desired]) -> Diff:
    """Compare; a key of a deployment that ``after`` names but which is not in it is to be removed.

    Deployments that ``after`` does not name at all are left alone: one file need not hold them all.
    """
    named = {key.deployment for key in after}
    changed = []
    for key, desired in after.items():
        old = before.get(key)
        if old is not None and old != desired:
            changed.append((key, tuple(_changed_fields(old, desired))))
    return Diff(
        added=tuple(sorted(key for key in after if key not in before)),
        changed=tuple(sorted(changed)),
        removed=tuple(
            sorted(
                key for key, old in before.items() if key.deployment in named and key not in after and not old.removed
            )
        ),
        places={key: each.place for key, each in {**before, **after}.items()},
    )


def merge(before: Mapping[Key, Desired], after: Mapping[Key, Desired]) -> dict[Key, Desired]:
    """What the journal is to hold: ``after``, and keys to be removed marked so."""
    removed = {key: replace(before[key], removed=True) for key in difference(before, after).removed}
    return {**after, **removed}


def _changed_fields(old: Desired, new: Desired) -> list[str]:
    return [name for name in Desired.__dataclass_fields__ if getattr(old, name) != getattr(new, name)]


def _explain(error: Any) -> str:
    """One mistake that pydantic found, with the nearest right key for an unknown one."""
    where = [str(part) for part in error["loc"] if part not in ("deployment", "str", "OverlayTable")]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(where) or 'file'}: {error['msg'][0].lower()}{error['msg'][1:]}"
    known = _known_keys(tuple(where[:-1]), top=error["loc"][0] != "deployment")
    near = difflib.get_close_matches(where[-1], known, n=1)
    return f"{'.'.join(where)}: unknown key" + (
        f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
    )


def _known_keys(where: tuple[str, ...], *, top: bool) -> list[str]:
    if top:
        return ["deployment"]
    model: type[BaseModel] = DeploymentTable
    inner: dict[str, type[BaseModel]] = {
        "networks": NetworksTable,
        "overlay": OverlayTable,
        "reservation": ReservationTable,
        "resource_pool": PoolTable,
        "repair": RepairTable,
        "devices": DevicesTable,
        "guest": GuestTable,
        "rollout": RolloutTable,
    }
    for part in where[1:]:
        model = inner.get(part, model)
    return sorted(model.model_fields)


def mistakes(source: str, problems: list[str]) -> DesiredStateError:
    """One error for all mistakes, each told once."""
    unique = list(dict.fromkeys(problems))
    if len(unique) == 1:
        return DesiredStateError(f"{source}: {unique[0]}")
    return DesiredStateError(f"{source}: {len(unique)} mistakes:\n  " + "\n  ".join(unique))
