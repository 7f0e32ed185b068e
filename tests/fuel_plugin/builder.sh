#!/bin/sh
# Puts fuel-plugin-builder 4.2 into a virtual environment of its own, directory $1: what it pins does not build on
# Python 3.11 and would not live with what we need. Second argument: the Python. Tests that miss it skip and say so.
into=$1 python=${2:-python3}
[ -f "$into/.complete" ] && exit 0
log=$(mktemp)
if "$python" -m venv "$into" >"$log" 2>&1 &&
    timeout 300 "$into/bin/pip" install --quiet --disable-pip-version-check --no-deps fuel-plugin-builder==4.2.0 \
        six==1.17.0 Mako==1.4.3 MarkupSafe==3.0.4 PyYAML==6.0.3 jsonschema==3.2.0 attrs==26.1.0 pyrsistent==0.20.0 \
        'setuptools<66' >>"$log" 2>&1
then
    touch "$into/.complete"
    rm -f "$log"
else
    echo "tests of the Fuel plugin's builder will skip: see $log" >&2
fi
exit 0
