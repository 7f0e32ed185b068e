"""``contrail-vsphere``: the root of the command line, and the one place where an error becomes a line and an exit code.

Each command group is a module of its own that imports what it calls only when it is called, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import sys

import typer

from contrail_vsphere.cli import config, contrailvm, demo, simulate
from contrail_vsphere.cli.run import run as run_command
from contrail_vsphere.model.errors import ContrailVsphereError, NotConverged, UsageError

EXIT_FAILED, EXIT_USAGE, EXIT_NOT_CONVERGED = 1, 2, 3

app = typer.Typer(
    help="Contrail (Tungsten Fabric) networking for VMware vSphere.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("run")(run_command)
app.add_typer(simulate.app, name="simulate")
app.add_typer(contrailvm.app, name="contrailvm")
app.add_typer(config.app, name="config")


def run(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; leaves through ``sys.exit``."""
    sys.exit(main(arguments))


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong use, 3 not converged in time."""
    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name="contrail-vsphere", standalone_mode=False)
    except typer.Exit as exit_:
        return exit_.exit_code
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return 130
    except typer.TyperException as error:
        _complain(f"{error.format_message()} (see: contrail-vsphere {_command_path(arguments)}--help)")
        return EXIT_USAGE
    except ContrailVsphereError as error:
        _complain(str(error))
        return exit_code(error)
    except BrokenPipeError:
        # The reader of our output left (`| head`); what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return int(result or 0)


def exit_code(error: ContrailVsphereError) -> int:
    """Which exit code tells the caller's script about this error."""
    if isinstance(error, UsageError):
        return EXIT_USAGE
    return EXIT_NOT_CONVERGED if isinstance(error, NotConverged) else EXIT_FAILED


def _complain(line: str) -> None:
    """One line per problem: errors of whole files carry several."""
    for each in line.splitlines() or [""]:
        sys.stderr.write("error: " + " ".join(each.split()) + "\n")


def _command_path(arguments: list[str] | None) -> str:
    words = sys.argv[1:] if arguments is None else arguments
    path: list[str] = []
    for word in words:
        if word.startswith("-") or len(path) == 2:
            break
        path.append(word)
    return "".join(word + " " for word in path)


if __name__ == "__main__":
    run()
