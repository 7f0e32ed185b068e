"""How commands print: tables for people, one object for programs.

With ``--json``, stdout carries that one object only; everything said on the way goes to stderr.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

UNLIMITED = 10_000
"""Columns."""


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
    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in filled:
        table.add_row(*row)
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    # For a file or a pipe: one line per row, however long.
    console = Console(file=io.StringIO(), highlight=False, width=UNLIMITED)
    with console.capture() as captured:
        console.print(table)
    sys.stdout.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))
