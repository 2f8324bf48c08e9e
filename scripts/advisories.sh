#!/bin/sh
# Looks for known vulnerabilities in the dependencies, with cargo-deny or cargo-audit, whichever is installed. With
# cargo-deny licences, bans and sources are checked as well (deny.toml).
#
# When nothing could be checked it says so in red and fails, except
#
#   FAREBOX_ADVISORIES=skip      never fails for that: you know
#   CI=…                         when only the network for the advisory database is missing
#
# A release needs a run that checked: see RELEASING.md.
set -eu
cd "$(dirname "$0")/.."

red() {
    if [ -t 2 ] || [ -n "${CI:-}" ]; then
        printf '\033[1;31m%s\033[0m\n' "$1" >&2
    else
        printf '%s\n' "$1" >&2
    fi
}

not_checked() {
    red "advisories: NOT CHECKED: $1"
    [ "${FAREBOX_ADVISORIES:-}" != skip ] || exit 0
    red "advisories: $2, or set FAREBOX_ADVISORIES=skip"
    exit 1
}

no_database() {
    if [ -n "${CI:-}" ]; then
        red "advisories: NOT CHECKED: the advisory database cannot be fetched, and this is CI without a network"
        exit 0
    fi
    not_checked "the advisory database cannot be fetched" "connect to the network"
}

# Runs a check whose failure may only mean that there is no database.
check() {
    if report=$("$@" 2>&1); then
        echo "advisories: none"
        exit 0
    fi
    case $report in
    *"fetch advisory database"* | *"fetch advisory-db"*) no_database ;;
    esac
    printf '%s\n' "$report" >&2
    red "advisories: FOUND, see above"
    exit 1
}

if command -v cargo-deny >/dev/null 2>&1; then
    cargo deny --log-level error check --hide-inclusion-graph licenses bans sources
    check cargo deny --log-level error check --hide-inclusion-graph advisories
fi
if command -v cargo-audit >/dev/null 2>&1; then
    check cargo audit --quiet
fi
not_checked "neither cargo-deny nor cargo-audit is installed" "run \`cargo install --locked cargo-deny\`"
