"""``python -m contrailvm_guest [boot|renew]``: the systemd units call it, at every boot and once a day."""

from __future__ import annotations

import argparse
import sys

from contrailvm_guest.configuration import BadConfiguration
from contrailvm_guest.effects import EffectFailed, drive
from contrailvm_guest.firstboot import BootFailed, boot
from contrailvm_guest.machine import Machine
from contrailvm_guest.ovf_environment import BadEnvironment
from contrailvm_guest.renewal import renew


def main(arguments: list[str] | None = None) -> int:
    """Exit 0: the vRouter agent runs, the certificate is good. Exit 1: it is not so; one line on stderr says why."""
    parser = argparse.ArgumentParser(prog="contrailvm_guest", description="First-boot program of the ContrailVM.")
    parser.add_argument("verb", nargs="?", choices=("boot", "renew"), default="boot")
    parser.add_argument("--root", default="/", help="where the files are (for tests)")
    options = parser.parse_args(arguments)
    machine = Machine(options.root)
    try:
        said = _renew(machine) if options.verb == "renew" else _boot(machine)
    except (BootFailed, BadEnvironment, BadConfiguration, EffectFailed) as failed:
        print(f"contrailvm: {failed}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"contrailvm: {said}", file=sys.stderr)  # noqa: T201
    return 0


def _boot(machine: Machine) -> str:
    outcome = drive(boot(), machine.perform)
    roles = ", ".join(f"{role} {nic}" for role, nic in outcome.roles.items())
    return f"vRouter started, configuration from {outcome.source} ({roles})"


def _renew(machine: Machine) -> str:
    return f"client certificate: {drive(renew(), machine.perform)}"


if __name__ == "__main__":
    sys.exit(main())
