#!/bin/sh
# Compares farebox's engine for personal data with Presidio on the same texts and prints the tables.
#
#   scripts/eval-pii.sh                 every model that this build has
#   scripts/eval-pii.sh rules fast      these
#
# crates/pii/eval/README.md says what the texts are. Everything made here goes to .tools/pii-eval/.
set -eu
cd "$(dirname "$0")/.."

home=.tools/pii-eval
eval=crates/pii/eval
python=$home/venv/bin/python
sets="documents prose tweets numbers clean"
# Leaves out what Presidio itself gives little credit (bare digits without context); not tuned.
PRESIDIO_THRESHOLD=${PRESIDIO_THRESHOLD:-0.4}

if ! [ "$home/venv.stamp" -nt "$eval/requirements.txt" ]; then
    command -v python3 >/dev/null 2>&1 || { echo "eval-pii: python3 is missing: install Python 3.11 or newer" >&2; exit 1; }
    mkdir -p "$home"
    python3 -m venv "$home/venv"
    "$home/venv/bin/pip" install --quiet --disable-pip-version-check -r "$eval/requirements.txt"
    touch "$home/venv.stamp"
fi

cargo build --quiet --release -p farebox-pii --example findings
findings=${CARGO_TARGET_DIR:-target}/release/examples/findings

"$python" "$eval/sets.py" "$home/sets"
mkdir -p "$home/findings"

texts() {
    "$python" -c 'import json, sys
for line in sys.stdin: print(json.dumps(json.loads(line)["text"]))' <"$home/sets/$1.jsonl"
}

engines=
for model in ${*:-rules fast accurate}; do
    have=yes
    for set in $sets; do
        texts "$set" >"$home/texts"
        status=0
        "$findings" "$model" <"$home/texts" >"$home/findings/$set.$model.jsonl" 2>"$home/findings/$set.$model.speed" || status=$?
        if [ "$status" -eq 3 ]; then
            echo "eval-pii: without $model: $(cat "$home/findings/$set.$model.speed")" >&2
            have=
            break
        fi
        [ "$status" -eq 0 ] || { cat "$home/findings/$set.$model.speed" >&2; exit 1; }
    done
    [ -z "$have" ] || engines="$engines $model"
done

# Presidio is the same every time: what it found is kept as long as the set is the same.
for set in $sets; do
    texts "$set" >"$home/texts"
    mark="$PRESIDIO_THRESHOLD $(cat "$home/texts" "$eval/presidio.py" "$eval/requirements.txt" | sha256sum)"
    if [ "$(cat "$home/findings/$set.presidio.mark" 2>/dev/null)" != "$mark" ]; then
        "$python" "$eval/presidio.py" "$PRESIDIO_THRESHOLD" <"$home/texts" >"$home/findings/$set.presidio.jsonl" 2>"$home/findings/$set.presidio.speed"
        echo "$mark" >"$home/findings/$set.presidio.mark"
    fi
done
rm "$home/texts"

# shellcheck disable=SC2086
"$python" "$eval/score.py" "$home/sets" "$home/findings" $engines presidio
