"""The seed era's words: its codes of failure, its verbs of bare metal, and bodies that are read without the store."""

from __future__ import annotations

from typing import Any, Final

from contrail_vsphere.servermanager.planner import Order

NOT_FOUND: Final = {"server": 1, "cluster": 2, "image": 3}
EXISTS: Final = {"server": 4, "cluster": 5, "image": 6}
OPERATION, GENERAL, NO_KEY, NO_VALUE, BAD_KEY = 8, 9, 10, 11, 12

SERVER_KEYS: Final = ("id", "mac_address", "cluster_id", "ip_address", "tag")
PLAIN: Final = ("detail", "select")
BARE_METAL: Final[dict[str, tuple[str, ...]]] = {
    "/server/reimage": ("POST",), "/dhcp_subnet": ("GET", "PUT", "DELETE"), "/dhcp_host": ("GET", "PUT", "DELETE"),
    "/dhcp_event": ("POST",), "/chassis-id": ("GET",), "/hardware_info": ("GET",), "/hw_server": ("PUT",),
    "/run_inventory": ("POST",), "/interface_created": ("POST",), "/MonitorConf": ("GET",), "/MonitorInfo": ("GET",),
    "/MonitorInfoSummary": ("GET",), "/InventoryConf": ("GET",), "/InventoryInfo": ("GET",),
}  # fmt: skip


class SeedEraError(Exception):
    """A failure with the seed era's code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def role_order(document: dict[str, Any]) -> Order:
    """``POST /provision_role``'s body: servers get roles, or lose them, for good."""
    ids, oper, roles = document.get("id"), document.get("oper"), document.get("role_list")
    if not (isinstance(ids, list) and ids and isinstance(roles, list) and roles):
        raise SeedEraError(NO_KEY, "id and role_list are lists, and not empty")
    if oper not in ("add", "delete"):
        raise SeedEraError(NO_VALUE, "oper is add or delete")
    changes = {str(role): [str(each) for each in ids] for role in roles}
    servers = tuple(str(each) for each in ids)
    if oper == "add":
        return Order(servers=servers, lasting=True, roles=changes)
    return Order(servers=servers, lasting=True, without=changes)
