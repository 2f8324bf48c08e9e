#!/bin/sh
# Runs the client tests against the newest versions of the clients in the registries, and says what broke: by hand, or in
# a scheduled job. The pinned versions, which all other tests use, stay as they are.
set -eu
cd "$(dirname "$0")/.."
newest=$PWD/.tools/latest

scripts/tools.sh chain
scripts/models.sh
mkdir -p "$newest"
rm -rf "$newest/clients"
cp -R tests/clients "$newest/clients"
rm -rf "$newest/clients/node_modules" "$newest/clients/package-lock.json"
packages=$(node -p 'Object.keys(require("./tests/clients/package.json").dependencies).map((name) => `${name}@latest`).join(" ")')
# shellcheck disable=SC2086 # a list of packages
npm install --prefix "$newest/clients" --ignore-scripts --no-audit --no-fund --loglevel=error $packages
[ -x "$newest/python/bin/python" ] || python3 -m venv "$newest/python"
# The requirements without their versions. The older generation of the MCP SDK stays: pympp is made for it.
sed 's/^mcp==.*/mcp<2/; s/==.*//' tests/clients/requirements.txt >"$newest/requirements.txt"
"$newest/python/bin/pip" install --quiet --disable-pip-version-check --upgrade -r "$newest/requirements.txt"

echo "latest: the newest versions are"
node -p 'Object.keys(require("./tests/clients/package.json").dependencies)
    .map((name) => `  ${name} ${require(process.argv[1] + "/node_modules/" + name + "/package.json").version}`).join("\n")' \
    "$newest/clients"
"$newest/python/bin/pip" freeze | grep -i -e '^openai=' -e '^pympp=' -e '^schemathesis=' | sed 's/^/  /; s/==/ /'

export TEST_CLIENTS="$newest/clients" TEST_PYTHON="$newest/python"
if cargo test --no-fail-fast --test api --test sessions -- clients::; then
    echo "latest: every client works"
else
    echo "latest: see above which clients do not work with their newest versions" >&2
    exit 1
fi
