#!/bin/sh
# Builds the dashboard into dashboard/dist, where its sources are newer than what is there.
set -eu
cd "$(dirname "$0")/../dashboard"

built=dist/index.html
if [ -f "$built" ] && [ -z "$(find . ../docs/guides -path ./node_modules -prune -o -path ./dist -prune -o -type f -newer "$built" -print | head -n 1)" ]; then
    exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
    echo "make dashboard: npm is missing: install Node.js 20 or newer; without it the program has no dashboard" >&2
    exit 1
fi
echo "Building the dashboard"
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --no-audit --no-fund --loglevel=error
fi
npm run --silent build
