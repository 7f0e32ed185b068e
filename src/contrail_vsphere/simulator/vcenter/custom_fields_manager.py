"""CustomFieldsManager: fields that users add to inventory objects, and their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.types import conforms
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.inventory_events import argument
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, found
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World

FIRST_KEY = 101


@dataclass(frozen=True, slots=True)
class Field:
    """A field; ``kind`` is the pyVmomi class it is for, None for all inventory objects."""

    key: int
    name: str
    kind: Any = None

    def value(self) -> Any:
        """CustomFieldDef; the only type of a field is text."""
        return data_object(
            vim.CustomFieldsManager.FieldDef, key=self.key, name=self.name, type=str, managedObjectType=self.kind
        )


@dataclass(slots=True, eq=False, kw_only=True)
class CustomFieldsManager(Entity):
    """Fields by key, values by object and key."""

    wsdl: ClassVar[str] = "CustomFieldsManager"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"fields": ("field",)}

    fields: Mapping[int, Field] = field(default_factory=dict)
    values: Mapping[tuple[str, int], str] = field(default_factory=dict)
    last_key: int = FIRST_KEY - 1

    @classmethod
    def of(cls, world: World) -> CustomFieldsManager | None:
        """The world's own, when it has one."""
        manager = world.get("CustomFieldsManager")
        return manager if isinstance(manager, cls) else None

    def fields_of(self, entity: Entity) -> list[Any]:
        """Definitions that apply to the object."""
        return [item.value() for item in self.fields.values() if item.kind is None or conforms(entity, item.kind)]

    def values_of(self, entity: Entity) -> list[Any]:
        """CustomFieldStringValue of every field that is set."""
        return [
            data_object(vim.CustomFieldsManager.StringValue, key=key, value=self.values[entity.moid, key])
            for key in self.fields
            if self.values.get((entity.moid, key))
        ]

    @managed_property("field")
    def _field(self) -> list[Any]:
        return [item.value() for item in self.fields.values()]

    @operation("AddCustomFieldDef", note="field privileges are not kept")
    def add(
        self, call: Call, name: str, moType: Any = None, fieldDefPolicy: Any = None, fieldPolicy: Any = None
    ) -> Any:
        """Names are unique per type."""
        self._check_free(name, moType)
        made = Field(self.last_key + 1, name, moType)
        with self.world.commit(call.user) as tx:
            tx.set(self, fields={**self.fields, made.key: made}, last_key=made.key)
            message = f"Defined new custom field {name}"
            tx.event(
                data_object(
                    vim.event.CustomFieldDefAddedEvent,
                    userName="",
                    fieldKey=made.key,
                    name=name,
                    fullFormattedMessage=message,
                )
            )
        return made.value()

    @operation("RenameCustomFieldDef")
    def rename(self, call: Call, key: int, name: str) -> None:
        old = self._existing(key)
        self._check_free(name, old.kind)
        with self.world.commit(call.user) as tx:
            tx.set(self, fields={**self.fields, key: Field(key, name, old.kind)})

    @operation("RemoveCustomFieldDef")
    def remove(self, call: Call, key: int) -> None:
        """With all its values."""
        self._existing(key)
        with self.world.commit(call.user) as tx:
            for moid, other in self.values:
                entity = self.world.get(moid)
                if other == key and entity is not None:
                    tx.touch(entity, "customValue", "value")
            tx.set(
                self,
                fields={number: item for number, item in self.fields.items() if number != key},
                values={place: value for place, value in self.values.items() if place[1] != key},
            )

    @operation("SetField", privilege="Global.SetCustomField")
    def set_field(self, call: Call, entity: Any, key: int, value: str) -> None:
        """An empty text unsets."""
        target, known = found(self, entity, ManagedEntity), self._existing(key)
        if known.kind is not None and not conforms(target, known.kind):
            raise fault(vmodl.fault.InvalidArgument, f"Field {known.name} is not for {target.wsdl}.")
        with self.world.commit(call.user) as tx:
            tx.set(self, values={**self.values, (target.moid, key): value})
            tx.touch(target, "customValue", "value")
            tx.event(
                data_object(
                    vim.event.CustomFieldValueChangedEvent,
                    userName="",
                    entity=data_object(vim.event.ManagedEntityEventArgument, name=target.name, entity=target),
                    fieldKey=key,
                    name=known.name,
                    value=value,
                    fullFormattedMessage=f"Changed custom field {known.name} on {argument(target).name} to {value}",
                )
            )

    def _existing(self, key: int) -> Field:
        if key not in self.fields:
            raise fault(vmodl.fault.InvalidArgument, f"There is no custom field {key}.", invalidProperty="key")
        return self.fields[key]

    def _check_free(self, name: str, kind: Any) -> None:
        if not name:
            raise fault(vmodl.fault.InvalidArgument, "The field needs a name.", invalidProperty="name")
        if any(
            item.name == name and (item.kind is None or kind is None or item.kind is kind)
            for item in self.fields.values()
        ):
            raise fault(vim.fault.DuplicateName, f"The name '{name}' already exists.", name=name, object=self.ref)
