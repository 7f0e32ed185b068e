"""Answers of the config API: a status and a body, errors as exceptions.

Errors are plain text labelled ``text/html``, whatever the status; a mistake the server stumbles over is a 500 that
names the Python exception.
"""

from __future__ import annotations

from dataclasses import dataclass

JSON, HTML = "application/json", "text/html; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer."""

    body: str = ""
    """JSON, or nothing at all."""


class RefusedError(Exception):
    """The request is answered with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def stumbled(text: str = "Internal Server Error") -> RefusedError:
    """A 500: the server did not expect this."""
    return RefusedError(500, text)
