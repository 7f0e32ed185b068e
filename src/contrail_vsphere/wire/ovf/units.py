"""Units of allocation as OVF writes them: DSP0004's ``byte * 2^20`` and the words that older tools wrote.

The dialects matter: memory without a unit is bytes, and 8192 of them is no memory at all.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = {
    "byte": 1,
    "bytes": 1,
    "kilobytes": 1 << 10,
    "kb": 1 << 10,
    "megabytes": 1 << 20,
    "mb": 1 << 20,
    "gigabytes": 1 << 30,
    "gb": 1 << 30,
    "terabytes": 1 << 40,
    "tb": 1 << 40,
    "hertz": 1,
    "khz": 10**3,
    "mhz": 10**6,
    "megahertz": 10**6,
    "ghz": 10**9,
}
_FACTOR: Final = re.compile(r"(byte|hertz)\s*\*\s*([0-9]{1,4})(?:\s*\^\s*([0-9]{1,2}))?", re.IGNORECASE)
MOST: Final = 1 << 80


def multiplier(units: str, default: int) -> int | None:
    """How many bytes (or hertz) one unit is; ``default`` where none is given, None where it is not known."""
    text = units.strip()
    if not text:
        return default
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    match = _FACTOR.fullmatch(text)
    if match is None:
        return None
    factor = int(match[2]) ** int(match[3] or "1")
    return factor if 0 < factor <= MOST else None


def written(size: int) -> tuple[int, str]:
    """``size`` bytes as a quantity and its unit, the largest binary one that divides it."""
    for power in (30, 20, 10):
        if size and size % (1 << power) == 0:
            return size >> power, f"byte * 2^{power}"
    return size, "byte"
