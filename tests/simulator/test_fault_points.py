"""A fault rule at a point that does not exist would wait for ever: it is refused."""

import random
import re
from pathlib import Path

import pytest

import contrail_vsphere.simulator
from contrail_vsphere.simulator.core.fault_points import POINTS
from contrail_vsphere.simulator.core.faults import FaultBook, FaultRule


def test_unknown_points_are_refused_and_the_nearest_is_named():
    book = FaultBook(random.Random(1))
    with pytest.raises(LookupError, match=r"no fault point guest\.bot; did you mean guest\.boot\?"):
        book.add(FaultRule(point="guest.bot", drop=True))
    assert not book.rules()
    book.add(FaultRule(point="guest.*", drop=True))


def test_every_point_that_the_simulator_asks_at_is_known():
    root = Path(contrail_vsphere.simulator.__file__).parent
    source = "".join(path.read_text() for path in root.rglob("*.py"))
    asked = set(re.findall(r"(?:_point|\.point|_fails)\(\s*\"([a-z_.]+)\"", source)) - {"guest.boot"}
    assert asked <= POINTS
