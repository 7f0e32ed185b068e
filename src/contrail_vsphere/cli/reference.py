"""Writes the reference pages from the code: ``python -m contrail_vsphere.cli.reference DIRECTORY``.

Commands, settings, control APIs, what the simulator serves and which faults it knows: each page is made from what the
program itself uses, and a test compares the committed pages with fresh ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

NOTE = "Generated from the code by `make docs`; do not edit."


def pages() -> dict[str, str]:
    """File name -> content of every page."""
    manager, control, vrouters = _manager_api(), _simulator_api(), _vrouter_api()
    server_manager, contrail, plugin = _server_manager_api(), _contrail_api(), _plugin_api()
    made = {
        "commands.md": _commands(),
        "server-manager-commands.md": _server_manager_commands(),
        "server-manager-roles.md": _roles(),
        "server-manager-api.md": _api_page(server_manager, "server-manager-api.json"),
        "server-manager-api.json": _json(server_manager),
        "settings.md": _settings(),
        "faults.md": _faults(),
        "simulator-methods.md": _methods(),
        "simulator-switches.md": _switches(),
        "manager-api.md": _api_page(manager, "manager-api.json"),
        "manager-api.json": _json(manager),
        "plugin-api.md": _api_page(plugin, "plugin-api.json"),
        "plugin-api.json": _json(plugin),
        "simulator-control-api.md": _api_page(control, "simulator-control-api.json"),
        "simulator-control-api.json": _json(control),
        "simulator-vrouter-control-api.md": _api_page(vrouters, "simulator-vrouter-control-api.json"),
        "simulator-vrouter-control-api.json": _json(vrouters),
        "simulator-contrail-control-api.md": _api_page(contrail, "simulator-contrail-control-api.json"),
        "simulator-contrail-control-api.json": _json(contrail),
    }
    # Docstrings mark code as reStructuredText does.
    return {name: text.replace("``", "`") if name.endswith(".md") else text for name, text in made.items()}


def write(directory: Path) -> list[Path]:
    """Write the pages; returns those that changed."""
    directory.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, text in pages().items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


# -- commands -----------------------------------------------------------------------------------------------------


def _commands() -> str:
    from contrail_vsphere.cli.main import app

    return _command_page("# Commands", "contrail-vsphere", app)


def _server_manager_commands() -> str:
    from contrail_vsphere.cli.server_manager.main import app

    return _command_page("# Commands of Server Manager", "server-manager", app)


def _command_page(title: str, name: str, app: typer.Typer) -> str:
    lines = [
        title, "", NOTE, "",
        "Exit codes: 0 done, 1 failed, 2 wrong use, 3 not converged in time, 130 interrupted. Errors are one line on",
        "stderr that says what and what to do. With `--json`, stdout carries that document only.", "",
    ]  # fmt: skip
    for path, command in _walk(name, typer.main.get_command(app)):
        lines += _command(path, command)
    return "\n".join(lines)


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command that does something, in the order of the help."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        if child.hidden:
            continue
        yield from _walk(f"{path} {name}", child)


def _command(path: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    usage = " ".join(_slot(each) for each in arguments)
    yield f"## `{' '.join((path, usage)).strip()}`"
    yield ""
    yield " ".join((command.help or "").split())
    yield ""
    rows = [(f"`{_argument_name(each)}`", each) for each in arguments]
    rows += [(" ".join(f"`{name}`" for name in (*each.opts, *each.secondary_opts)), each) for each in options]
    if rows:
        yield "| name | meaning | default |"
        yield "|---|---|---|"
        for name, each in rows:
            yield f"| {name} | {_meaning(each)} | {_default(each)} |"
        yield ""


def _argument_name(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper()


def _slot(argument: Any) -> str:
    name = _argument_name(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _meaning(parameter: Any) -> str:
    words = [parameter.help or ""]
    annotation = parameter.type_descriptor.annotation
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    if choices:
        words.append("One of " + ", ".join(f"`{each}`" for each in choices) + ".")
    if parameter.envvar:
        words.append(f"Environment: `{parameter.envvar}`.")
    return " ".join(word for word in words if word)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    return "" if value is None or value is False or value == "" or callable(value) else f"`{value}`"


# -- settings -----------------------------------------------------------------------------------------------------


def _settings() -> str:
    from contrail_vsphere.config import schema
    from contrail_vsphere.config.load import PREFIX

    lines = [
        "# Settings", "", NOTE, "",
        f"One TOML file; `host` of `[vcenter.lab]` is also the environment's `{PREFIX}VCENTER__LAB__HOST`, which wins.",
        "`contrail-vsphere config init` writes a commented example, `config check` validates,",
        "`config show` tells what is in force and where it came from.", "",
    ]  # fmt: skip
    for kind in schema.tables():
        lines += [
            f"## `[{kind.path[0]}{'.NAME' if kind.named else ''}]`",
            "",
            " ".join((kind.model.__doc__ or "").split()),
        ]
        lines += ["", "| key | meaning | default |", "|---|---|---|"]
        for key, field in kind.keys.items():
            default = "required" if field.is_required() else _setting(field.get_default(call_default_factory=True))
            if schema.is_secret(field):
                default = "environment only"
            lines.append(f"| `{key}` | {' '.join((field.description or '').split())} | {default} |")
        lines.append("")
    return "\n".join(lines)


def _setting(value: Any) -> str:
    return "" if value is None or value == "" else f"`{value}`"


# -- simulator ----------------------------------------------------------------------------------------------------


def _switches() -> str:
    from contrail_vsphere.simulator import switchboard
    from contrail_vsphere.simulator.contrail.profile import Switches as ContrailSwitches

    return switchboard.markdown({"contrail": ContrailSwitches})


def _methods() -> str:
    from contrail_vsphere.simulator import coverage

    return coverage.markdown()


def _faults() -> str:
    from contrail_vsphere.simulator.core.faults import FaultRule

    told = _field_words(FaultRule)
    lines = [
        "# Fault rules", "", NOTE, "", " ".join((FaultRule.__doc__ or "").split()), "",
        "Send one with `contrail-vsphere simulate control fault add FIELD=VALUE ...`, with `POST /v1/faults`,",
        "or in Python with `simulator.scenario.add_fault(...)`.", "", "| field | meaning | default |", "|---|---|---|",
    ]  # fmt: skip
    for each in fields(FaultRule):
        default = each.default if each.default is not MISSING else None
        shown = "" if default in (None, "", False) else f"`{default}`"
        lines.append(f"| `{each.name}` | {told.get(each.name, '')} | {shown} |")
    lines.append("")
    return "\n".join(lines)


def _field_words(kind: type) -> dict[str, str]:
    """What the source says below each field."""
    import ast
    import inspect

    (node,) = ast.parse(inspect.getsource(kind)).body
    told: dict[str, str] = {}
    name = ""
    for statement in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and name:
            told[name] = " ".join(str(statement.value.value).split())
    return told


# -- APIs ---------------------------------------------------------------------------------------------------------


def _manager_api() -> dict[str, Any]:
    from contrail_vsphere.app.control import create_app

    # The description needs no manager behind it.
    nothing: Any = None
    return create_app(target=nothing, tokens=nothing, health=nothing, metrics=nothing).openapi()


def _plugin_api() -> dict[str, Any]:
    from contrail_vsphere.app.plugin_control import create_app

    # The description needs no plugin behind it.
    nothing: Any = None
    app = create_app(reigns=nothing, tokens=nothing, health=nothing, metrics=nothing, ends=nothing, local=True)
    return app.openapi()


def _simulator_api() -> dict[str, Any]:
    from contrail_vsphere.simulator.control.api import make_app
    from contrail_vsphere.simulator.simulator import VCenterSimulator

    return make_app(VCenterSimulator().scenario).openapi()


def _vrouter_api() -> dict[str, Any]:
    from contrail_vsphere.simulator.control.vrouters import make_app
    from contrail_vsphere.simulator.vrouter.fleet import VRouterFleet

    return make_app(VRouterFleet()).openapi()


def _contrail_api() -> dict[str, Any]:
    import asyncio

    from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
    from contrail_vsphere.simulator.control.contrail import make_app

    async def describe() -> dict[str, Any]:
        return make_app(ContrailSimulator()).openapi()

    # A simulator lives on a loop: its time is the loop's.
    return asyncio.run(describe())


def _server_manager_api() -> dict[str, Any]:
    from contrail_vsphere.servermanager.api.app import create_app

    # The description needs no manager behind it.
    nothing: Any = None
    return create_app(nothing).openapi()


def _roles() -> str:
    """Every option of every role, from the role data."""
    from contrail_vsphere.servermanager.catalogue import catalogue

    lines = ["# Roles of Server Manager", "", NOTE, ""]
    for role in catalogue():
        lines += [
            f"## {role.role}",
            "",
            f"{role.title}. Also known as {', '.join(role.aliases)}. Stage {role.stage}.",
            "",
        ]
        lines += [f"Mounts: {', '.join(f'`{mount.host}`' for mount in role.mounts) or 'none'}. "
                  f"Ports: {', '.join(map(str, role.ports)) or 'none'}. Up when: {role.health.kind}.", ""]  # fmt: skip
        lines += ["| section | option | type | default | meaning |", "|---|---|---|---|---|"]
        for name, section in role.sections.items():
            for key, option in section.options.items():
                kind = ", ".join(option.enum) or option.type
                default = "secret" if option.secret else _role_default(option.default, option.fact)
                lines.append(f"| `{name}` | `{key}` | {kind} | {default} | {option.about} |")
        lines.append("")
    return "\n".join(lines)


def _role_default(default: Any, fact: str) -> str:
    shown = "" if default is None else f"`{default}`"
    return f"fact `{fact}`{', else ' + shown if shown else ''}" if fact else shown


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _api_page(document: dict[str, Any], full: str) -> str:
    about = " ".join(str(document["info"].get("description", "")).split())
    lines = [f"# {document['info']['title']}", "", f"{NOTE} The whole OpenAPI document: [{full}]({full}).", ""]
    if about:
        lines += [about, ""]
    lines += ["| request | does | body | answers |", "|---|---|---|---|"]
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            does = operation.get("description") or operation.get("summary", "")
            body = _schema_name(operation.get("requestBody", {}))
            good: dict[str, Any] = next(
                (each for code, each in operation["responses"].items() if code.startswith("2")), {}
            )
            lines.append(f"| `{verb.upper()} {path}` | {' '.join(does.split())} | {body} | {_schema_name(good)} |")
    lines.append("")
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        if name not in ("HTTPValidationError", "ValidationError"):
            lines += _schema(name, schema)
    return "\n".join(lines)


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield " ".join(str(schema.get("description", "")).split())
    yield ""
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for field, each in schema.get("properties", {}).items():
        needed = " (required)" if field in schema.get("required", ()) else ""
        yield f"| `{field}` | {_type(each)}{needed} | {' '.join(str(each.get('description', '')).split())} |"
    yield ""


def _schema_name(holder: dict[str, Any]) -> str:
    content = holder.get("content", {}).get("application/json", {})
    return _type(content["schema"]) if content.get("schema") else ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        sys.stdout.write(f"wrote {written}\n")
