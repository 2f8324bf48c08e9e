#!/bin/sh
# Runs every fuzz target of the engine for personal data for some seconds (60 unless told), from the committed seeds:
#
#   scripts/fuzz.sh [SECONDS [TARGET]]
#
# An input that breaks a target is left in crates/pii/fuzz/artifacts/. The build has a folder of its own,
# target/fuzz, because the sanitizer needs compiler options that the ordinary builds do not have.
set -eu
cd "$(dirname "$0")/.."

seconds=${1:-60}
fuzz=crates/pii/fuzz
export CARGO_TARGET_DIR="${FUZZ_TARGET_DIR:-$PWD/target/fuzz}"
# The sanitizer's options are offered by nightly compilers; this makes a stable one offer them too.
export RUSTC_BOOTSTRAP=1

cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz

for source in "$fuzz"/fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    [ -z "${2:-}" ] || [ "$2" = "$target" ] || continue
    # New inputs go to the first folder, which is ignored; the seeds are only read.
    mkdir -p "$fuzz/corpus/$target"
    cargo fuzz run --fuzz-dir "$fuzz" "$target" "$fuzz/corpus/$target" "$fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=2048 -timeout=10 -rss_limit_mb=2048
done
