"""The pages say what is there: links lead somewhere, commands parse, files load, tables agree with the code."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from contrail_vsphere.cli.main import app
from contrail_vsphere.config.load import load
from contrail_vsphere.contrailvm.deployments.file import DeploymentTable, OverlayTable, parse_deployments
from contrail_vsphere.contrailvm.package.description import Description, load_description
from contrail_vsphere.contrailvm.plan.policy import ISSUES
from contrail_vsphere.model.protocols import UnitState
from contrail_vsphere.simulator import switchboard
from contrail_vsphere.simulator.core.fault_points import POINTS
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.story import parse as parse_scenario

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "docs" / "reference"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for page in ROOT.glob("docs/**/*.md") if GENERATED not in page.parents)],
    key=str,
)
MANAGER = (ROOT / "docs" / "contrailvm-manager.md").read_text()
SIMULATOR = (ROOT / "docs" / "simulator.md").read_text()


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, kind: str) -> list[str]:
    """The fenced blocks whose opening fence says exactly ``kind``."""
    return [body for opening, body in fences(text) if opening == kind]


def fences(text: str) -> Iterator[tuple[str, str]]:
    """What each opening fence says, and the block."""
    opening: str | None = None
    body: list[str] = []
    for line in text.splitlines(keepends=True):
        if not line.startswith("```"):
            body.append(line)
        elif opening is None:
            opening, body = line[3:].strip(), []
        else:
            yield opening, "".join(body)
            opening = None


def table(text: str, mark: str) -> list[list[str]]:
    """The cells of the table that follows the comment ``mark``, without its head."""
    _, _, rest = text.partition(f"<!-- {mark} -->\n")
    lines = []
    for line in rest.splitlines():
        if not line.startswith("|"):
            break
        lines.append([cell.strip() for cell in line.strip("|").split(" | ")])
    assert len(lines) > 2, f"no table {mark}"
    return lines[2:]


def in_ticks(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# -- links --------------------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor that Markdown renderers make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if found == GENERATED or GENERATED in found.parents:
            assert not GENERATED.exists() or found.exists(), f"{named(page)}: {target}"
            continue
        assert found.exists(), f"{named(page)}: {target}"
        if anchor:
            assert anchor in [slug(each) for each in re.findall(r"^#+ (.*)$", found.read_text(), re.M)], target


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
        ahead += [(page.parent / each).resolve() for each in links if "://" not in each]
    assert set(PAGES) <= seen


def test_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 65


# -- commands -----------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in blocks(page.read_text(), ""):
            for line in block.splitlines():
                if line.startswith("contrail-vsphere "):
                    yield named(page), line.partition(" | ")[0]


@pytest.mark.parametrize(("page", "line"), [*commands()])
def test_commands_are_understood(page: str, line: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    context = command.make_context("contrail-vsphere", words, resilient_parsing=False)
    while getattr(command, "commands", None):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


def test_there_are_commands_to_check() -> None:
    assert len({line for _, line in commands()}) > 60


def test_fault_rules_of_the_pages_have_fields_that_exist() -> None:
    fields = {each.name for each in dataclasses.fields(FaultRule)}
    rules = [line.partition(" fault add ")[2] for _, line in commands() if " fault add " in line]
    assert rules
    for rule in rules:
        assert {word.partition("=")[0] for word in shlex.split(rule)} <= fields, rule


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.M):
            assert target in targets, f"{named(page)}: make {target}"


# -- files --------------------------------------------------------------------------------------------------------


def marked(kind: str) -> list[Any]:
    return [pytest.param(each, id=named(page)) for page in PAGES for each in blocks(page.read_text(), f"toml {kind}")]


@pytest.mark.parametrize("text", marked("settings"))
def test_settings_load(text: str, tmp_path: Path) -> None:
    file = tmp_path / "contrail-vsphere.toml"
    file.write_text("")
    nothing = load(file, {})
    file.write_text(text)
    assert load(file, {}) != nothing


@pytest.mark.parametrize("text", marked("deployments"))
def test_deployments_load(text: str) -> None:
    assert parse_deployments(text)


@pytest.mark.parametrize("text", marked("package"))
def test_package_descriptions_load(text: str, tmp_path: Path) -> None:
    file = tmp_path / "contrailvm.toml"
    file.write_text(text)
    assert load_description(file).nics


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_compiles(page: Path) -> None:
    for number, source in enumerate(blocks(page.read_text(), "python")):
        compile(source, f"{named(page)}[{number}]", "exec")


@pytest.mark.parametrize("text", marked("scenario"))
def test_scenarios_parse(text: str) -> None:
    assert parse_scenario(text).steps


def test_every_toml_block_is_checked_as_something() -> None:
    checked = {"toml settings", "toml deployments", "toml package", "toml scenario"}
    for page in PAGES:
        kinds = {kind for kind, _ in fences(page.read_text()) if kind.startswith("toml")}
        assert kinds <= checked, named(page)


# -- tables -------------------------------------------------------------------------------------------------------


def keys_of(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and default of every scalar key of a file; REQUIRED where there is none."""
    for name, field in model.model_fields.items():
        key = path + (field.alias or name)
        inner = [each for each in _models(field.annotation) if issubclass(each, BaseModel)]
        for each in inner:
            if each is OverlayTable:
                yield key, REQUIRED
            yield from keys_of(each, f"{key}.")
        if not inner:
            yield key, REQUIRED if field.is_required() else field.default


def _models(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for each in get_args(annotation) for model in _models(each)]


REQUIRED = object()


def words(default: Any) -> str:
    if default is REQUIRED:
        return "required"
    if default is None:
        return "none"
    if default in ("", ()):
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if not isinstance(default, float) else f"`{default:g}`"


@pytest.mark.parametrize(("mark", "model"), [("deployments", DeploymentTable), ("package", Description)])
def test_key_tables_list_every_key_with_its_default(mark: str, model: type[BaseModel]) -> None:
    written = {in_ticks(row[0])[0]: row[1] for row in table(MANAGER, f"keys: {mark}")}
    assert written == {key: words(default) for key, default in keys_of(model)}


def test_issue_table_is_the_policy() -> None:
    written = {
        issue: (handling, advice, effect, int(reads))
        for names, handling, advice, effect, reads in table(MANAGER, "issues")
        for issue in in_ticks(names)
    }
    assert written == {name: (row.handling, row.advice, row.effect, row.reads) for name, row in ISSUES.items()}


def test_states_are_all_explained() -> None:
    written = [state for row in table(MANAGER, "states") for state in in_ticks(row[0])]
    assert sorted(written) == sorted(get_args(UnitState))


def test_switches_are_all_listed_with_their_meaning() -> None:
    page = (ROOT / "docs/reference/simulator-switches.md").read_text()
    cells = [row.split(" | ") for row in page.splitlines() if row.startswith("| `")]
    rows = {row[0].strip("| `"): row[-1] for row in cells}
    for name in switchboard.names():
        assert rows[name].strip("| "), f"{name} has no meaning"


def test_fault_fields_are_all_listed() -> None:
    _, _, section = SIMULATOR.partition("## Faults")
    written = {name for row in section.splitlines() if row.startswith("| `") for name in in_ticks(row.split(" | ")[0])}
    assert {each.name for each in dataclasses.fields(FaultRule)} <= written


def test_fault_points_are_those_of_the_code() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src/contrail_vsphere/simulator").rglob("*.py"))
    asked = set(re.findall(r"_(?:point|fails)\(\s*\"([a-z_.]+)\"", source))
    section = SIMULATOR.partition("| point | where |")[2].partition("```")[0]
    written = {name for row in section.splitlines() if row.startswith("| `") for name in in_ticks(row.split(" | ")[0])}
    assert asked <= POINTS
    assert written == POINTS


NOT_SOURCE = {"utils.py", "list_vms.py", "docs/reference/", "ca/", "identities/", "packages/"}
"""What must not be there, what a reader or `make docs` writes, and directories of the manager's data."""


def test_modules_named_in_the_pages_exist() -> None:
    found = (path for part in ("src", "docs", "deploy") for path in (ROOT / part).rglob("*"))
    there = {f"/{path.relative_to(ROOT).as_posix()}" for path in found}
    for page in PAGES:
        for name in {*re.findall(r"`([a-z_/]+\.py|[a-z_/]+/)`", page.read_text())} - NOT_SOURCE:
            assert any(path.endswith("/" + name.strip("/")) for path in there), f"{named(page)}: {name}"
