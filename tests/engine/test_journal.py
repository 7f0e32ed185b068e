"""The journal: what it acknowledged is there after kill -9, transactions are whole, bad files are told apart."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrail_vsphere.engine import journal as journal_module
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.model.errors import Busy, Conflict, JournalError


def now():
    return datetime(2026, 1, 1, tzinfo=UTC)


def opened(tmp_path, **options):
    return Journal(tmp_path / "journal.db", now=now, **options)


def test_records_come_back_with_their_versions(tmp_path):
    with opened(tmp_path) as journal:
        assert journal.put("agency", "b", {"n": 1}) == 1
        assert journal.put("agency", "b", {"n": [2, {"x": None}]}) == 2
        journal.put("agency", "a", {})
        journal.put("host", "a", {"other": "kind"})
    with opened(tmp_path) as journal:
        record = journal.get("agency", "b")
        assert (record.version, record.value, record.written) == (2, {"n": [2, {"x": None}]}, now())
        assert [each.key for each in journal.items("agency")] == ["a", "b"]
        assert tuple(journal.each("agency")) == journal.items("agency")
        assert journal.get("agency", "c") is None
        assert journal.delete("agency", "b")
        assert not journal.delete("agency", "b")


def test_a_write_that_expects_another_version_conflicts(tmp_path):
    with opened(tmp_path) as journal:
        assert journal.put("k", "a", {}, expect=0) == 1
        for attempt in (lambda: journal.put("k", "a", {}, expect=0), lambda: journal.delete("k", "a", expect=7)):
            with pytest.raises(Conflict, match="has version 1"):
                attempt()
        assert journal.delete("k", "a", expect=1)


def test_a_transaction_is_whole_or_nothing(tmp_path):
    with opened(tmp_path) as journal:
        journal.put("k", "a", {"n": 1})
        with pytest.raises(OSError, match="outside"), journal.transaction():
            journal.put("k", "a", {"n": 2})
            journal.put_many("k", {"b": {}, "c": {}})
            raise OSError("outside trouble keeps its type")
        assert [(each.key, each.value) for each in journal.items("k")] == [("a", {"n": 1})]
        with journal.transaction():
            journal.delete("k", "a")
            journal.put("k", "b", {})
    with opened(tmp_path) as journal:
        assert [each.key for each in journal.items("k")] == ["b"]


@pytest.mark.parametrize("value", [{"x": float("nan")}, {"x": object()}])
def test_what_is_not_json_is_refused_before_anything_is_written(tmp_path, value):
    with opened(tmp_path) as journal:
        with pytest.raises((TypeError, ValueError)):
            journal.put("k", "a", value)
        assert journal.items("k") == ()


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), TEXT
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner),
    max_leaves=8,
)
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "rollback", "reopen"]), st.sampled_from("abc"), JSON), max_size=20
)


@given(OPERATIONS)
@settings(max_examples=30, deadline=None)
def test_it_behaves_like_a_dictionary_that_survives(tmp_path_factory, operations):
    directory = tmp_path_factory.mktemp("journal")
    model, journal = {}, opened(directory)
    for what, key, value in operations:
        match what:
            case "put":
                journal.put("k", key, {"v": value})
                model[key] = {"v": value}
            case "delete":
                assert journal.delete("k", key) is (model.pop(key, None) is not None)
            case "rollback":
                with pytest.raises(KeyError), journal.transaction():
                    journal.put("k", key, {"v": "never"})
                    raise KeyError
            case "reopen":
                journal.close()
                journal = opened(directory)
        assert {each.key: each.value for each in journal.items("k")} == model
    journal.close()


def test_its_files_are_the_owners_alone(tmp_path):
    (tmp_path / "journal.db").touch(mode=0o644)
    with opened(tmp_path) as journal:
        journal.put("k", "a", {})
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3


def test_an_exclusive_journal_has_one_owner(tmp_path):
    with opened(tmp_path, exclusive=True), pytest.raises(Busy, match="in use by another process"):
        opened(tmp_path)
    opened(tmp_path).close()


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "journal.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(JournalError, match=r"damaged.*restore a backup"):
        opened(tmp_path)


def test_a_damaged_file(tmp_path):
    with opened(tmp_path) as journal:
        journal.put_many("k", {f"key-{number}": {"text": "x" * 200} for number in range(500)})
    path = tmp_path / "journal.db"
    content = bytearray(path.read_bytes())
    content[8192:20000] = os.urandom(20000 - 8192)
    path.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"):
        opened(tmp_path)


def test_somebody_elses_database(tmp_path):
    with sqlite3.connect(tmp_path / "journal.db") as other:
        other.execute("CREATE TABLE things (x)")
    other.close()
    with pytest.raises(JournalError, match="not a journal of ours"):
        opened(tmp_path)


def test_a_newer_schema_is_left_alone_and_an_older_one_is_brought_up(tmp_path, monkeypatch):
    with opened(tmp_path) as journal:
        journal.put("k", "a", {"kept": True})
    more = (*journal_module.MIGRATIONS, "ALTER TABLE records ADD COLUMN note TEXT NOT NULL DEFAULT 'new'")
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "MIGRATIONS", more)
        with opened(tmp_path) as journal:
            assert journal.get("k", "a").value == {"kept": True}
    with pytest.raises(JournalError, match=r"has schema 2, this version knows 1.*newer version"):
        opened(tmp_path)


def test_a_directory_that_does_not_exist(tmp_path):
    with pytest.raises(JournalError, match="No such file or directory"):
        Journal(tmp_path / "absent" / "journal.db", now=now)


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from contrail_vsphere.engine.journal import Journal
journal = Journal(Path(sys.argv[1]), now=lambda: datetime.now(UTC))
number = int(sys.argv[2])
while True:
    number += 1
    with journal.transaction():
        journal.put("intent", "left", {"n": number})
        journal.put("intent", "right", {"n": number})
    print(number, flush=True)
"""


@pytest.mark.process
def test_what_was_acknowledged_survives_kill_9_and_pairs_stay_pairs(tmp_path):
    path, acknowledged = tmp_path / "journal.db", 0
    for lines in (3, 17, 40, 1):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(acknowledged)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(lines):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split("\n")
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1])])
        child.wait(10)
        child.stdout.close()
        with opened(tmp_path) as journal:
            left, right = journal.get("intent", "left"), journal.get("intent", "right")
        assert left.value == right.value
        # The write under way when the signal came may have been finished but not acknowledged.
        assert left.value["n"] in (acknowledged, acknowledged + 1)
        acknowledged = left.value["n"]
