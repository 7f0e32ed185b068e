"""Conditional and range requests (RFC 9110, 13 and 14) for representations that never change: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"bytes\s*=\s*(?:([0-9]{1,18})\s*-\s*([0-9]{1,18})?|-\s*([0-9]{1,18}))\s*", re.ASCII)
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send: ``status`` 200, 206, 304 or 416, and ``length`` bytes from ``start``."""

    status: int
    start: int
    length: int


def answer(headers: Mapping[str, str], *, method: str, size: int, etag: str) -> Answer:
    """The answer to GET or HEAD of ``size`` bytes with the strong entity tag ``etag``.

    Several ranges, units other than bytes and malformed ranges are answered with the whole, as the RFC allows.
    """
    if _none_match(headers.get("If-None-Match", ""), etag):
        return Answer(304, 0, 0)
    match = _RANGE.fullmatch(headers.get("Range", ""))
    # We send no Last-Modified, so a date in If-Range is of something else.
    unchanged = headers.get("If-Range", etag).strip() == etag
    if method != "GET" or match is None or not unchanged:
        return Answer(200, 0, size)
    first, last, suffix = match[1], match[2], match[3]
    if suffix is not None:
        length = min(int(suffix), size)
        return Answer(206, size - length, length) if length else Answer(416, 0, 0)
    start = int(first)
    if last is not None and int(last) < start:
        return Answer(200, 0, size)
    if start >= size:
        return Answer(416, 0, 0)
    end = size if last is None else min(int(last) + 1, size)
    return Answer(206, start, end - start)


def _none_match(header: str, etag: str) -> bool:
    return header.strip() == "*" or etag in _TAG.findall(header)
