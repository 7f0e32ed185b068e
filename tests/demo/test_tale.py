"""What every story is told with: chapters, the time limit, work begun ahead, the directory that a failure leaves."""

from __future__ import annotations

import asyncio
import tempfile

import pytest

from contrail_vsphere.demo.screen import Screen
from contrail_vsphere.demo.tale import Tale, workshop
from contrail_vsphere.model.errors import ContrailVsphereError, NotConverged


@pytest.fixture
def screen():
    with Screen(live=True) as screen:
        yield screen


def test_chapters_are_told_when_they_begin_and_end(screen, capsys):
    tale = Tale(screen)
    with tale.step("one"):
        pass
    with pytest.raises(LookupError), tale.step("two"):
        raise LookupError
    assert [each["step"] for each in tale.steps] == ["one"]
    told = capsys.readouterr()
    # Not a terminal: no colour, no table, a line each.
    assert told.out == ""
    assert "\x1b" not in told.err
    assert [line[:5] for line in told.err.splitlines()] == ["… one", "✓ one", "… two", "✗ two"]


@pytest.mark.looptime
async def test_a_story_that_takes_too_long_says_what_it_waited_for(screen):
    tale = Tale(screen)

    async def story():
        with tale.step("the host is served"):
            tale.obstacle = "esx-00 is blocked"
            await asyncio.sleep(100)

    with pytest.raises(NotConverged, match="not within 5 s: the host is served; esx-00 is blocked"):
        await tale.in_time(story(), 5)


@pytest.mark.looptime
async def test_what_was_begun_ahead_ends_with_the_story(screen):
    ended = []

    async def work(seconds):
        try:
            await asyncio.sleep(seconds)
        finally:
            ended.append(seconds)
        return seconds

    async with Tale(screen) as tale:
        soon = tale.ahead(work(1))
        tale.ahead(work(1000))
        assert await soon == 1
    assert ended == [1, 1000]
    assert asyncio.get_running_loop().time() < 10


def test_a_failure_leaves_its_directory_and_nothing_else_does(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with workshop("a") as directory:
        assert directory.is_dir()
    with pytest.raises(KeyboardInterrupt), workshop("b"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ContrailVsphereError), workshop("c") as directory:
        raise ContrailVsphereError("no")
    assert list(tmp_path.iterdir()) == [directory]
    assert str(directory) in capsys.readouterr().err
