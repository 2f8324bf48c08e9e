#!/bin/sh
# What an application does with a key, and how an agent looks before it pays.
#
#   ./ask.sh [dev.env]
set -eu
. "${1:-../../.farebox/dev.env}" # OPENAI_BASE_URL and OPENAI_API_KEY
url=$OPENAI_BASE_URL
key="Authorization: Bearer $OPENAI_API_KEY"

echo "== an answer"
curl --silent --show-error "$url/chat/completions" --header "$key" \
    --json '{"model":"dev-scripted","messages":[{"role":"user","content":"Hello there"}]}'

echo && echo "== an answer in pieces, and what it cost"
curl --silent --show-error --no-buffer "$url/chat/completions" --header "$key" --json '{
    "model": "dev-scripted", "stream": true, "stream_options": {"include_usage": true},
    "messages": [{"role": "user", "content": "Hello there"}]}'

echo "== personal data stays here: the model gets a placeholder, the answer has the original again"
curl --silent --show-error "$url/chat/completions" --header "$key" --json '{
    "model": "dev-scripted", "privacyMode": "placeholder",
    "messages": [{"role": "user", "content": "Write to jane@example.com"}]}'

echo && echo "== what is left"
curl --silent --show-error "$url/credits" --header "$key"

echo && echo "== without a key: 402 with a challenge in WWW-Authenticate"
curl --silent --show-error --include "${url%/v1}/mpp/pii/preview" --json '{"text":"Mail jane@example.com"}'
