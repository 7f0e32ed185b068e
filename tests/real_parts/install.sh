#!/bin/sh
# Installs the packages of packages.txt, or those it is given, as root on Debian and its kin; starts no service of theirs.
# Tests that miss a part skip and say so, therefore nothing that goes wrong here ends the run.
cd "$(dirname "$0")" || exit 0
wanted=${*:-$(sed 's/#.*//' packages.txt | awk 'NF { print $1 }')}
missing=""
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "tests of real parts will skip: there is no apt-get to install$missing" >&2
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "tests of real parts will skip; to install them as root: apt-get install$missing" >&2
    exit 0
fi

echo "installing real parts for the tests (once):$missing" >&2
# Packages ask this file before they start a service; one that is there already has its owner's reasons and stays.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy" && made=yes
fi
trap '[ -z "$made" ] || rm -f "$policy"' EXIT
trap 'exit 1' INT TERM
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 - a list of words
install() { timeout 900 apt-get install -q -y --no-install-recommends $missing </dev/null >>"$log" 2>&1; }
if install || { timeout 300 apt-get update -q >>"$log" 2>&1 && install; }; then
    rm -f "$log"
else
    echo "tests of real parts will skip: apt-get failed, see $log" >&2
fi
exit 0
