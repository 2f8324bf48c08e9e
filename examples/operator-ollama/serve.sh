#!/bin/sh
# Serves farebox.toml on the local chain of `farebox dev`.
#
#   ./serve.sh [dev.env]
set -eu
. "${1:-../../.farebox/dev.env}" # MPPX_RPC_URL
export FAREBOX_CHAIN_RPC_URL="$MPPX_RPC_URL" FAREBOX_CHAIN_CHAIN_ID=1337
# The second account of every local chain. For real: your account, your Tempo node, no chain id; and the key of an account
# with something for network fees, which settles the channels, kept where only the server reads it.
export FAREBOX_PAYMENTS_RECIPIENT=0x70997970C51812dc3A010C7d01b50e0d17dc79C8
export FAREBOX_SESSIONS_OPERATOR_KEY=0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d
# Keep one: challenges and sold keys hang on it.
FAREBOX_PAYMENTS_SECRET=$(openssl rand -base64 32)
export FAREBOX_PAYMENTS_SECRET

cargo run -- doctor --config farebox.toml
exec cargo run -- serve --config farebox.toml
