#!/bin/sh
# Builds govc and vcsim into directory $1, from the pinned modules of this directory. They are referees that the
# conformance tests can do without: whatever goes wrong is written to $1/../why-not, and the tests skip with it.
into=$(mkdir -p "$1" && cd "$1" && pwd) || exit 0
cd "$(dirname "$0")" || exit 0
why="$into/../why-not"

if [ -x "$into/govc" ] && [ -x "$into/vcsim" ] && [ -z "$(find . -newer "$into/vcsim" -name '*.*')" ]; then
    exit 0
fi
go=$(command -v go || echo /usr/local/go/bin/go)
if [ ! -x "$go" ]; then
    echo "Go is not installed" > "$why"
elif (umask 022 && timeout 900 "$go" build -trimpath -o "$into/" ./govc ./vcsim) > "$into/../build.log" 2>&1; then
    touch "$into/govc" "$into/vcsim"
    rm -f "$why"
    exit 0
else
    echo "Go could not build them: $(tail -n 1 "$into/../build.log")" > "$why"
fi
echo "conformance tests will skip: $(cat "$why")" >&2
exit 0
