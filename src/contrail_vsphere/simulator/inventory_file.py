"""The whole inventory in one JSON file, and back into a new world with the same ids.

Kept: every inventory object, agencies and EsxAgents with their issues, registered extensions with their certificates,
roles and permissions, custom fields, IP pools, alarms, settings, DVPorts, the disks of ContrailVM guests, and the
counters that make new ids, addresses and random values go on where they were. Not kept: what is under way (tasks, hosts
on their way into maintenance mode), sessions, the event history, fault rules, and files of VMs that are not registered.

The file holds keys of simulated guests, so only its owner may read it.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrail_vsphere.model.errors import ProtocolError, UsageError
from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.eam.host_image import HostImage
from contrail_vsphere.simulator.guest.runtime import is_contrail_vm
from contrail_vsphere.simulator.state_codec import Decoder, Encoder, class_name, class_named
from contrail_vsphere.simulator.vcenter.alarm import Alarm
from contrail_vsphere.simulator.vcenter.alarm_manager import AlarmManager
from contrail_vsphere.simulator.vcenter.authorization_manager import AuthorizationManager
from contrail_vsphere.simulator.vcenter.custom_fields_manager import CustomFieldsManager
from contrail_vsphere.simulator.vcenter.devices import MacPool
from contrail_vsphere.simulator.vcenter.extension_manager import ExtensionManager
from contrail_vsphere.simulator.vcenter.ip_pool_manager import IpPoolManager
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.simulator.vcenter.option_manager import OptionManager
from contrail_vsphere.simulator.vcenter.task import Task
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

if TYPE_CHECKING:
    from contrail_vsphere.simulator.guest.runtime import GuestRuntime
    from contrail_vsphere.simulator.simulator import VCenterSimulator

FORMAT = "contrail-vsphere simulated inventory"
VERSION = 1

_ROOTS = (ManagedEntity, Agency, EsxAgent, HostImage, Alarm)
_MANAGERS: Mapping[type[Entity], tuple[str, ...]] = {
    AlarmManager: ("states",),
    ExtensionManager: ("extensions", "service_accounts"),
    AuthorizationManager: ("roles", "granted", "last_role"),
    CustomFieldsManager: ("fields", "values", "last_key"),
    IpPoolManager: ("pools", "last_id"),
    OptionManager: ("settings",),
}
"""Managers whose state is kept; they exist in every world, with the same ids."""


class InventoryFileError(UsageError):
    """A file is no saved inventory, or not one of this version."""


# -- saving ---------------------------------------------------------------------------------------------------------


def save(simulator: VCenterSimulator, path: Path) -> None:
    """Write the inventory; an existing file is replaced once the new one is whole."""
    text = json.dumps(document(simulator), separators=(",", ":"))
    partial = path.with_name(f".{path.name}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def document(simulator: VCenterSimulator) -> dict[str, Any]:
    """What ``save`` writes."""
    world = simulator.world
    found: dict[str, Entity] = {entity.moid: entity for kind in _ROOTS for entity in world.of_type(kind)}
    queue = deque(found.values())

    def seen(entity: Entity) -> None:
        if entity.moid not in found and not isinstance(entity, Task):
            found[entity.moid] = entity
            queue.append(entity)

    encoder = Encoder(seen)
    objects = {}
    while queue:
        entity = queue.popleft()
        shown = {"class": class_name(type(entity)), "state": encoder.state(entity)}
        objects[entity.moid] = shown if world.get(entity.moid) is entity else {**shown, "gone": True}
    managers = {
        kind.__name__: {name: encoder.value(getattr(manager, name)) for name in names}
        for kind, names in _MANAGERS.items()
        for manager in world.of_type(kind)
    }
    extensions = next(world.of_type(ExtensionManager))
    return {
        "format": FORMAT,
        "version": VERSION,
        "profile": simulator.options.profile,
        "time": world.clock.now().isoformat(),
        "next_id": int(world.new_id("")),
        "next_mac": world.service(MacPool).given,
        "random": _lists(world.random.getstate()),
        "objects": objects,
        "managers": managers,
        "certificates": {key: encoder.value(der) for key, der in extensions.certificates.items()},
        "guests": _disks(simulator.guests, encoder),
    }


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _disks(guests: GuestRuntime, encoder: Encoder) -> dict[str, Any]:
    disks = {vm.moid: guests.disk(vm) for vm in guests.world.of_type(VirtualMachine) if is_contrail_vm(vm)}
    return {moid: [encoder.value(disk.files), encoder.value(disk.modes)] for moid, disk in disks.items() if disk.files}


# -- loading --------------------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Any]:
    """A saved inventory as ``load`` takes it. Raises InventoryFileError for anything else."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InventoryFileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InventoryFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InventoryFileError(f"{path} is not a saved inventory", hint="write one with scenario.save")
    if found.get("version") != VERSION:
        raise InventoryFileError(f"{path} has version {found.get('version')} of the format, this reads {VERSION}")
    return found


def load(world: World, saved: Mapping[str, Any]) -> None:
    """Put a saved inventory into a world that has its managers and EAM, but no inventory yet; one commit, no events.

    Raises InventoryFileError when the file names what this simulator does not have; the world is then as it was.
    """
    try:
        _load(world, saved)
    except (KeyError, TypeError, ValueError, AttributeError, ProtocolError) as error:
        raise InventoryFileError(f"the saved inventory does not fit this simulator: {error!r}") from error


def _load(world: World, saved: Mapping[str, Any]) -> None:
    objects = saved["objects"]
    made: dict[str, Entity] = {}
    for moid, item in objects.items():
        cls = class_named(item["class"])
        there = world.get(moid)
        if not issubclass(cls, Entity) or (there is not None and type(there) is not cls):
            raise KeyError(item["class"])
        entity = made[moid] = there or cls.__new__(cls)
        entity.world, entity.moid = world, moid

    def find(moid: str) -> Entity:
        existing = made.get(moid) or world.get(moid)
        if existing is None:
            raise KeyError(moid)
        return existing

    decoder = Decoder(find)
    for moid, item in objects.items():
        decoder.fill(made[moid], item["state"])
    with world.commit() as tx:
        for moid, entity in made.items():
            if world.get(moid) is None and not objects[moid].get("gone"):
                tx.add(entity)
        for kind, names in _MANAGERS.items():
            state = saved["managers"].get(kind.__name__, {})
            for manager in world.of_type(kind):
                tx.set(manager, **{name: decoder.value(state[name]) for name in names if name in state})
    for manager in world.of_type(ExtensionManager):
        for key, der in saved["certificates"].items():
            manager.set_certificate(key, decoder.value(der))
    world.reserve_ids(saved["next_id"])
    world.service(MacPool).reserve(saved["next_mac"])
    world.random.setstate(_tuples(saved["random"]))
    ahead = (datetime.fromisoformat(saved["time"]) - world.clock.now()).total_seconds()
    world.clock.advance(max(0.0, ahead))


def load_guests(guests: GuestRuntime, saved: Mapping[str, Any]) -> None:
    """Give ContrailVM guests the disks they had; before they boot."""
    decoder = Decoder(lambda moid: guests.world.objects[moid])
    for moid, (files, modes) in saved["guests"].items():
        vm = guests.world.get(moid)
        if isinstance(vm, VirtualMachine):
            disk = guests.disk(vm)
            disk.files.update(decoder.value(files))
            disk.modes.update(decoder.value(modes))
