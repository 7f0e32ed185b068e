"""What ``--watch`` shows: bars on a terminal, a line per change elsewhere."""

import io
import re
import sys

import pytest

from contrail_vsphere.cli.server_manager import watch as module
from contrail_vsphere.cli.server_manager.watch import watch
from contrail_vsphere.model.errors import NotConverged, Unreachable


class Screen(io.StringIO):
    """A terminal, or a file."""

    def __init__(self, *, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal

    def lines(self):
        return [line.strip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue()).splitlines()]


class Scripted:
    """Answers one document after the other; None: nobody answers."""

    def __init__(self, *documents):
        self._documents = list(documents)

    def news(self, _path, *, tag, wait):
        assert 0 < wait <= module.WAIT
        document = self._documents.pop(0) if len(self._documents) > 1 else self._documents[0]
        if document is None:
            raise Unreachable("nobody answers")
        return (None, tag) if document == tag else (document, document)


def document(state, **hosts):
    shown = {}
    for name, (host_state, controller, lb, message) in hosts.items():
        shown[name] = {"state": host_state, "roles": {"controller": controller, "lb": lb}, "message": message,
                       "task": "Container"}  # fmt: skip
    return {"id": "run-1", "state": state, "servers": ["s1", "s2"], "hosts": shown}


RUN = (
    document("queued"),
    document("running", s1=("running", "running", "pending", ""), s2=("running", "pending", "pending", "")),
    None,
    document(
        "running", s1=("running", "completed", "running", ""), s2=("failed", "failed", "pending", "disk [red]full")
    ),
    document(
        "failed", s1=("completed", "completed", "completed", ""), s2=("failed", "failed", "pending", "disk [red]full")
    ),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_gets_a_bar_per_server_with_what_is_done_and_what_failed(monkeypatch):
    screen = Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", screen)
    assert watch(Scripted(*RUN), "run-1", 10)["state"] == "failed"
    last = screen.lines()[-2:]
    assert re.fullmatch(r"s1 \S+ 2/2 completed.*", last[0]), last
    assert re.fullmatch(r"s2 \S+ .*0/2 failed: disk \[red\]full", last[1]), last


def test_a_file_gets_a_line_per_change(monkeypatch):
    screen = Screen(terminal=False)
    monkeypatch.setattr(sys, "stderr", screen)
    watch(Scripted(*RUN[:3], *RUN[2:]), "run-1", 10)
    assert screen.lines() == [
        "run-1 queued:", "run-1 running: s1 running 0/2, s2 running 0/2",
        "run-1 running: s1 running 1/2, s2 failed 0/2",
        "run-1 failed: s1 completed 2/2, s2 failed 0/2",
    ]  # fmt: skip


@pytest.mark.parametrize("last", [RUN[1], None])
def test_what_does_not_end_is_given_up_in_time(last):
    with pytest.raises(NotConverged, match="run-1"):
        watch(Scripted(last), "run-1", 0.05)
