"""Neutron's own tests of ML2 with ``vmware_dvs`` before the drivers they name: ``neutron_suites.py NAME ...``.

They were written for other drivers, on hosts that no vCenter of ours has; whatever they expect must still be so, with
our journal written in the transactions of theirs. Names are modules, classes or tests; one JSON object is printed. Run
as a process of its own: these tests patch what they find.
"""

from __future__ import annotations

import functools
import json
import sys
import unittest
import warnings

warnings.simplefilter("ignore")

from neutron.plugins.ml2 import managers  # noqa: E402
from neutron_lib.db import model_base  # noqa: E402
from oslo_config import cfg  # noqa: E402
from sqlalchemy import BigInteger  # noqa: E402
from sqlalchemy.ext.compiler import compiles  # noqa: E402

from contrail_vsphere.ml2.options import DRIVER_OPTIONS, VCENTER_OPTIONS  # noqa: E402
from contrail_vsphere.ml2.tables import journal  # noqa: E402
from contrail_vsphere.ml2.tables.schema import Base  # noqa: E402

compiles(BigInteger, "sqlite")(lambda *_, **__: "INTEGER")  # what SQLite counts up by itself
COUNTED = {"rows": 0}


def install() -> None:
    """Our tables beside Neutron's, our driver first, a vCenter that carries the physical networks of these tests."""
    for table in Base.metadata.sorted_tables:
        table.to_metadata(model_base.BASEV2.metadata)
    cfg.set_defaults(DRIVER_OPTIONS, vcenters=["vC1"])
    switches = [f"physnet{number}:dvs0" for number in (1, 2, 3)]
    cfg.set_defaults(VCENTER_OPTIONS, host_map={"a-host-of-ours": "cluster-0"}, switch_map=switches)
    whole, note = managers.MechanismManager.__init__, journal.note

    @functools.wraps(whole)
    def with_ours(self):
        cfg.CONF.set_override("mechanism_drivers", ["vmware_dvs", *cfg.CONF.ml2.mechanism_drivers], group="ml2")
        whole(self)

    @functools.wraps(note)
    def counted(*arguments, **fields):
        COUNTED["rows"] += 1
        return note(*arguments, **fields)

    managers.MechanismManager.__init__ = with_ours
    journal.note = counted


def main(names: list[str]) -> None:
    """Run them."""
    install()
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(
        unittest.defaultTestLoader.loadTestsFromNames(names)
    )
    faults = [*result.failures, *result.errors]
    found = {
        "run": result.testsRun,
        "skipped": len(result.skipped),
        "failed": {test.id(): words[-1500:] for test, words in faults},
        "journal": COUNTED["rows"],
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
