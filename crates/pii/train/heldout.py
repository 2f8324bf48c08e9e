"""What the evaluation keeps for itself: its names and templates must not be trained on.

Given names, surnames, cities and organisations of `../eval/words/` count as names as a whole, written in any case and
with or without accents: `Müller` is held back because `Muller` is. Countries are too few to have unseen ones.

    python heldout.py       fails when a template of the evaluation is also one of training
"""

import re
import sys
import unicodedata
from pathlib import Path

HERE = Path(__file__).parent
EVAL = HERE.parent / "eval"
NAMES = ["given", "surnames", "cities", "organisations"]
SLOT = re.compile(r"\{+\w+\}+")
WORD = re.compile(r"[^\W_]+")
# The most words that a name of the evaluation has.
LONGEST = 5


def plain(text):
    """The words of a text as they are compared."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return tuple(WORD.findall(text.lower()))


def held_back():
    names = {plain(line) for name in NAMES for line in (EVAL / "words" / f"{name}.txt").read_text().splitlines()}
    assert names and max(map(len, names)) <= LONGEST
    return names


HELD_BACK = held_back()
BEGINNINGS = {name[0] for name in HELD_BACK}


def found(text):
    """The names of the evaluation that a text holds."""
    words = plain(text)
    for at, word in enumerate(words):
        if word in BEGINNINGS:
            for length in range(1, LONGEST + 1):
                if words[at : at + length] in HELD_BACK and at + length <= len(words):
                    yield " ".join(words[at : at + length])


def is_free(text):
    return next(found(text), None) is None


def check(text, what):
    """Ends the program when a text that is trained on holds a name of the evaluation."""
    names = list(found(text))
    if names:
        sys.exit(f"{what} holds {names}, which the evaluation keeps for itself")


def outline(template):
    """A template without what is filled in, to compare the words around it."""
    return plain(SLOT.sub(" slot ", template.replace("\\n", " ")))


def check_templates(theirs):
    """Ends the program when a template of some words is one of training and one of the evaluation."""
    ours = {outline(line) for path in (HERE / "templates").glob("*.txt") for line in path.read_text().splitlines()}
    for template in theirs:
        words = outline(template)
        if len(words) - words.count("slot") >= 3 and words in ours:
            sys.exit(f"{template!r} is a template of training and of the evaluation")


if __name__ == "__main__":
    check_templates((EVAL / "templates" / "documents.txt").read_text().splitlines())
