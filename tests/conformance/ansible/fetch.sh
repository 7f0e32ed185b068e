#!/bin/sh
# Puts the collections community.vmware and vmware.vmware into directory $1, from the pinned `ansible` distribution on
# PyPI that bundles them; the dev environment's ansible-core runs them. The tests can do without: whatever goes wrong is
# written to $1/../why-no-collections, and they skip with it. Second argument: the Python whose pip is used.
VERSION=12.3.0
python=$(realpath -s "${2:-.venv/bin/python}")
into=$(mkdir -p "$1" && cd "$1" && pwd) || exit 0
why="$into/../why-no-collections"

if [ -f "$into/.ansible-$VERSION" ]; then
    exit 0
fi
wheels=$(mktemp -d) || exit 0
trap 'rm -rf "$wheels"' EXIT
if timeout 600 "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$wheels" "ansible==$VERSION" > "$wheels/log" 2>&1 &&
    "$python" - "$wheels" "$into" >> "$wheels/log" 2>&1 <<'EOF'
import pathlib, sys, zipfile

wheels, into = map(pathlib.Path, sys.argv[1:])
wanted = ("ansible_collections/community/vmware/", "ansible_collections/vmware/vmware/")
with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
    wheel.extractall(into, [name for name in wheel.namelist() if name.startswith(wanted)])
EOF
then
    touch "$into/.ansible-$VERSION"
    rm -f "$why"
    exit 0
fi
echo "the collections could not be fetched: $(tail -n 1 "$wheels/log")" > "$why"
echo "Ansible's conformance test will skip: $(cat "$why")" >&2
exit 0
