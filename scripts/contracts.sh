#!/bin/sh
# The Solidity tool chain, offline.
#
#   scripts/contracts.sh test       run the contract tests on Tempo's own precompiles
#   scripts/contracts.sh check      compile, and compare with the committed artifacts
#   scripts/contracts.sh artifacts  compile, and write the artifacts to commit
#   scripts/contracts.sh format     check the format
#   scripts/contracts.sh fmt        format
set -eu
cd "$(dirname "$0")/../contracts"

forge=../.tools/bin/forge
[ -x "$forge" ] || { echo "contracts: forge is missing: run \`make tools\`" >&2; exit 1; }
command -v node >/dev/null 2>&1 || { echo "contracts: node is missing: install Node.js 20 or newer" >&2; exit 1; }

build() {
    "$forge" build --offline --use ./solc.js --quiet
}

case ${1:-} in
test) "$forge" test --offline --use ./solc.js --network tempo ;;
check) build && node ../scripts/artifacts.mjs check ;;
artifacts) build && node ../scripts/artifacts.mjs write ;;
format) "$forge" fmt --check ;;
fmt) "$forge" fmt ;;
*) sed -n '2,8s/^# \{0,1\}//p' "../scripts/contracts.sh" >&2; exit 1 ;;
esac
