"""F11: the package cannot be fetched, or not as it should be. EAM is not asked before; what waits is deployed after."""

import socket
from datetime import UTC, datetime

import pytest
from stand import KEY

from contrail_vsphere.pki.ca import CertificateAuthority

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize(
    ("trouble", "profile"),
    [
        *((each, "vc80u3") for each in ("down", "404", "truncated", "wrong size", "slow", "expired")),
        ("expired", "vc70"),
    ],
)
async def test_f11_nothing_is_created_before_the_package_can_be_fetched(scene, trouble, profile):
    async with scene(hosts=2, deploy=False, profile=profile) as lab:
        mend = await break_publishing(lab, trouble)
        lab.apply()
        await lab.pass_time(180)
        assert not ours(lab) and lab.vcenter.calls["CreateAgency"] == 0, "stopped by our own probe"
        assert "cannot be fetched" in lab.alarms()
        await mend()
        await lab.heals()


@pytest.mark.parametrize("trouble", ["down", "404", "truncated", "wrong size", "slow"])
async def test_f11_a_redeployment_waits_and_others_are_not_disturbed(scene, trouble):
    async with scene(hosts=3) as lab:
        others = {vm: vm.boot_time for vm in lab.contrailvms() if vm is not lab.on("esx-01")}
        mend = await break_publishing(lab, trouble)
        await lab.scenario.delete_vm(lab.on("esx-01"))
        await lab.until(
            lambda: "CannotAccessAgentOVF" in {each.type for each in lab.agent("esx-01").issues}, seconds=400
        )
        await lab.until(lambda: "CannotAccessAgentOVF" in lab.alarms("esx-01"), seconds=60)
        asked = lab.resolves()
        await lab.pass_time(1200)
        assert lab.resolves() - asked <= 2, "EAM is not asked again and again for what cannot work"
        assert lab.told("esx-01").state != "held"
        await mend()
        took = await lab.heals(seconds=1500)
        assert took < 900
        assert others == {vm: vm.boot_time for vm in others}


def ours(lab):
    """Agencies of the manager; vCenter 7 has some of its own."""
    return [agency for agency in lab.agencies() if agency.solution_id == KEY]


async def break_publishing(lab, trouble):
    """Do it; returns the coroutine function that mends it."""
    if trouble == "down":
        await lab.publisher.stop()
        return lab.restart_publisher
    package = next(iter(lab.publisher.store.packages.values()))
    if trouble == "expired":
        return await _expired(lab)
    directory = package.directory
    disk = max(directory.iterdir(), key=lambda each: each.stat().st_size)
    if trouble == "404":
        moved = disk.with_name("moved-away")
        disk.rename(moved)

        async def mend():
            moved.rename(disk)

        return mend
    content = disk.read_bytes()
    mode = disk.stat().st_mode
    disk.chmod(0o644)
    if trouble in ("truncated", "wrong size"):
        disk.write_bytes(content[:-1000] if trouble == "truncated" else content + b"\0" * 512)

        async def mend():
            disk.write_bytes(content)
            disk.chmod(mode)

        return mend
    return await _slow(lab)


async def _slow(lab):
    """Somebody else sits on the address, accepts connections and never answers."""
    await lab.publisher.stop()
    deaf = socket.create_server((lab.published_at.host, lab.published_at.port))
    deaf.setblocking(False)

    async def mend():
        deaf.close()
        await lab.restart_publisher()

    return mend


async def _serve_with(lab, identity):
    await lab.publisher.stop()
    lab.publisher._identity = identity
    await lab.restart_publisher()


async def _expired(lab):
    """The certificate ran out years ago."""
    sound = lab.publisher._identity
    long_ago = CertificateAuthority.load(lab.directory / "ca", now=lambda: datetime(2020, 1, 1, tzinfo=UTC))
    await _serve_with(lab, lab._identity("expired", long_ago.issue_server(["127.0.0.1"])))

    async def mend():
        await _serve_with(lab, sound)

    return mend


async def test_f11_a_certificate_that_eam_does_not_know_is_given_to_it(scene):
    async with scene(hosts=3) as lab:
        other = CertificateAuthority.load_or_create(lab.directory / "other-ca", name="other", now=lab.now)
        await _serve_with(lab, lab._identity("other", other.issue_server(["127.0.0.1"])))
        await lab.scenario.delete_vm(lab.on("esx-01"))
        await lab.heals(seconds=1200)
        pinned = lab.agencies()[0].config.agentConfig[0].ovfSslTrust
        assert "".join(pinned.sslCertificate.split()) == "".join(lab.publisher.certificate_pem.split())
