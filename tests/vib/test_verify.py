"""What a bundle may be made of, and what is refused with the reason."""

import pytest
import vendor
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.contrailvm.package.bundle import downgrades, verify_bundle
from contrail_vsphere.contrailvm.publish.bundles import BundleStore
from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.vib.archive import read_vib


def put(tmp_path, data, name="b.zip"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_a_sound_bundle_is_told_with_what_its_deployer_must_know(tmp_path):
    found = verify_bundle(put(tmp_path, vendor.whole(maintenance=True, live=False)))
    assert (found.name, found.version, found.vibs[0].vendor) == ("contrail-tool", "1.0-1", "Acme")
    said = " ".join(found.warnings)
    assert "community" in said and "maintenance mode" in said and "reboot" in said
    assert verify_bundle(put(tmp_path, vendor.whole(level="partner"))).warnings == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PK no", "not a zip"),
        (vendor.bundle(vendor.vib(), leave_out=("index.xml",)), "index.xml is missing"),
        (vendor.bundle(vendor.vib(), leave_out=("metadata.zip",)), "metadata.zip is missing"),
        (vendor.bundle(vendor.vib(stated=b"other!!")), "another checksum"),
        (vendor.bundle(vendor.vib(stated=b"longer than that")), "descriptor says 16"),
        (vendor.bundle(vendor.vib(stray=True)), "not in its descriptor"),
        (vendor.bundle(b"not an archive"), "no ar archive"),
        (vendor.bundle(vendor.vib()[:-4]), "cut off"),
        (vendor.bundle(vendor.vib(version="2.0-1")), "not in the metadata"),
        (vendor.bundle(vendor.vib(level="partner"), fields=({"level": "partner"},)), "not signed"),
        (vendor.bundle(vendor.vib(), metadata_level="certified"), "the VIB community"),
        (vendor.bundle(fields=()), "has no VIB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bundle_that_does_not_hold_together_is_refused(tmp_path, data, reason):
    with pytest.raises(PackageError) as refused:
        verify_bundle(put(tmp_path, data))
    assert any(reason in problem for problem in refused.value.problems)


def test_older_vibs_are_seen_by_number_not_by_text(tmp_path):
    old = verify_bundle(put(tmp_path, vendor.whole(version="1.9-1"), "old.zip"))
    new = verify_bundle(put(tmp_path, vendor.whole(version="1.10-1"), "new.zip"))
    assert downgrades(old, new) == () and downgrades(new, old) == ("contrail-tool 1.9-1 is older than 1.10-1",)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_rubbish_brings_the_reader_down(data, at):
    sound = vendor.vib()
    for each in (data, b"!<arch>\n" + data, sound[:at] + data + sound[at + len(data) :]):
        try:
            read_vib(each, "x.vib")
        except PackageError:
            continue


def test_what_changed_on_the_shelf_is_not_served(tmp_path):
    store = BundleStore(tmp_path / "shelf")
    bundle = store.add(verify_bundle(put(tmp_path, vendor.whole())))
    assert store.find("contrail-tool 1.0-1") == bundle == store.find(bundle.digest[:12])
    (tmp_path / "shelf" / f"{bundle.digest}.zip").write_bytes(vendor.whole(version="3.0-1"))
    store.load()
    assert store.bundles == {} and "not what its name says" in str(store.damaged)
