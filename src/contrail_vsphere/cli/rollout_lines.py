"""A rollout in words, for the table that is printed once and for the one that is kept up to date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def rollout_lines(rollout: dict[str, Any]) -> Iterator[str]:
    """A rollout under way, in a few lines however many hosts it has."""
    places: dict[str, list[str]] = {}
    for host in rollout["hosts"]:
        proof = f" ({host['note']})" if host["place"] == "in turn" and host["note"] else ""
        places.setdefault(host["place"], []).append(f"{host['name']}{proof}")
    yield f"{rollout['deployment']}: {rollout['progress']}, {rollout['state']}, asked for by {rollout['by']}"
    names = {"in turn": "in turn", "made": "made, waiting for its turn", "before": "not begun", "away": "away"}
    for place, words in names.items():
        hosts = places.get(place, [])
        if hosts:
            more = f" and {len(hosts) - 6} more" if len(hosts) > 6 else ""
            yield f"  {words}: {', '.join(hosts[:6])}{more}"
    if rollout["held_back"]:
        yield f"  {rollout['held_back']}"
