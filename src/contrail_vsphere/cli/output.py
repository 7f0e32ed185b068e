"""How commands print: tables for people, one object for programs.

With ``--json``, stdout carries that one object only; everything said on the way goes to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def say(line: str) -> None:
    """For what is said while work is under way."""
    sys.stderr.write(line + "\n")


def warn(line: str) -> None:
    """Something the reader should not overlook, though the command goes on."""
    say(f"WARNING: {line}")


def print_json(value: Any) -> None:
    """Write one JSON object to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str = "none") -> None:
    """Write a table to stdout, ``empty`` in place of one without rows; wide where no terminal limits it."""
    from rich.console import Console
    from rich.table import Table

    filled = list(rows)
    if not filled:
        sys.stdout.write(f"{title}: {empty}\n" if title else f"{empty}\n")
        return
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=220)
    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in filled:
        table.add_row(*row)
    console.print(table)
