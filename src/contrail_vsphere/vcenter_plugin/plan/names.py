"""Names of port groups: what a virtual network's port group is called, whatever the network is called.

Network names may hold anything, port group names may not: vCenter writes slash, backslash and percent sign escaped and
takes 80 characters, and within a datacenter a name exists once. Names here are as people read them; ``escaped`` makes
what is sent. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

LONGEST = 80
"""Characters of an entity's name in vCenter, counted as sent."""
_SHORTENED = 60
"""Characters (as sent) that are kept of a name that is too long or taken."""
_ESCAPES = {"%": "%25", "/": "%2f", "\\": "%5c"}


def escaped(name: str) -> str:
    """As it is sent to vCenter, which shows it like that in its properties too."""
    return "".join(_ESCAPES.get(character, character) for character in name)


def group_name(wanted: str, network: UUID, *, taken: Collection[str] = ()) -> str:
    """Name of the port group of ``network``, which would like to be ``wanted``.

    A name that is empty, too long or ``taken`` (by a port group that is not this network's) is cut and gets the first
    eight characters of the network's uuid; that always differs, since ``taken`` holds no second one of this network.
    """
    plain = _printable(wanted)
    if plain and len(escaped(plain)) <= LONGEST and plain not in taken:
        return plain
    return f"{_cut(plain, _SHORTENED)}~{str(network)[:8]}"


def is_name_of(name: str, wanted: str, network: UUID) -> bool:
    """Whether ``name`` is one of the two that ``group_name`` may give, whoever has taken the other."""
    return name in (group_name(wanted, network), group_name(wanted, network, taken={_printable(wanted)}))


def _printable(name: str) -> str:
    """Without control characters, which no client of vCenter can show or send."""
    return "".join(character for character in name.strip() if character.isprintable())


def _cut(name: str, most: int) -> str:
    """The longest beginning that is at most ``most`` characters when sent; an escape is never cut in two."""
    length = 0
    for index, character in enumerate(name):
        length += len(_ESCAPES.get(character, character))
        if length > most:
            return name[:index]
    return name
