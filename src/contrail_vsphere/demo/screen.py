"""What a watcher sees: a line per step, and on a terminal the step under way and the live table below."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
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
AROUND = 8
"""Lines of a terminal that the table leaves to steps and headings."""


class Screen:
    """Speaks on stderr: drawn in place on a terminal when ``live``, else plain lines of whatever length."""

    def __init__(self, *, live: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._drawn: list[Any] = [Text(""), Text("")]
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

    def say(self, words: str) -> None:
        """A line of the story."""
        self._line("", "", words)

    def begin(self, words: str) -> None:
        """A step begins."""
        if self._live is None:
            self._line("… ", "yellow", words)
        else:
            self._drawn[0] = Spinner("dots", Text(f"{words} ..."), style="yellow")
            self._draw()

    def end(self, words: str, seconds: float, *, good: bool) -> None:
        """A step has come about, or failed."""
        self._drawn[0] = Text("")
        self._line(*(("✓ ", "green") if good else ("✗ ", "red")), f"{words}  ({seconds:.1f} s)")
        self._draw()

    def show(self, status: dict[str, Any]) -> None:
        """Draw the manager's status."""
        if self._live is not None:
            self._drawn[1] = status_view(status, height=self._console.height - AROUND)
            self._draw()

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(Group(*self._drawn))

    def _line(self, mark: str, style: str, words: str) -> None:
        if self._console.is_terminal:
            # Lines longer than the terminal are left to it, so that commands can be copied whole.
            self._console.print(Text.assemble((mark, style), words), soft_wrap=True)
        else:
            sys.stderr.write(f"{mark}{words}\n")
            sys.stderr.flush()


class Stopwatch:
    """Real seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def seconds(self) -> float:
        """To a tenth."""
        return round(time.monotonic() - self._began, 1)


def status_view(document: dict[str, Any], *, height: int) -> Group:
    """A status document as a terminal shows it; of more hosts than fit, those that are not green."""
    parts: list[Any] = []
    for each in document["deployments"]:
        units = each["units"]
        green = sum(unit["colour"] == "green" for unit in units)
        where = f"{each['deployment']} on {each['cluster_name'] or each['cluster']}"
        parts.append(Text(f"\n{where}: {green} of {len(units)} green{', paused' if each['paused'] else ''}", "bold"))
        shown = units if len(units) <= height else [unit for unit in units if unit["colour"] != "green"]
        parts.append(_table(shown[: max(1, height)]))
        if len(shown) < len(units):
            parts.append(Text(f"and {len(units) - len(shown[: max(1, height)])} more", "dim"))
        if each["reason"]:
            parts.append(Text(each["reason"], "yellow"))
    parts += [Text(f"! {problem}", "yellow") for problem in document["problems"]]
    return Group(*parts)


def _table(units: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for column in ("host", "state", "EAM", "ContrailVM"):
        table.add_column(column, no_wrap=True)
    table.add_column("what is going on", no_wrap=True, overflow="ellipsis", ratio=1)
    for unit in units:
        issues = ", ".join(issue["type"] for issue in unit["issues"])
        words = ": ".join(part for part in (issues, unit["next"] or unit["reason"]) if part)
        table.add_row(
            unit["host_name"] or unit["host"],
            Text(unit["state"], STATES.get(unit["state"], "yellow")),
            Text(unit["colour"] or "-", unit["colour"] or "dim"),
            unit["vm_name"] or "-",
            words or ("forwards" if unit["forwards"] else ""),
        )
    return table
