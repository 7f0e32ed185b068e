"""Composition: wires controllers, sessions, control API, metrics and logs into one process."""
