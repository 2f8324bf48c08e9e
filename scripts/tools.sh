#!/bin/sh
# Installs what the project needs beside Rust into the ignored folders .tools/ and tests/clients/node_modules/.
#
#   scripts/tools.sh needs      looks for what has to be there before the chain and the models, and fetches nothing
#   scripts/tools.sh chain      the local chain (anvil)
#   scripts/tools.sh contracts  the Solidity compiler and test runner (solc, forge)
#   scripts/tools.sh clients    the JavaScript and Python clients that the tests pay with
#   scripts/tools.sh browser    says how to install Chromium, which needs root, where it is missing
#   scripts/tools.sh litellm    the proxy that the benchmarks compare with; only when it is asked for
#   scripts/tools.sh pii-peers  what else finds personal data and reads images, for the same
#
# Each part is skipped when it is there already. Versions are pinned here and in tests/clients/.
set -eu
cd "$(dirname "$0")/.."

FOUNDRY=1.7.1
SOLC=0.8.30
LITELLM=1.83.0
NODE22=22.23.3
tools=.tools
bin=$tools/bin

fail() {
    echo "make tools: $1" >&2
    exit 1
}

need_node() {
    command -v npm >/dev/null 2>&1 || fail "npm is missing: install Node.js 20 or newer"
    major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null) || fail "node is missing: install Node.js 20 or newer"
    [ "$major" -ge 20 ] || fail "Node.js $major is too old: install Node.js 20 or newer"
}

# Some clients of others need a newer Node.js than we do: the inspector and the conformance suite of MCP. Where there is
# none, npm has one, for the common machines.
node22() {
    "$bin/node22" --version >/dev/null 2>&1 && return
    mkdir -p "$bin"
    if node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 19) ? 0 : 1)'; then
        ln -sf "$(command -v node)" "$bin/node22"
        return
    fi
    machine=$(node -p 'process.platform + "-" + process.arch')
    case $machine in
    linux-*) package="node-$machine" ;;
    *) package="node-bin-$machine" ;;
    esac
    npm install --prefix "$tools/node22" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
        --loglevel=error "$package@$NODE22" || fail "npm has no Node.js $NODE22 for this machine: install Node.js 22.19 or newer"
    ln -sf "../node22/node_modules/$package/bin/node" "$bin/node22"
}

need_python() {
    command -v python3 >/dev/null 2>&1 || fail "python3 is missing: install Python 3.11 or newer"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 is too old: install Python 3.11 or newer"
}

needs() {
    [ -n "${FAREBOX_ANVIL:-$(command -v anvil || :)}" ] || is_version "$bin/anvil" "$FOUNDRY" || need_node
    [ -d "${FAREBOX_MODELS:-models}" ] || need_python
}

npm_install() {
    npm install --prefix "$tools" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error \
        "@foundry-rs/anvil@$FOUNDRY" "@foundry-rs/forge@$FOUNDRY" "solc@$SOLC"
}

# The npm package of a Foundry program brings a launcher and, as an optional dependency, the program itself.
# Link the program: a launcher in between would not pass on our signals.
link() {
    program=$(find "$tools/node_modules/@foundry-rs" -path "*/$1-*/bin/$1" -type f 2>/dev/null | head -n 1)
    [ -n "$program" ] || return 1
    mkdir -p "$bin"
    ln -sf "../${program#"$tools"/}" "$bin/$1"
}

is_version() {
    "$1" --version 2>/dev/null | grep -qF "$2"
}

foundry() {
    is_version "$bin/$1" "$FOUNDRY" && return
    need_node
    [ -d "$tools/node_modules/@foundry-rs/$1" ] || npm_install
    link "$1" || fail "npm has no $1 for this platform: install Foundry $FOUNDRY so that $1 is on the PATH"
    is_version "$bin/$1" "$FOUNDRY" || fail "$bin/$1 does not run here: install Foundry $FOUNDRY so that $1 is on the PATH"
}

# An anvil of the user's own is used as it is, if it knows the chain.
chain() {
    own=${FAREBOX_ANVIL:-$(command -v anvil || :)}
    if [ -z "$own" ]; then
        foundry anvil
    elif ! "$own" --help 2>/dev/null | grep -qw tempo; then
        fail "$own does not know --network tempo: update Foundry to $FOUNDRY, or take it off the PATH"
    fi
}

contracts() {
    foundry forge
    [ -d "$tools/node_modules/solc" ] || npm_install
}

# Reinstalls when the stamp is missing or older than the file that pins the versions.
fresh() {
    [ -f "$1" ] && [ -z "$(find "$2" -newer "$1")" ]
}

clients() {
    if ! fresh "$tools/clients.stamp" tests/clients/package-lock.json || [ ! -d tests/clients/node_modules ]; then
        need_node
        npm ci --prefix tests/clients --ignore-scripts --loglevel=error
        touch "$tools/clients.stamp"
    fi
    node22
    if ! fresh "$tools/python.stamp" tests/clients/requirements.txt || [ ! -x "$tools/python/bin/python" ]; then
        need_python
        python3 -m venv "$tools/python" || fail "python3 cannot make a virtual environment: install its venv module (python3-venv)"
        "$tools/python/bin/pip" install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
        touch "$tools/python.stamp"
    fi
    # The newer generation of the MCP SDK has the name of the older, and needs nothing else but what that brought.
    if ! fresh "$tools/python-mcp2.stamp" tests/clients/requirements-mcp2.txt || [ ! -d "$tools/python-mcp2" ]; then
        "$tools/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --upgrade \
            --target "$tools/python-mcp2" -r tests/clients/requirements-mcp2.txt
        touch "$tools/python-mcp2.stamp"
    fi
}

# One test drives a real browser, and is skipped without. A browser of the system needs its libraries, so
# there is none to put into an ignored folder.
browser() {
    [ -n "${CHROMIUM:-}" ] && return
    for program in chromium chromium-browser google-chrome; do
        command -v "$program" >/dev/null 2>&1 && return
    done
    echo "make tools: no Chromium, so the browser test is skipped: apt-get install chromium, or set CHROMIUM to one" >&2
}

# The proxy that the benchmarks compare with.
litellm() {
    if [ ! -x "$tools/litellm/bin/litellm" ]; then
        python3 -m venv "$tools/litellm"
        "$tools/litellm/bin/pip" install --quiet --disable-pip-version-check "litellm[proxy]==$LITELLM"
    fi
}

# What the benchmarks of personal data compare with.
pii_peers() {
    pins=benches/payments/pii/requirements.txt
    if ! fresh "$tools/pii-peers.stamp" "$pins"; then
        python3 -m venv "$tools/pii-peers"
        "$tools/pii-peers/bin/pip" install --quiet --disable-pip-version-check -r "$pins"
        touch "$tools/pii-peers.stamp"
    fi
}

mkdir -p "$tools"
[ $# -gt 0 ] || set -- chain contracts clients browser
for part in "$@"; do
    case $part in
    needs | chain | contracts | clients | browser | litellm) "$part" ;;
    pii-peers) pii_peers ;;
    *) fail "unknown part $part: needs, chain, contracts, clients, browser, litellm or pii-peers" ;;
    esac
done
