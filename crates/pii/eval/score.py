"""Compares findings with what the sets say: `score.py SETS FINDINGS ENGINE...` prints the tables.

A hit has the type of a span and at least half of their union in common. Findings that cross a line break are cut
there, as the spans of the sets are. Findings that touch only spans of type `?` are left out.
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

# The types of the first table; others found in documents are left out there, they have a set of their own.
MAIN = ["PERSON", "LOCATION", "ORGANIZATION", "EMAIL_ADDRESS", "PHONE_NUMBER", "URL", "IP_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "US_DRIVER_LICENSE"]
# What only a language model finds, and what is data about everything: left out of the second count on clean text.
SOFT = {"PERSON", "LOCATION", "ORGANIZATION", "DATE_TIME", "NRP", "AGE"}


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def cut(text, start, end):
    """The parts of a span on each line, without spaces at their edges."""
    at = start
    for part in text[start:end].split("\n"):
        left = at + len(part) - len(part.lstrip())
        right = at + len(part.rstrip())
        if left < right:
            yield left, right
        at += len(part) + 1


def common(a, b):
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


def is_hit(a, b):
    inside = common(a, b)
    return inside and inside / (a[1] - a[0] + b[1] - b[0] - inside) >= 0.5


class Score:
    def __init__(self):
        self.hits, self.missed, self.wrong = Counter(), Counter(), Counter()
        self.masked = self.personal = 0
        self.examples = defaultdict(list)

    def add(self, line, findings, types=None):
        text = line["text"]
        keep_lines = not any("\n" in text[start:end] for start, end, _ in line["spans"])
        found = [(*part, kind) for start, end, kind, _ in findings for part in (cut(text, start, end) if keep_lines else [(start, end)])]
        covered = {at for start, end, *_ in found for at in range(start, end)}
        clear = [span for span in line["spans"] if span[2] != "?"]
        for start, end, _ in clear:
            personal = [at for at in range(start, end) if not text[at].isspace()]
            self.personal += len(personal)
            self.masked += sum(at in covered for at in personal)
        left = [finding for finding in found if types is None or finding[2] in types]
        for span in clear:
            match = next((finding for finding in left if finding[2] == span[2] and is_hit(finding, span)), None)
            if match:
                left.remove(match)
                self.hits[span[2]] += 1
            else:
                self.missed[span[2]] += 1
                self.examples[span[2]].append(("missed", text[span[0] : span[1]], text))
        for start, end, kind in left:
            touched = [span for span in line["spans"] if common((start, end), span)]
            if not touched or any(span[2] != "?" for span in touched):
                self.wrong[kind] += 1
                self.examples[kind].append(("wrong", text[start:end], text))

    def f1(self, kinds):
        hits, missed, wrong = (sum(counter[kind] for kind in kinds) for counter in (self.hits, self.missed, self.wrong))
        return 2 * hits / (2 * hits + missed + wrong) if hits + missed else None

    def recall(self):
        return self.masked / self.personal if self.personal else None


def figure(value):
    return "-" if value is None else f"{value:.3f}"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


class Comparison:
    def __init__(self, sets, findings, engines):
        self.sets, self.findings, self.engines = Path(sets), Path(findings), engines

    def score(self, name, engine, types=None):
        score = Score()
        for line, found in zip(read(self.sets / f"{name}.jsonl"), read(self.findings / f"{name}.{engine}.jsonl"), strict=True):
            score.add(line, found, types)
        return score

    def by_type(self, name, types, title):
        lines = read(self.sets / f"{name}.jsonl")
        size = sum(len(line["text"].encode()) for line in lines) / 1000
        print(f"{title} ({len(lines)} texts, {size:.0f} kB): F1\n")
        scores = [self.score(name, engine, types) for engine in self.engines]
        count = lambda kind: str(scores[0].hits[kind] + scores[0].missed[kind])
        rows = [[kind, count(kind), *(figure(score.f1([kind])) for score in scores)] for kind in types]
        total = str(sum(int(row[1]) for row in rows))
        rows.append(["**all, micro**", total, *(figure(score.f1(types)) for score in scores)])
        rows.append(["characters masked (recall)", "", *(figure(score.recall()) for score in scores)])
        table(["type", "spans", *self.engines], rows)

    def numbers(self):
        kinds = []
        for line in read(self.sets / "numbers.jsonl"):
            kinds += [span[2] for span in line["spans"] if span[2] not in kinds]
        scores = [self.score("numbers", engine) for engine in self.engines]
        print("Every kind of number and secret in a short sentence: F1\n")
        # What another type is found for counts against the type found.
        rows = [[kind, str(scores[0].hits[kind] + scores[0].missed[kind]), *(figure(score.f1([kind])) for score in scores)] for kind in kinds]
        rows.append(["characters masked (recall)", "", *(figure(score.recall()) for score in scores)])
        table(["type", "spans", *self.engines], rows)

    def clean(self):
        scores = [self.score("clean", engine) for engine in self.engines]
        size = sum(len(line["text"].encode()) for line in read(self.sets / "clean.jsonl")) / 1000
        print(f"Clean text ({size:.0f} kB of code, logs, orders and prose): findings, all of them wrong\n")
        kinds = sorted({kind for score in scores for kind in score.wrong})
        rows = [[kind, *(str(score.wrong[kind]) for score in scores)] for kind in kinds]
        rows.append(["**all**", *(str(score.wrong.total()) for score in scores)])
        rows.append(["**all but " + ", ".join(sorted(SOFT)) + "**", *(str(sum(n for kind, n in score.wrong.items() if kind not in SOFT)) for score in scores)])
        table(["type", *self.engines], rows)

    def speed(self):
        print("Speed, one thread\n")
        rates = []
        for engine in self.engines:
            spent = json.loads((self.findings / f"documents.{engine}.speed").read_text().strip().splitlines()[-1])
            rates.append(f"{spent['bytes'] / spent['seconds'] / 1000:,.1f} kB/s")
        table(["", *self.engines], [["documents", *rates]])


def main():
    sets, findings, *engines = sys.argv[1:]
    if engines[0] == "--examples":
        _, name, engine, kind = engines
        score = Comparison(sets, findings, [engine]).score(name, engine, MAIN if name != "numbers" and name != "clean" else None)
        for what, part, text in score.examples[kind]:
            print(f"{what:6} {part!r} in {text[:160]!r}")
        return
    compare = Comparison(sets, findings, engines)
    compare.by_type("documents", MAIN, "Documents from templates that nothing is trained on")
    compare.by_type("prose", MAIN[:3], "Public-domain prose, annotated by hand")
    compare.by_type("tweets", MAIN[:3], "Tweets")
    compare.numbers()
    compare.clean()
    compare.speed()


if __name__ == "__main__":
    main()
