"""Packages: built the same every time, verified to the last byte, and every fault named."""

from __future__ import annotations

import contextlib
import datetime
import io
import random
import shutil
import tarfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contrail_vsphere.contrailvm.package import build, load_description, make_demo_package, verify
from contrail_vsphere.contrailvm.package.container import unsafe_name
from contrail_vsphere.contrailvm.package.vmdk import write_vmdk
from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.certificate import load_signer

TOML = """
name = "ContrailVM"
version = "21.4"
product = "Contrail vRouter VM"
vendor = "Example"
cpus = 4
memory_mb = 8192
memory_mb_reserved = 8192
cpu_mhz_reserved = 2000

[[disk]]
file = "root.raw"
capacity_mb = 40

[[nic]]
role = "management"
network = "Management"
[[nic]]
role = "fabric"
network = "Underlay"
[[nic]]
role = "control-data"
network = "Control & data"
[[nic]]
role = "overlay"
network = "Trunk"

[[property]]
key = "ntp"
default = "pool.example.com"

[[size]]
id = "small"
label = "Small"
cpus = 2
memory_mb = 4096
[[size]]
id = "large"
label = "Large"
cpus = 8
memory_mb = 16384
memory_mb_reserved = 16384
default = true
"""


@pytest.fixture(scope="session")
def signer():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "packager")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, start, start + datetime.timedelta(days=9999))
    return load_signer(
        key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        certificate_pem=builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
    )


@pytest.fixture
def source(tmp_path):
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "root.raw").write_bytes(random.Random(1).randbytes(300_000))
    (directory / "package.toml").write_text(TOML)
    return directory / "package.toml"


@pytest.fixture
def built(source, tmp_path):
    return build(source, tmp_path / "built")


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_package_says_what_its_description_says(built):
    assert (built.name, built.version, built.descriptor_name) == ("ContrailVM", "21.4", "contrailvm.ovf")
    assert [file.name for file in built.files] == ["contrailvm.ovf", "contrailvm.mf", "contrailvm-disk1.vmdk"]
    assert built.nic_roles == (
        ("management", "Management"),
        ("fabric", "Underlay"),
        ("control-data", "Control & data"),
        ("overlay", "Trunk"),
    )
    small, large = built.descriptor.hardware("small"), built.descriptor.hardware()
    assert (small.cpus, small.memory_mb, small.memory_mb_reserved) == (2, 4096, 0)
    assert (large.cpus, large.memory_mb, large.memory_mb_reserved) == (8, 16384, 16384)
    assert [nic.unit for nic in large.nics] == [7, 8, 9, 10]
    assert built.descriptor.disks[0].capacity == 40 << 20
    assert {known.id for known in built.descriptor.properties} >= {"manager_url", "bootstrap_token", "ntp"}


def test_the_same_input_gives_the_same_bytes(source, built, tmp_path):
    again = build(source, tmp_path / "again", ova=tmp_path / "one.ova")
    assert contents(built.directory) == contents(again.directory)
    assert built.digest == again.digest
    build(source, tmp_path / "again", ova=tmp_path / "one.ova")
    build(source, tmp_path / "third", ova=tmp_path / "two.ova")
    assert (tmp_path / "one.ova").read_bytes() == (tmp_path / "two.ova").read_bytes()


def test_an_ova_is_the_same_package(source, signer, tmp_path):
    exploded = build(source, tmp_path / "out", ova=tmp_path / "contrailvm.ova", signer=signer)
    packed = verify(tmp_path / "contrailvm.ova")
    assert packed.digest == exploded.digest
    assert packed.descriptor == exploded.descriptor
    assert packed.signer == exploded.signer == "CN=packager"
    for one, other in zip(packed.files, exploded.files, strict=True):
        with one.open() as left, other.open() as right:
            assert left.read() == right.read()
    with tarfile.open(tmp_path / "contrailvm.ova") as archive:
        assert archive.getnames() == ["contrailvm.ovf", "contrailvm.mf", "contrailvm.cert", "contrailvm-disk1.vmdk"]


def test_a_signature_does_not_change_the_digest(source, signer, built, tmp_path):
    assert build(source, tmp_path / "signed", signer=signer).digest == built.digest


def test_verify_takes_directory_and_descriptor(built):
    assert verify(built.directory) == verify(built.directory / "contrailvm.ovf") == built


def test_a_vmdk_is_taken_as_it_is(source, tmp_path):
    with (source.parent / "root.vmdk").open("wb") as target:
        write_vmdk(io.BytesIO(b"disk" * 999), target, name="root.vmdk")
    source.write_text(TOML.replace('"root.raw"\ncapacity_mb = 40', '"root.vmdk"'))
    package = build(source, tmp_path / "out")
    assert (package.directory / "contrailvm-disk1.vmdk").read_bytes() == (source.parent / "root.vmdk").read_bytes()
    source.write_text(TOML.replace("root.raw", "root.vmdk"))
    with pytest.raises(PackageError, match="capacity_mb is for raw images"):
        build(source, tmp_path / "other")


def test_packages_without_sizes_have_one_hardware(source, tmp_path):
    source.write_text(TOML.partition("[[size]]")[0])
    hardware = build(source, tmp_path / "out").descriptor.hardware()
    assert (hardware.cpus, hardware.memory_mb, hardware.cpu_mhz_reserved) == (4, 8192, 2000)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('role = "fabric"', 'role = "backup"', r"nic\[2\].role: Input should be"),
        ('role = "fabric"', 'role = "overlay"', "nic role 'overlay' is there twice"),
        ('role = "overlay"', 'role = "overlay"\nspeed = 10', r"nic\[4\].speed: is not a known key"),
        ("cpus = 4", 'cpus = "many"', "cpus: Input should be a valid integer"),
        ("cpus = 4", "cpus = 4 4", "is not TOML"),
        ('version = "21.4"', 'version = "21 4"', "version: String should match"),
        ('version = "21.4"', "", "version: Field required"),
        ('key = "ntp"', 'key = "agency_id"', "property 'agency_id' is there twice"),
        ("memory_mb_reserved = 8192", "memory_mb_reserved = 9000", "reserves 9000 MB of 8192 MB"),
        ('"root.raw"', '"none.raw"', "disk .*none.raw: No such file"),
        ("capacity_mb = 40", "capacity_mb = 0", r"disk\[1\].capacity_mb"),
        (
            'default = "pool.example.com"',
            'type = "uint8"\ndefault = "1000"',
            "its default '1000' must lie between 0 and 255",
        ),
        ('label = "Large"', 'label = "Large"\u0020# \u0007', "is not TOML"),
    ],
)
def test_mistakes_in_a_description_are_named_and_leave_nothing(source, tmp_path, old, new, complaint):
    assert old in TOML
    source.write_text(TOML.replace(old, new, 1))
    with pytest.raises(PackageError, match=complaint):
        build(source, tmp_path / "out", ova=tmp_path / "out.ova")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_other_disk_formats_are_named(source, tmp_path):
    (source.parent / "root.raw").write_bytes(b"QFI\xfb" + bytes(1000))
    with pytest.raises(PackageError, match="is qcow2, not raw"):
        build(source, tmp_path / "out")


def test_another_package_is_never_overwritten(source, built, tmp_path):
    before = contents(built.directory)
    source.write_text(TOML.replace("21.4", "21.5"))
    with pytest.raises(PackageError, match="holds another package"):
        build(source, built.directory, ova=tmp_path / "never.ova")
    assert not (tmp_path / "never.ova").exists()
    (tmp_path / "x.ova").write_bytes(b"precious")
    with pytest.raises(PackageError, match=r"x\.ova is there already"):
        build(source, tmp_path / "new", ova=tmp_path / "x.ova")
    assert not (tmp_path / "new").exists()
    assert contents(built.directory) == before
    assert (tmp_path / "x.ova").read_bytes() == b"precious"


def edit(package, old: bytes, new: bytes) -> list[str]:
    """Change the descriptor, manifest not corrected; what verification says."""
    path = package.directory / "contrailvm.ovf"
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return problems(package.directory)


def problems(path: Path) -> list[str]:
    with pytest.raises(PackageError) as caught:
        verify(path)
    assert all("\n" not in line for line in caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b'ovf:capacity="40"', b'ovf:capacity="41"', "disk 'disk1': capacity is 42991616 bytes in the"),
        (b'ovf:href="contrailvm-disk1.vmdk"', b'ovf:href="../../etc/passwd"', "href '../../etc/passwd' leads out of"),
        (b'ovf:href="contrailvm-disk1.vmdk"', b'ovf:href="/etc/passwd"', "href '/etc/passwd' is an absolute path"),
        (b'ovf:href="contrailvm-disk1.vmdk"', b'ovf:href="http://x/y"', "leads to another server"),
        (b'ovf:href="contrailvm-disk1.vmdk"', b'ovf:href="contrailvm.mf"', "href 'contrailvm.mf' is in use"),
        (b'ovf:href="contrailvm-disk1.vmdk"', b'ovf:href="lost.vmdk"', "file 'lost.vmdk' is missing"),
        (b' ovf:size="', b' ovf:compression="gzip" ovf:size="', "is compressed or in chunks"),
        (b' ovf:size="', b' ovf:size="9', "ovf:size says 9"),
        (b"streamOptimized", b"sparse", "is of format"),
        (b"vmx-13", b"vmx-07", "no hardware version of 'vmx-07' will do (use one of vmx-08 to vmx-21)"),
        (b"vmx-13", b"vmx-99", "no hardware version of 'vmx-99' will do"),
        (b"com.vmware.guestInfo", b"iso", "the guest is not given its OVF environment"),
        (b'ovf:key="agency_id"', b'ovf:key="agency"', "the property 'agency_id' is missing"),
        (b'ovf:key="agency_id" ovf:type="string" ovf:userConfigurable="true"', b'ovf:key="agency_id" ovf:type="string"',
         "the property 'agency_id' cannot be set"),
        (b'ovf:key="ntp" ovf:type="string"', b'ovf:key="ntp" ovf:type="string" ovf:qualifiers="MinLen(99)"', "default"),
        (b'ovf:key="ntp" ovf:type="string" ovf:userConfigurable="true" ovf:value="pool.example.com"',
         b'ovf:key="ntp" ovf:type="uint8" ovf:userConfigurable="true"', "property 'ntp' has no default that it takes"),
        (b"<NetworkSection>", b"<Networks>", "not well-formed XML"),
        (b"  </VirtualSystem>", b"<EulaSection><License>x</License></EulaSection></VirtualSystem>", "EulaSection"),
        (b"<Version>21.4<", b"<Version>../x<", "the product's version is '../x'"),
        (b"<rasd:ResourceSubType>VmxNet3<", b"<rasd:ResourceSubType>Token<", "is of kind 'Token' (use VmxNet3)"),
        (b"<rasd:ResourceType>10<", b"<rasd:ResourceType>1<", "there are 0 NICs (a ContrailVM has 2 to 4"),
        (b"<rasd:Parent>3<", b"<rasd:Parent>1<", "hangs on no controller"),
        (b'vmw:value="fabric"', b'vmw:value="overlay"', "the NIC role 'overlay' is not known or there twice"),
    ],
)  # fmt: skip
def test_faults_are_named(built, old, new, complaint):
    found = edit(built, old, new)
    assert any(complaint in line for line in found), found
    assert any("does not have the SHA256 of the manifest" in line for line in found)
    assert all(line.endswith(")") for line in found), found


def test_all_faults_come_at_once(built):
    found = edit(built, b"com.vmware.guestInfo", b"iso")
    (built.directory / "stray.txt").write_text("x")
    (built.directory / "link").symlink_to("/etc/passwd")
    disk = built.directory / "contrailvm-disk1.vmdk"
    disk.write_bytes(disk.read_bytes()[:-600])
    found = problems(built.directory)
    for expected in (
        "'stray.txt' belongs to nothing in the descriptor",
        "'link' is a symbolic link",
        "'contrailvm-disk1.vmdk' has ",
        "'contrailvm-disk1.vmdk' does not have the SHA256",
        "contrailvm-disk1.vmdk: ",
        "the guest is not given its OVF environment",
    ):
        assert any(expected in line for line in found), (expected, found)


def test_manifest_and_signature_are_held_to_the_files(source, signer, tmp_path):
    directory = build(source, tmp_path / "out", signer=signer).directory
    manifest = directory / "contrailvm.mf"
    whole = manifest.read_text()
    manifest.write_text(whole + "SHA256(ghost.iso)= " + "0" * 64 + "\n")
    found = problems(directory)
    assert any("the manifest names 'ghost.iso', which is missing" in line for line in found)
    assert any("contrailvm.cert: the signature does not match the manifest" in line for line in found)
    manifest.write_text(whole.splitlines(keepends=True)[0])
    assert any("'contrailvm-disk1.vmdk' is not in the manifest" in line for line in problems(directory))
    manifest.unlink()
    found = problems(directory)
    assert any("there is no manifest contrailvm.mf" in line for line in found)
    assert any("there is a signature contrailvm.cert and no manifest" in line for line in found)


def test_a_disk_that_is_a_link_is_not_followed(built, tmp_path):
    disk = built.directory / "contrailvm-disk1.vmdk"
    shutil.move(disk, tmp_path / "elsewhere.vmdk")
    disk.symlink_to(tmp_path / "elsewhere.vmdk")
    assert any("is a symbolic link" in line for line in problems(built.directory))


def ova_of(package, path: Path, extra=(), *, reverse=False, form=tarfile.USTAR_FORMAT) -> Path:
    members = [(tarfile.TarInfo(file.name), file.container.read_bytes()) for file in package.files]
    with tarfile.open(path, "w", format=form) as archive:
        for info, data in [*(reversed(members) if reverse else members), *extra]:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, **more) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info, b""


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        (member("../../etc/cron.d/x"), "'../../etc/cron.d/x' in the OVA leads out of the package"),
        (member("/etc/passwd"), "'/etc/passwd' in the OVA is an absolute path"),
        (member("sub/x"), "'sub/x' in the OVA lies in a directory"),
        (member("x", tarfile.SYMTYPE, linkname="/etc/passwd"), "'x' in the OVA is a symbolic link"),
        (member("x", tarfile.LNKTYPE, linkname="contrailvm.ovf"), "'x' in the OVA is a hard link"),
        (member("x", tarfile.CHRTYPE), "'x' in the OVA is a character device"),
        (member("x", tarfile.FIFOTYPE), "'x' in the OVA is a pipe"),
        (member("x", tarfile.DIRTYPE), "in the OVA is a directory"),
        (member("contrailvm.ovf"), "'contrailvm.ovf' is in the OVA twice"),
        (member("stray"), "'stray' belongs to nothing in the descriptor"),
        (member("second.ovf"), "there are 2 .ovf files"),
    ],
)
def test_what_no_ova_may_hold_is_named(built, tmp_path, extra, complaint):
    found = problems(ova_of(built, tmp_path / "x.ova", [extra]))
    assert any(complaint in line for line in found), found


def test_order_and_dialect_of_an_ova_are_checked(built, tmp_path):
    found = problems(ova_of(built, tmp_path / "x.ova", reverse=True))
    assert any("begins with 'contrailvm-disk1.vmdk'" in line for line in found)
    assert any("out of order" in line for line in found)
    long = member("x" * 150)
    found = problems(ova_of(built, tmp_path / "y.ova", [long], form=tarfile.GNU_FORMAT))
    assert any("is a GNU long name" in line for line in found)


@pytest.mark.parametrize("keep", [0, 100, 600, 9000, -11_000])
def test_a_cut_off_ova_is_named(built, tmp_path, keep):
    path = ova_of(built, tmp_path / "x.ova")
    path.write_bytes(path.read_bytes()[:keep])
    problems(path)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_mutated_ovas_raise_nothing_but_package_errors(mutable, seed):
    data, path = mutable
    rng = random.Random(seed)
    bad = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.choice([rng.randrange(512), rng.randrange(len(bad)), rng.randrange(9000)])
        bad[at : at + 1] = rng.choice([b"", b"\0", b"7", b"\xff", rng.randbytes(3)])
    path.write_bytes(bad)
    with contextlib.suppress(PackageError):
        verify(path)


@pytest.fixture
def mutable(built, tmp_path):
    path = ova_of(built, tmp_path / "x.ova")
    return path.read_bytes(), path


@pytest.mark.parametrize("path", ["none", "none.ovf", "none.ova", "/dev/null"])
def test_what_is_no_package_is_named(tmp_path, path):
    with pytest.raises(PackageError):
        verify(tmp_path / path)
    with pytest.raises(PackageError, match=r"there are 0 \.ovf files"):
        verify(tmp_path)


@given(st.text(max_size=20))
def test_safe_names_are_names_of_files_in_the_directory(name):
    if not unsafe_name(name):
        assert Path("/base", name).parent == Path("/base")
        assert Path("/base", name).name == name


def test_demo_packages_differ_by_version(tmp_path):
    one, two = (make_demo_package(tmp_path / version, version=version) for version in ("1.0.0", "1.0.1"))
    assert one.digest != two.digest
    assert one.nic_roles == (("management", "management"), ("overlay", "overlay"))
    assert one.descriptor.default_option == "medium"


def test_descriptions_load_with_disks_beside_them(source):
    assert load_description(source).disks[0].file == source.parent / "root.raw"
