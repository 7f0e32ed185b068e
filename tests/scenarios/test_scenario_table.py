"""The table of scenarios is true: its tests exist and are put to the releases it says, and nothing is left out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from scenario_table import NOT_YET, PROFILES, TABLE

TESTS = Path(__file__).parent.parent


def constants(path: Path) -> dict[str, str]:
    """The source of a module's constants, and of those it takes from modules beside it."""
    found: dict[str, str] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            found |= dict.fromkeys(names, ast.unparse(node.value))
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and (beside := path.with_name(f"{node.module}.py")).exists()
        ):
            found |= constants(beside)
    return found


def function(name: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """The test function of that name."""
    path, _, test = name.partition("::")
    for node in ast.parse((TESTS / f"{path}.py").read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == test:
            return node
    raise AssertionError(f"there is no {name}")


def profiles_of(name: str) -> set[str]:
    """The releases that the test is parametrized over."""
    node, fixture = function(name), f"{name.rpartition('/')[0]}/conftest::profile"
    decorators = node.decorator_list
    own = any("'profile'" in ast.unparse(each) for each in decorators)
    if not own and any(each.arg == "profile" for each in node.args.args):
        decorators = function(fixture).decorator_list
    words = " ".join(ast.unparse(each) for each in decorators)
    for constant, value in constants(TESTS / f"{name.partition('::')[0]}.py").items():
        if constant in words:
            words = f"{words} {value}"
    return {profile for profile in PROFILES if f"'{profile}'" in words}


def test_every_scenario_is_in_the_table():
    assert list(TABLE) == [f"F{number}" for number in range(1, 31)]
    assert all(each.clauses for each in TABLE.values())


@pytest.mark.parametrize("number", TABLE)
def test_every_clause_has_tests_that_exist_or_is_known_to_be_missing(number):
    for clause in TABLE[number].clauses:
        assert bool(clause.tests) != ((number, clause.words) in NOT_YET), f"{number}: {clause.words}"
        for test in clause.tests:
            function(test)


@pytest.mark.parametrize("number", [number for number, each in TABLE.items() if each.why])
def test_where_releases_differ_tests_are_put_to_them(number):
    scenario = TABLE[number]
    assert scenario.profiles, number
    for test, wanted in scenario.profiles.items():
        function(test)
        assert set(wanted) <= profiles_of(test), f"{number}: {test} is put to {sorted(profiles_of(test))}"
