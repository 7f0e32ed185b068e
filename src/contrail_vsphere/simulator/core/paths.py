"""Property paths: when a change at one path can be seen at another."""

from __future__ import annotations

import functools


@functools.lru_cache(maxsize=65536)
def overlap(one: str, other: str) -> bool:
    """Whether one path is the other or lies within it: ``config`` and ``config.hardware.device[4000]`` do."""
    if one == other:
        return True
    short, long = (one, other) if len(one) < len(other) else (other, one)
    return long.startswith(short) and long[len(short)] in ".["


def within(path: str, other: str) -> bool:
    """Whether ``path`` is the other or lies within it."""
    return len(path) >= len(other) and overlap(path, other)


@functools.lru_cache(maxsize=65536)
def overlapping(paths: tuple[str, ...], changed: str) -> tuple[str, ...]:
    """Those of ``paths`` at which a change of ``changed`` can be seen."""
    return tuple(path for path in paths if overlap(path, changed))
