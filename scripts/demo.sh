#!/bin/sh
# Starts `farebox dev` with a chain of its own, runs the example agent through every flow, prints the ledger and stops
# everything, also when something fails or on Ctrl-C. Needs nothing running and leaves nothing behind. What is missing is
# built, and fetched while the compiler runs.
#
# The debug build: its dependencies are optimised already, it shares them with the tests, and it compiles in a fraction
# of the time of a release build, which is most of the time to the first result.
set -eu
cd "$(dirname "$0")/.."

START_LIMIT=60
data=$(mktemp -d)
server= fetching=

finish() {
    status=$?
    trap - EXIT INT TERM
    for process in $server $fetching; do
        kill "$process" 2>/dev/null || :
        wait "$process" 2>/dev/null || :
    done
    if [ "$status" -ne 0 ] && [ "$status" -lt 128 ] && [ -s "$data/server.log" ]; then
        echo "demo: failed; the server's last lines:" >&2
        tail -n 20 "$data/server.log" >&2
    fi
    rm -rf "$data"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Whether a GET of $1 succeeds. A machine has curl, or Node.js, which brought the chain.
answers() {
    if command -v curl >/dev/null 2>&1; then
        curl --silent --fail --max-time 2 --output /dev/null "$1"
    else
        node -e 'fetch(process.argv[1]).then((a) => process.exit(a.ok ? 0 : 1), () => process.exit(1))' "$1"
    fi
}

url() {
    sed -n 's/.*"url" *: *"\([^"]*\)".*/\1/p' "$data/dev.json" 2>/dev/null | head -n 1
}

ready() {
    [ -n "$(url)" ] && answers "$(url)/readyz"
}

# The crates of a build, near enough to say how far it is.
crates() {
    cargo tree --prefix none --edges normal,build,dev 2>/dev/null | sed 's/ (.*//' | sort -u | wc -l
}

# Both in one build, and run as they are: `cargo run` of the server alone would leave the example's features out, and
# so compile much of it a second time. On a terminal cargo shows how far it is; elsewhere every fortieth crate is
# named, and whatever is not about a crate.
build() {
    if [ -t 2 ]; then
        cargo build --bin farebox --example agent
        return
    fi
    { cargo build --color never --bin farebox --example agent 2>&1 || echo "build failed"; } | awk -v all="$(crates)" '
        /^ *(Compiling|Downloaded) / {
            if ($1 == "Compiling" && ++built % 40 == 1) {
                print "demo: building " $2 ", " built " of about " all " crates"
                fflush()
            }
            next
        }
        $0 == "build failed" { failed = 1; next }
        /[^ ]/ { print; fflush() }
        END { exit failed }' >&2
}

scripts/tools.sh needs
echo "demo: building the server and an agent; the first time takes some minutes, and fetches the chain and models meanwhile"
began=$(date +%s)
{ scripts/tools.sh chain && scripts/models.sh; } &
fetching=$!
build
wait "$fetching"
fetching=
echo "demo: ready after $(($(date +%s) - began)) s"
built=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
"$built/farebox" dev --listen 127.0.0.1:0 --data "$data" >"$data/server.log" 2>&1 &
server=$!

waited=0
until ready; do
    kill -0 "$server" 2>/dev/null || { echo "demo: the server ended" >&2; exit 1; }
    [ "$waited" -lt $((START_LIMIT * 5)) ] || { echo "demo: not ready after $START_LIMIT s" >&2; exit 1; }
    waited=$((waited + 1))
    sleep 0.2
done

echo "farebox runs at $(url)"
"$built/examples/agent" "$data/dev.json"
echo
echo "The ledger:"
"$built/farebox" audit --data "$data"
