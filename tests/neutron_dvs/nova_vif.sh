#!/bin/sh
# Puts nova's own VIF code for vCenter, and what it imports beyond our environment, into directory $1. Second argument:
# the Python whose pip is used. The test of the contract skips without it and says so.
into=$1 python=${2:-python3}
[ -f "$into/.complete" ] && exit 0
log=$(mktemp)
if timeout 300 "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$into" nova==34.0.0 \
        oslo.vmware==4.10.1 suds-community cursive castellan python-barbicanclient python-glanceclient warlock retrying \
        python-neutronclient os-brick oslo.limit python-cinderclient >"$log" 2>&1
then
    touch "$into/.complete"
    rm -f "$log"
else
    echo "the test of nova's contract will skip: see $log" >&2
fi
exit 0
