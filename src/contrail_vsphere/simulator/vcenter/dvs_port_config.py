"""ReconfigureDVPort_Task and its kin: many ports in one task, each with its own version.

Everything is checked before anything changes: one stale version, one unknown key or one policy that the group keeps for
itself fails the whole task. Ports of hosts that are away are the exception: they fail the task *after* it has done its
work (``Switches.bulk_fault_keeps``).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import dvs_ports
from contrail_vsphere.simulator.vcenter.dvs_members import bulk_fault, reachable, went_out_of_sync
from contrail_vsphere.simulator.vcenter.dvs_settings import (
    check_overrides,
    check_setting,
    effective,
    patched_override,
    set_policies,
)
from contrail_vsphere.simulator.vcenter.dvs_table import DvPort
from contrail_vsphere.simulator.vcenter.inventory_events import changes, inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, found
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
        DistributedVirtualPortgroup,
        DistributedVirtualSwitch,
    )
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

STALE = "Cannot complete operation due to concurrent modification by another operation."


@dataclass(frozen=True, slots=True)
class _Change:
    """A checked spec: the port as it was and as it shall be; None: it goes."""

    before: DvPort
    after: DvPort | None
    modified: str


async def reconfigure(dvs: DistributedVirtualSwitch, specs: list[Any], *, user: str = "", chain: int) -> None:
    """Apply DVPortConfigSpecs. Raises ConcurrentAccess, NotFound, ResourceInUse, InvalidArgument, DvsFault's kin."""
    switches = Switches.of(dvs.world)
    if switches.most_ports_per_call and len(specs) > switches.most_ports_per_call:
        message = f"At most {switches.most_ports_per_call} ports can be reconfigured in one call."
        raise fault(vmodl.fault.InvalidArgument, message, invalidProperty="port")
    checked(dvs, specs)
    await dvs.world.clock.sleep(dvs.world.service(Timing).dvs)
    plan = checked(dvs, specs)
    away = [host for change in plan if (host := _absent(change.before)) is not None]
    if away and switches.bulk_fault_keeps == "nothing":
        plan = []
    elif away and switches.bulk_fault_keeps == "live_hosts":
        plan = [change for change in plan if _absent(change.before) is None]
    with dvs.world.commit(user, chain=chain) as tx:
        for change in plan:
            _apply(tx, change)
        edited = [change for change in plan if change.after is not None]
        single = Switches.of(dvs.world).port_events == "single"
        for told in [[change] for change in edited] if single else [edited] if edited else []:
            tx.event(
                inventory_event(
                    vim.event.DvsPortReconfiguredEvent,
                    dvs,
                    portKey=[change.before.key for change in told],
                    configChanges=[changes(modified=change.modified) for change in told],
                )
            )
        _remove(tx, [change.before for change in plan if change.after is None])
    if away:
        raise bulk_fault(away)


def _absent(port: DvPort) -> HostSystem | None:
    """The port's host if it is away: it cannot get the change."""
    return port.proxy_host if port.proxy_host is not None and not reachable(port.proxy_host) else None


def checked(dvs: DistributedVirtualSwitch, specs: list[Any]) -> list[_Change]:
    """What these specs would do; raises what forbids one of them."""
    if dvs.world.get(dvs.moid) is not dvs:
        raise fault(vmodl.fault.ManagedObjectNotFound, "The switch is gone.", obj=dvs.ref)
    seen: set[str] = set()
    settings: dict[int, None] = {}
    plan = []
    for number, spec in enumerate(specs):
        path, operation = f"port[{number}]", str(spec.operation)
        if operation == "add":
            raise fault(vmodl.fault.NotSupported, "Ports outside of port groups are not supported.")
        if operation not in ("edit", "remove"):
            raise fault(vmodl.fault.InvalidArgument, f"'{operation}' is no operation.", invalidProperty=path)
        if not spec.key or spec.key in seen:
            message = "A specified parameter was not correct: port[].key"
            raise fault(vmodl.fault.InvalidArgument, message, invalidProperty=f"{path}.key")
        seen.add(spec.key)
        port = dvs.ports.get(spec.key)
        if port is None:
            raise fault(vim.fault.NotFound, f"The switch '{dvs.name}' has no port {spec.key}.")
        if spec.configVersion and spec.configVersion != str(port.config_version):
            raise fault(vim.fault.ConcurrentAccess, STALE)
        if operation == "remove":
            plan.append(_removed(port))
            continue
        if spec.setting is not None and id(spec.setting) not in settings:
            settings[id(spec.setting)] = None
            check_setting(spec.setting, dvs, path=f"{path}.setting")
        check_overrides(port.group, spec.setting)
        plan.append(_edited(dvs, port, spec))
    return plan


def _removed(port: DvPort) -> _Change:
    if port.connected or port.group.uplink:
        message = f"Port {port.key} of '{port.group.name}' is in use."
        raise fault(vim.fault.ResourceInUse, message, type=vim.dvs.DistributedVirtualPort, name=port.key)
    return _Change(port, None, "")


def _edited(dvs: DistributedVirtualSwitch, port: DvPort, spec: Any) -> _Change:
    change: dict[str, Any] = {"config_version": port.config_version + 1}
    if spec.name is not None:
        change["name"] = spec.name
    if spec.description is not None:
        change["description"] = spec.description
    if spec.scope:
        change["scope"] = tuple(found(dvs, item, ManagedEntity) for item in spec.scope)
    if spec.setting is not None and not _is_lost(port):
        change["override"] = patched_override(port.override, spec.setting)
    modified: list[str] = [name for name in ("name", "description", "scope") if name in change]
    modified += [f"setting.{name}" for name in set_policies(spec.setting)]
    return _Change(port, dataclasses.replace(port, **change), ", ".join(modified))


def _is_lost(port: DvPort) -> bool:
    """``write_while_off="lost"``: only a running, connected card on the port's own host takes a setting."""
    if Switches.of(port.group.world).write_while_off == "persists" or port.vm is None:
        return False
    nic = next((nic for nic in port.vm.nics if nic.key == port.nic_key), None)
    runs = port.vm.power_state == "poweredOn" and nic is not None and nic.connected
    return not runs or port.proxy_host is not port.vm.host


def _apply(tx: Transaction, change: _Change) -> None:
    if change.after is None:
        return
    port, old = change.after, change.before
    host = _absent(old)
    if host is not None and port.override is not old.override:
        before = old.in_force if old.in_force is not None else effective(old.group.setting, old.override)
        port = dataclasses.replace(port, in_force=before)
        went_out_of_sync(tx, port.group.dvs, host, f"port {port.key}")
    port.group.dvs.ports.put(tx, port)
    if host is None and port.override is not old.override and Switches.of(tx.world).state_is_live:
        dvs_ports.report(tx, port)


def _remove(tx: Transaction, ports: list[DvPort]) -> None:
    by_group: dict[str, tuple[DistributedVirtualPortgroup, list[str]]] = {}
    for port in ports:
        by_group.setdefault(port.group.moid, (port.group, []))[1].append(port.key)
    for group, keys in by_group.values():
        dvs_ports.remove_ports(tx, group, tuple(keys))
        tx.set(group, base_ports=min(group.base_ports, group.num_ports))


async def move(dvs: DistributedVirtualSwitch, keys: list[str], destination: str, *, user: str = "", chain: int) -> None:
    """MoveDVPort_Task for free ports; their own settings are dropped where the destination does not allow them."""
    target = next((group for group in dvs.portgroups if group.moid == destination), None)
    if target is None:
        raise fault(vim.fault.NotFound, f"There is no port group '{destination}' on '{dvs.name}'.")
    if target.uplink or target.kind == "ephemeral":
        raise fault(vmodl.fault.NotSupported, f"Ports cannot be moved to '{target.name}'.")
    await dvs.world.clock.sleep(dvs.world.service(Timing).dvs)
    with dvs.world.commit(user, chain=chain) as tx:
        for key in keys:
            port = dvs.ports.get(key)
            if port is None:
                raise fault(vim.fault.NotFound, f"The switch '{dvs.name}' has no port {key}.")
            _removed(port)
            source = port.group
            dvs.ports.put(
                tx,
                dataclasses.replace(port, group=target, override=None, config_version=port.config_version + 1),
            )
            for event, group in (
                (vim.event.DvsPortLeavePortgroupEvent, source),
                (vim.event.DvsPortJoinPortgroupEvent, target),
            ):
                tx.event(inventory_event(event, dvs, portKey=key, portgroupKey=group.moid, portgroupName=group.name))
                tx.touch(group, "portKeys", "config.numPorts")


def refresh(dvs: DistributedVirtualSwitch, keys: list[str], *, user: str = "") -> None:
    """RefreshDVPortState: ask the hosts; without keys for all connected ports. Raises NotFound."""
    missing = next((key for key in keys if dvs.ports.get(key) is None), None)
    if missing is not None:
        raise fault(vim.fault.NotFound, f"The switch '{dvs.name}' has no port {missing}.")
    with dvs.world.commit(user) as tx:
        for port in [dvs.ports.ports[key] for key in keys] or list(dvs.ports.used_in(dvs.portgroups)):
            dvs_ports.report(tx, port)
