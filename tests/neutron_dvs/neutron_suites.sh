#!/bin/sh
# Puts what Neutron's own tests import beyond our environment into directory $1. Second argument: the Python whose pip is
# used. The long form that runs those tests skips without it and says so.
into=$1 python=${2:-python3}
[ -f "$into/.complete" ] && exit 0
log=$(mktemp)
if timeout 300 "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$into" testtools==2.7.2 \
        oslotest==6.1.1 WebTest==3.0.7 ddt==1.7.2 python-subunit==1.4.6 beautifulsoup4 soupsieve waitress >"$log" 2>&1
then
    touch "$into/.complete"
    rm -f "$log"
else
    echo "Neutron's own tests will skip: see $log" >&2
fi
exit 0
