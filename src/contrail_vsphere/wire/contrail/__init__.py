"""Contrail's wires: config API, its notifications, the VRouterAgent's port API; once, for client and simulator."""
