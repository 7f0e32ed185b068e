"""``python -m contrailvm_guest``: run the first-boot program here; the systemd unit calls it at every boot."""

from __future__ import annotations

import argparse
import sys

from contrailvm_guest.configuration import BadConfiguration
from contrailvm_guest.effects import EffectFailed, drive
from contrailvm_guest.firstboot import BootFailed, boot
from contrailvm_guest.machine import Machine
from contrailvm_guest.ovf_environment import BadEnvironment


def main(arguments: list[str] | None = None) -> int:
    """Exit 0: the vRouter agent runs. Exit 1: it does not, and one line on stderr says why."""
    parser = argparse.ArgumentParser(prog="contrailvm_guest", description="First-boot program of the ContrailVM.")
    parser.add_argument("--root", default="/", help="where the files are (for tests)")
    options = parser.parse_args(arguments)
    try:
        outcome = drive(boot(), Machine(options.root).perform)
    except (BootFailed, BadEnvironment, BadConfiguration, EffectFailed) as failed:
        print(f"contrailvm: {failed}", file=sys.stderr)  # noqa: T201
        return 1
    roles = ", ".join(f"{role} {nic}" for role, nic in outcome.roles.items())
    print(f"contrailvm: vRouter started, configuration from {outcome.source} ({roles})", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
