"""``contrail-vsphere``: the root of the command line, and the one place where an error becomes a line and an exit code.

Each group of commands is a module of its own that imports what it calls only when called, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import sys

import typer

from contrail_vsphere.cli import config, contrailvm, demo, demo_neutron, demo_servers, neutron, plugin, simulate
from contrail_vsphere.cli.run import run as run_command
from contrail_vsphere.model.errors import ContrailVsphereError, NotConverged, UsageError

EXIT_FAILED, EXIT_USAGE, EXIT_NOT_CONVERGED, EXIT_INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    help="Contrail (Tungsten Fabric) networking for VMware vSphere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("demo-servers")(demo_servers.demo_servers)
app.command("demo-neutron")(demo_neutron.demo_neutron)
app.command("run")(run_command)
app.add_typer(simulate.app, name="simulate")
app.add_typer(contrailvm.app, name="contrailvm")
app.add_typer(plugin.app, name="plugin")
app.add_typer(neutron.app, name="neutron")
app.add_typer(config.app, name="config")


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Contrail (Tungsten Fabric) networking for VMware vSphere."""
    if version:
        import contrail_vsphere

        typer.echo(contrail_vsphere.__version__)
        raise typer.Exit


def run(arguments: list[str] | None = None, *, application: typer.Typer = app, name: str = "contrail-vsphere") -> None:
    """Entry point of the console script; leaves through ``sys.exit``."""
    if f"_{name.replace('-', '_').upper()}_COMPLETE" in os.environ:
        # The shell asks what a half-typed line may become; Typer answers and leaves.
        application(prog_name=name)
    sys.exit(main(arguments, application=application, name=name))


def main(arguments: list[str] | None = None, *, application: typer.Typer = app, name: str = "contrail-vsphere") -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong use, 3 not converged in time."""
    command = typer.main.get_command(application)
    try:
        result = command.main(args=arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except (typer.Abort, KeyboardInterrupt):
        return _interrupted()
    except typer.TyperException as error:
        return _wrong_use(error)
    except ContrailVsphereError as error:
        _complain(*str(error).splitlines())
        return exit_code(error)
    except BrokenPipeError:
        # The reader of our output left (`| head`); what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "contrail_vsphere"):
            raise
        # An extra that the base installation goes without: Neutron's, Server Manager's.
        _complain(f"this command needs the Python package {package}, which is not installed ({_how_to_install(name)})")
        return EXIT_FAILED
    except OSError as error:
        # A file or disk of the user's that no command looks after: full, read-only, gone.
        _complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        return EXIT_FAILED
    # Typer turns Ctrl-C into an exit of its own.
    return _interrupted() if result == EXIT_INTERRUPTED else int(result or 0)


def _how_to_install(name: str) -> str:
    extra = "servermanager" if name == "server-manager" else "neutron"
    return f"in the clone: pip install --constraint requirements/dev.txt -e '.[{extra}]'"


def exit_code(error: ContrailVsphereError) -> int:
    """Which exit code tells the caller's script about this error."""
    if isinstance(error, UsageError):
        return EXIT_USAGE
    return EXIT_NOT_CONVERGED if isinstance(error, NotConverged) else EXIT_FAILED


def _complain(*lines: str) -> None:
    for each in lines or ("",):
        sys.stderr.write("error: " + " ".join(each.split()) + "\n")


def _interrupted() -> int:
    _complain("interrupted")
    return EXIT_INTERRUPTED


def _wrong_use(error: typer.TyperException) -> int:
    """What the parser found; without a command at all, the help is the answer."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "the command"
    message = error.format_message()
    if message.startswith("Usage:"):
        sys.stderr.write(message + "\n")
        return EXIT_USAGE
    _complain(f"{message[:1].lower()}{message[1:].removesuffix('.')} (see: {path} --help)")
    return EXIT_USAGE


if __name__ == "__main__":
    run()
