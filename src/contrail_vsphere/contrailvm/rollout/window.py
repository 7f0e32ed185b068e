"""Maintenance windows: when an upgrade may begin turns. ``mon-fri 22:00-05:00``, ``sat,sun 00:00-24:00``, in UTC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHAPE = re.compile(r"(?:(?P<days>[a-z,-]+)\s+)?(?P<begin>\d{1,2}:\d{2})-(?P<end>\d{1,2}:\d{2})")
_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """Days it begins on, and minutes since midnight; one whose end is not after its beginning goes on past midnight."""

    days: frozenset[int]
    begin: int
    end: int

    def is_open(self, moment: datetime) -> bool:
        """Whether it is open at an aware time."""
        at = moment.astimezone(UTC)
        day, minute = at.weekday(), at.hour * 60 + at.minute
        if self.end > self.begin:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)


def parse_window(text: str) -> Window:
    """Read a window; ValueError says what is wrong with it."""
    found = _SHAPE.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no window; write it as 'mon-fri 22:00-05:00' (UTC)")
    return Window(_days(found["days"] or "mon-sun", text), _minute(found["begin"], text), _minute(found["end"], text))


def any_open(windows: Iterable[str], epoch: float) -> bool:
    """Whether one of them is open at that time (seconds since the epoch)."""
    moment = datetime.fromtimestamp(epoch, UTC)
    return any(parse_window(each).is_open(moment) for each in windows)


def _days(text: str, whole: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{whole!r}: days are {', '.join(DAYS)}, or ranges of them")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days |= {each % 7 for each in range(begin, end + 1 + (7 if end < begin else 0))}
    return frozenset(days)


def _minute(text: str, whole: str) -> int:
    hour, minute = (int(part) for part in text.split(":"))
    if minute > 59 or hour * 60 + minute > _DAY:
        raise ValueError(f"{whole!r}: {text} is no time of day")
    return hour * 60 + minute
