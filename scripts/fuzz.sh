#!/bin/sh
# Runs every fuzz target of the engine for personal data for some seconds (60 unless told), from the committed seeds:
#
#   scripts/fuzz.sh [SECONDS [TARGET]]
#   scripts/fuzz.sh check [TARGET]      the same inputs each time, about a minute in all
#
# An input that breaks a target is left in crates/pii/fuzz/artifacts/. The build has a folder of its own, target/fuzz,
# because it is instrumented as ordinary builds are not. It takes a stable compiler: without a sanitizer, for the crate
# has no unsafe code, and what it is built on has little.
set -eu
cd "$(dirname "$0")/.."

seconds=${1:-60}
fuzz=crates/pii/fuzz
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"

export PATH="$PWD/.tools/cargo-fuzz/bin:$PATH"
cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked --root .tools/cargo-fuzz cargo-fuzz

for source in "$fuzz"/fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    [ -z "${2:-}" ] || [ "$2" = "$target" ] || continue
    # Seeds, longest input, and how many inputs a check tries.
    case "$target" in
    image_*) seeds=crates/pii/tests/images/fixtures longest=8192 runs=20000 ;;
    pdf_*) seeds=crates/pii/tests/pdf/files longest=16384 runs=2000 ;;
    *) seeds="$fuzz/seeds/$target" longest=2048 runs=4000 ;;
    esac
    # New inputs go to the first folder, which is ignored; the seeds are only read.
    corpus="$fuzz/corpus/$target" effort="-max_total_time=$seconds"
    if [ "$seconds" = check ]; then
        corpus=$(mktemp -d) effort="-seed=1 -runs=$runs"
    fi
    mkdir -p "$corpus"
    # shellcheck disable=SC2086 # The effort is one option or two.
    cargo fuzz run --sanitizer none --codegen-units 16 --fuzz-dir "$fuzz" "$target" "$corpus" "$seeds" -- \
        $effort -max_len="$longest" -timeout=20 -rss_limit_mb=2048
    [ "$seconds" != check ] || rm -r "$corpus"
done
