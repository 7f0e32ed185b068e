"""Items of a VirtualHardwareSection, with the units that vSphere and its many exporters give them."""

from __future__ import annotations

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.hardware import CPU, MEGABYTE, MEMORY, OvfConfig, OvfItem
from contrail_vsphere.wire.ovf.units import multiplier
from contrail_vsphere.wire.ovf.xml import Node, number

_MEMORY_HINT = 'write rasd:AllocationUnits "byte * 2^20" and rasd:VirtualQuantity in MB'


def parse_hardware_items(section: Node) -> tuple[OvfItem, ...]:
    """All items of the section; PackageError with a line for each that is wrong.

    Items with ``ovf:bound`` min or max state a range, not hardware, and are left out.
    """
    items: list[OvfItem] = []
    problems: list[str] = []
    for node in section.children("Item"):
        if node.attribute("ovf:bound", "normal") != "normal":
            continue
        try:
            items.append(_item(node))
        except PackageError as error:
            problems.extend(error.problems)
    if problems:
        raise PackageError.of(section.path, problems)
    return tuple(items)


def parse_config(parent: Node, name: str) -> tuple[OvfConfig, ...]:
    """``vmw:Config`` or ``vmw:ExtraConfig`` children."""
    return tuple(
        OvfConfig(
            key=node.need_attribute("vmw:key"),
            value=node.attribute("vmw:value"),
            required=node.flag("ovf:required", default=True),
        )
        for node in parent.children(name)
    )


def _item(node: Node) -> OvfItem:
    kind = _number(node, "rasd:ResourceType")
    if kind is None:
        raise node.error("rasd:ResourceType is missing", hint="add it, such as 10 for an ethernet adapter")
    instance = node.need("rasd:InstanceID").text.strip()
    if not instance:
        raise node.error("rasd:InstanceID is empty", hint="number the items")
    quantity_unit, allowance_unit = _units(node, kind)
    quantity = _number(node, "rasd:VirtualQuantity")
    item = OvfItem(
        instance_id=instance,
        resource_type=kind,
        name=node.need("rasd:ElementName").text.strip(),
        subtype=node.child_text("rasd:ResourceSubType"),
        quantity=None if quantity is None else quantity * quantity_unit,
        reservation=_scaled(node, "rasd:Reservation", allowance_unit),
        limit=_scaled(node, "rasd:Limit", allowance_unit),
        weight=_number(node, "rasd:Weight"),
        cores_per_socket=_number(node, "vmw:CoresPerSocket"),
        address=node.child_text("rasd:Address"),
        address_on_parent=node.child_text("rasd:AddressOnParent"),
        parent=node.child_text("rasd:Parent"),
        host_resource=node.child_text("rasd:HostResource"),
        connection=node.child_text("rasd:Connection"),
        automatic_allocation=_boolean(node, "rasd:AutomaticAllocation"),
        description=node.child_text("rasd:Description"),
        options=tuple(node.attribute("ovf:configuration").split()),
        required=node.flag("ovf:required", default=True),
        config=parse_config(node, "vmw:Config"),
    )
    _plausible(node, item)
    return item


def _units(node: Node, kind: int) -> tuple[int, float]:
    """What one unit of the quantity, and of reservation and limit, is worth: bytes for memory; MHz for CPU."""
    text = node.child_text("rasd:AllocationUnits")
    default = {CPU: 10**6, MEMORY: 1}.get(kind, 1)
    factor = multiplier(text, default)
    if kind not in {CPU, MEMORY}:
        # Other items' units ("Gigabits per second", ...) say nothing we use.
        return 1, 1
    if factor is None:
        raise node.error(f"rasd:AllocationUnits {text!r} is not known", hint='write such as "byte * 2^20"')
    return (1, factor / 10**6) if kind == CPU else (factor, factor)


def _plausible(node: Node, item: OvfItem) -> None:
    if item.resource_type == CPU and not item.quantity:
        raise node.error("no number of CPUs", hint="write rasd:VirtualQuantity")
    if item.resource_type == MEMORY and (item.quantity or 0) < 4 * MEGABYTE:
        raise node.error(f"memory of {item.quantity or 0} bytes", hint=_MEMORY_HINT)


def _scaled(node: Node, name: str, factor: float) -> int | None:
    value = _number(node, name)
    return None if value is None else round(value * factor)


def _number(node: Node, name: str) -> int | None:
    child = node.child(name)
    if child is None or not child.text.strip():
        return None
    return number(child, name, child.text.strip())


def _boolean(node: Node, name: str) -> bool | None:
    text = node.child_text(name).lower()
    if text not in {"", "true", "false", "1", "0"}:
        raise node.error(f"{name} is {text!r}", hint="write true or false")
    return text in {"true", "1"} if text else None
