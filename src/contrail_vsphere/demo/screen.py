"""What a watcher sees: a line per step, and below them the live table."""

from __future__ import annotations

import sys
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

STATES = {
    "healthy": "green",
    "degraded": "red",
    "held": "red",
    "blocked": "red",
    "unreachable": "red",
    "maintenance": "cyan",
}


class Screen:
    """Speaks on stderr; the table is drawn only on a terminal and only when ``live``."""

    def __init__(self, *, live: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = (
            Live(console=self._console, refresh_per_second=8, transient=True)
            if live and self._console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the lines, take the table away."""
        if self._live is not None:
            self._live.stop()

    @staticmethod
    def note(words: str) -> None:
        """A line outside the story."""
        sys.stderr.write(words + "\n")

    def say(self, words: str) -> None:
        """A line of the story."""
        self._console.print(words)

    def begin(self, words: str) -> None:
        """A step begins."""
        self._console.print(Text.assemble(("… ", "yellow"), words))

    def end(self, words: str, seconds: float, *, good: bool) -> None:
        """A step has come about, or failed."""
        mark = ("✓ ", "green") if good else ("✗ ", "red")
        self._console.print(Text.assemble(mark, words, (f"  {seconds:.1f} s", "dim")))

    def show(self, status: dict[str, Any]) -> None:
        """Draw the manager's status."""
        if self._live is not None:
            self._live.update(status_view(status))


def status_view(document: dict[str, Any]) -> Group:
    """A status document as a terminal shows it."""
    parts: list[Any] = []
    for each in document["deployments"]:
        table = Table("host", "state", "EAM", "ContrailVM", "version", "what is going on", box=None, pad_edge=False)
        table.title, table.title_justify = f"{each['deployment']} on {each['cluster_name'] or each['cluster']}", "left"
        for unit in each["units"]:
            state = Text(unit["state"], style=STATES.get(unit["state"], "yellow"))
            eam = Text(unit["colour"] or "-", style=unit["colour"] or "dim")
            issues = ", ".join(issue["type"] for issue in unit["issues"])
            words = ": ".join(part for part in (issues, unit["next"] or unit["reason"]) if part)
            table.add_row(unit["host_name"], state, eam, unit["vm_name"] or "-", unit["version"] or "-", words)
        parts.append(table)
    parts += [Text(f"! {problem}", style="yellow") for problem in document["problems"]]
    return Group(*parts)
