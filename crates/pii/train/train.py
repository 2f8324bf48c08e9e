"""Trains the model of names: writes `../data/names/lexicon.bin` and `../data/names/weights.bin`.

    apt-get install wamerican-small
    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python train.py

Everything it draws is seeded, so that two runs with the same packages write the same bytes. Texts are made from
templates (`templates/`), names and places come from packages (`values.py`); features are read by the crate itself
(`../examples/features.rs`). What is held back from training (`templates/dev.txt`, a seventh of all names) measures it:
`train.py dev` writes those texts for `../examples/measure.rs`, `train.py prose` those that were written by hand
(`dev/prose.txt`). What the evaluation keeps for itself (`heldout.py`) is neither in texts nor on lists.
"""

import json
import pydoc_data.topics
import random
import re
import struct
import subprocess
import sys
import sysconfig
import threading
from collections import defaultdict
from pathlib import Path

import pycrfsuite

import heldout
import organisations
import values
from values import Values, stable
from write import Writer, chunks, grammar

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DATA = HERE.parent / "data" / "names"
WORDS = Path("/usr/share/dict/american-english-small")
DOCUMENTS, CLEAN = 32_000, 4_500
LABELS = 7
LISTS = {"given": 1, "surname": 2, "place": 4, "region": 8, "ordinary": 16, "body": 32, "title": 64, "brand": 128}
# Words that say what a name is of: they are known while the weights are learned, as they are later.
CLOSED = ("ordinary", "body", "title")
# The largest weight that is kept in a byte, and the smallest worth keeping.
LARGEST, SMALLEST = 6.0, 0.03


def features(mode, lines):
    """What the crate makes of lines, one at a time."""
    command = ["cargo", "run", "--release", "-q", "-p", "farebox-pii", "--example", "features", "--", mode]
    process = subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    def feed():
        for line in lines:
            process.stdin.write(line + "\n")
        process.stdin.close()

    threading.Thread(target=feed, daemon=True).start()
    yield from (line.rstrip("\n") for line in process.stdout)
    if process.wait() != 0:
        sys.exit("the features could not be read")


def ordinary_words():
    words = [w for w in WORDS.read_text().splitlines() if "'" not in w and w.islower() and w.isascii()]
    return [w for w in words if len(w) > 1]


def lists(ordinary):
    """The words of each list, from both parts: the texts are held back, the lists are not."""
    found = defaultdict(set)
    add = lambda name, phrases: found[name].update(
        word.lower() for phrase in phrases for word in phrase.replace("-", " ").split() if len(word) > 1)
    for part in ("train", "dev"):
        v = Values(part, 0)
        add("given", v.census_given + v.roman_given + [n for l in values.LATIN for n in v.given[l]])
        add("surname", v.census_surname + v.roman_surname + [n for l in values.LATIN for n in v.surname[l]])
        add("place", v.cities)
        add("region", v.countries + v.places + [s for pair in v.states for s in pair])
        add("brand", [name for name in v.organisations + v.everyday + v.companies if " " not in name])
    add("body", [re.sub(r"\{\w\}|'s", " ", body) for body in values.BODIES + organisations.BODIES])
    add("body", [re.sub(r"\W", " ", suffix) for suffix in values.SUFFIXES] + organisations.UNITS + organisations.TOPICS)
    rules = grammar()
    add("title", [re.sub(r"\W", " ", title) for rule in ("title", "kin") for title in rules[rule]])
    for name in found:
        found[name] -= {name for name, *more in heldout.HELD_BACK if not more}
        found[name] -= {"his", "her", "my", "our", "of", "the", "and", "de", "la", "el", "in", "do", "da", "en", "le", "or", "me", "so", "an"}
    found["ordinary"] = set(ordinary)
    return found


def clean_texts(found):
    """Documentation and code that names nobody: Python's own, and this project's."""
    texts = [pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)[60:]]
    library = Path(sysconfig.get_paths()["stdlib"])
    sources = sorted(library.glob("*.py"))[::2]
    for pattern in ("src/**/*.rs", "crates/*/src/**/*.rs", "*.md", "*.toml", "migrations/**/*.sql", "scripts/*"):
        sources += sorted(ROOT.glob(pattern))
    texts += [path.read_text(errors="ignore")[:9000] for path in sources if path.is_file()]
    people = re.compile(r"[A-Z][a-z]+,? (?:[A-Z]\. )?(?:van |von |de )?[A-Z][a-z]+")
    given = found["given"]
    for text in texts:
        for piece in chunks(text, 500):
            if heldout.is_free(piece) and not any(re.split(r"\W", match)[0].lower() in given for match in people.findall(piece)):
                yield {"text": piece, "names": []}


def write_lexicon(found, keep):
    bits = defaultdict(int)
    for name, words in found.items():
        for word in words:
            if name != "ordinary":
                heldout.check(word, f"the list `{name}`")
            if name in CLOSED or keep(word):
                bits[word] |= LISTS[name]
    words = sorted(bits)
    entries = defaultdict(int)
    for word, key in zip(words, features("words", words)):
        entries[int(key)] |= bits[word]
    data = b"".join(struct.pack("<I", key << 8 | lists) for key, lists in sorted(entries.items()))
    (DATA / "lexicon.bin").write_bytes(data)


def checked(documents):
    for document in documents:
        heldout.check(document["text"], "a training text")
        yield json.dumps(document)


def train(documents, path):
    trainer = pycrfsuite.Trainer(verbose=False)
    xs, ys = [], []
    for line in features("texts", checked(documents)):
        if line:
            label, *keys = line.split("\t")
            xs.append(keys)
            ys.append(label)
        elif xs:
            trainer.append(pycrfsuite.ItemSequence([dict.fromkeys(x, 1.0) for x in xs]), ys)
            xs, ys = [], []
    trainer.set_params({"c1": 0.15, "c2": 0.02, "max_iterations": 85, "feature.minfreq": 3})
    trainer.train(str(path))


def write_weights(path):
    info = pycrfsuite.Tagger()
    info.open(str(path))
    dump = info.info()
    transitions = [[dump.transitions.get((str(a), str(b)), 0.0) for b in range(LABELS)] for a in range(LABELS)]
    # An inside follows its own begin or inside only.
    for a in range(LABELS):
        for b in (2, 4, 6):
            if a not in (b - 1, b):
                transitions[a][b] = -30.0
    rows = defaultdict(dict)
    for (key, label), weight in dump.state_features.items():
        step = max(-127, min(127, round(weight * 127 / LARGEST)))
        if abs(weight) >= SMALLEST and step:
            rows[int(key, 16)][int(label)] = step
    keys = sorted(rows)
    data = struct.pack("<f", LARGEST / 127)
    data += b"".join(struct.pack("<7f", *row) for row in transitions)
    data += struct.pack("<I", len(keys))
    data += b"".join(struct.pack("<I", key) for key in keys)
    data += bytes(sum(1 << label for label in rows[key]) for key in keys)
    data += b"".join(struct.pack("<b", rows[key][label]) for key in keys for label in sorted(rows[key]))
    (DATA / "weights.bin").write_bytes(data)
    print(len(keys), "features,", len(data), "bytes")


def marked(line):
    """Reads `[[PERSON Ada Lovelace]]`."""
    text, names, done = "", [], 0
    for mark in re.finditer(r"\[\[(\S+) (.+?)\]\]", line):
        text += line[done:mark.start()]
        names.append([len(text), len(text) + len(mark[2]), mark[1]])
        text += mark[2]
        done = mark.end()
    return {"text": text + line[done:], "names": names}


def main():
    if sys.argv[1:] == ["prose"]:
        for line in (HERE / "dev" / "prose.txt").read_text().splitlines():
            if not line.startswith("#"):
                print(json.dumps(marked(line)))
        return
    heldout.check_templates((heldout.EVAL / "templates" / "documents.txt").read_text().splitlines())
    ordinary = ordinary_words()
    if sys.argv[1:] == ["dev"]:
        writer = Writer(Values("dev", 7), ordinary, ["dev"])
        for _ in range(2000):
            print(json.dumps(writer.document()))
        return
    found = lists(ordinary)
    # Half of the names are left off the lists while the weights are learned: real texts hold names that are on none.
    write_lexicon(found, lambda word: stable("list" + word, 2) != 0)
    writer = Writer(Values("train", 1), ordinary, ["train", "clean"])
    path = HERE / "names.crfsuite"
    clean = list(clean_texts(found))
    random.Random(2).shuffle(clean)
    print(len(clean), "clean texts")
    train([writer.document() for _ in range(DOCUMENTS)] + clean[:CLEAN], path)
    write_weights(path)
    path.unlink()
    write_lexicon(found, lambda word: True)


if __name__ == "__main__":
    main()
