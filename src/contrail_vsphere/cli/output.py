"""How commands print: tables for people, one object for programs.

With ``--json``, stdout carries that one object only; everything said on the way goes to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

say = Console(stderr=True, highlight=False)
"""For what is said while work is under way."""


def print_json(value: Any) -> None:
    """Write one JSON object to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to stdout; as wide as it needs to be where stdout is not a terminal."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=220)
    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
