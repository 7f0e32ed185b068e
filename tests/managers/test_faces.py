"""What two managers must have in common, and how the journal of one comes to where both read it."""

from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.app.standby import Face, hand_over, lacks, own_journal, take_over
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.model.errors import InvalidState, SettingsError

FIRST = Face(
    by="a", publish_url="https://m:8443", bootstrap_url="https://m:8444", authority="ca", extension="e", publish="p"
)
SECOND = replace(FIRST, by="b")


def now():
    return datetime.now(UTC)


@pytest.fixture
def shared(tmp_path):
    with Journal(tmp_path / "shared.sqlite", now=now) as journal:
        yield journal


@pytest.fixture
def data(tmp_path):
    return DataDirectory(tmp_path / "data", now=now)


async def test_a_managers_own_journal_comes_along_once(data, shared):
    with data.journal() as own:
        own.put("contrailvm-key", "dc1/domain-c8", {"paused": "x"})
    await hand_over(data, shared, face=FIRST, path="/j")
    assert shared.get("contrailvm-key", "dc1/domain-c8").value == {"paused": "x"}
    shared.delete("contrailvm-key", "dc1/domain-c8")
    await hand_over(data, shared, face=FIRST, path="/j")
    assert shared.get("contrailvm-key", "dc1/domain-c8") is None, "what was left behind is not taken for the present"
    async with AsyncExitStack() as stack:
        with pytest.raises(SettingsError, match="was moved to ZooKeeper"):
            own_journal(data, stack)
    with pytest.raises(InvalidState, match="in ZooKeeper"):
        data.users_of("digest")


async def test_what_a_second_manager_has_in_its_file_does_not_overwrite_the_first_ones(data, shared):
    take_over(shared, FIRST)
    with data.journal() as own:
        own.put("contrailvm-key", "dc1/domain-c8", {"paused": "stale"})
    await hand_over(data, shared, face=SECOND, path="/j")
    assert shared.get("contrailvm-key", "dc1/domain-c8") is None


@pytest.mark.parametrize("field", ["publish_url", "bootstrap_url", "authority"])
def test_one_that_would_deploy_everything_anew_does_not_take_over(shared, field):
    take_over(shared, FIRST)
    other = replace(SECOND, **{field: "https://other" if "url" in field else "other"})
    with pytest.raises(InvalidState, match="b is not made like a"):
        take_over(shared, other)
    assert lacks(shared, other, ())
    take_over(shared, replace(other, by="a"))
    assert not lacks(shared, other, ()), "a change of its own settings counts"


def test_what_a_standby_would_lack_is_said(shared):
    take_over(shared, FIRST)
    assert lacks(shared, SECOND, ()) == ()
    told = lacks(shared, replace(SECOND, extension="old", publish="old"), ())
    assert len(told) == 2 and all("copy identities" in each for each in told)
    take_over(shared, replace(SECOND, extension="old"))
