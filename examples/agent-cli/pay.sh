#!/bin/sh
# Pays by charge and from a channel with mppx's command line.
#
#   ./pay.sh [dev.env]
set -eu
. "${1:-../../.farebox/dev.env}" # MPPX_PRIVATE_KEY and MPPX_RPC_URL
url=${OPENAI_BASE_URL%/v1}
mppx() { node_modules/.bin/mppx "$@"; }

echo "== one charge of \$0.05"
mppx "$url/mpp/pii/preview" -J '{"text":"Mail jane@example.com"}'

echo && echo "== the same, and the server pays the network fee"
mppx "$url/mpp/pii/preview?feePayer=true" -J '{"text":"Mail jane@example.com"}'

echo && echo "== a stream: opens a channel and leaves it open. Say max_tokens, the client signs for the most"
mppx "$url/mpp/chat/completions" -J '{
    "model": "dev-scripted", "stream": true, "max_tokens": 200,
    "messages": [{"role": "user", "content": "Hello there"}]}'

echo && echo "== a whole answer on the same channel"
mppx "$url/mpp/chat/completions" -J '{
    "model": "dev-scripted", "max_tokens": 200, "messages": [{"role": "user", "content": "Hello again"}]}'

echo && echo "== the end of the channel: the rest of the deposit comes back"
channel=$(mppx sessions list --format json | node -p 'JSON.parse(require("fs").readFileSync(0)).sessions[0].channelId')
mppx sessions close "$channel"
