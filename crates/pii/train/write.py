"""Texts with marked names: templates filled in, as single messages and as several on a page."""

import datetime
import re
from pathlib import Path

from faker import Faker

import heldout
import organisations

HERE = Path(__file__).parent
SLOT = re.compile(r"\{([A-Za-z][a-z0-9]*|[A-Z][A-Z0-9]?)\}")
ENTITY = {**dict.fromkeys("PFGS", "PERSON"), **dict.fromkeys("LCKAMR", "LOCATION"), **dict.fromkeys("OB", "ORGANIZATION")}
RULE = re.compile(r"<([a-z_]+)>")

PRODUCTS = """iPhone 15|iPad|MacBook Pro|Windows 11|Photoshop|Excel|Word|PowerPoint|Outlook|Android|Galaxy S24|PlayStation 5|
Xbox|Kindle|Kubernetes|Docker|PostgreSQL|MySQL|Redis|Python|Rust|Java|JavaScript|TypeScript|React|Angular|Node.js|Linux|
Ubuntu|Debian|Firefox|Chrome|Safari|Jenkins|Terraform|Ansible|Kafka|Spark|Hadoop|TensorFlow|PyTorch|NumPy|Pandas|Django|
Flask|Rails|Spring Boot|Grafana|Prometheus|Jira|Confluence|Figma|Notion|ThinkPad|Model S|Corolla|Civic|Golf|Air Max|
Tylenol|Ibuprofen|Aspirin|Metformin|Lipitor|Bluetooth|Wi-Fi|Unicode|JSON|GraphQL|OAuth""".replace("\n", "").split("|")
ROLES = """chief executive|CEO|CFO|director|managing director|spokesman|chairman|manager|engineer|software engineer|nurse|
teacher|lawyer|accountant|analyst|secretary|Head of Sales|Vice President|Senior Developer|Product Manager|Consultant|
coach|editor|president|professor|architect|Account Executive|Office Manager|Chief Technology Officer""".replace("\n", "").split("|")
LANGUAGES = "English French German Spanish Italian Chinese Japanese Russian Arabic Hindi Dutch Swedish Turkish American British Irish Indian Mexican Canadian Polish Greek European Asian African Christian Muslim Jewish Catholic".split()
GREETINGS = "hi hey hello hiya yo morning hola howdy greetings evening Hi Hey Hello Hiya Yo Morning Hola Howdy Greetings Welcome Thanks Cheers".split()
PAST = """knew said told met saw left joined called asked gave took sent bought sold paid wrote made found thought
went came got won lost led felt kept held brought sued hired fired praised helped thanked visited founded rejected""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()


class Writer:
    """Fills the templates of a part with its values."""

    def __init__(self, values, ordinary, templates):
        self.values, self.random = values, values.random
        self.ordinary = ordinary
        # Words that English is mostly made of, among those it has.
        self.frequent = sorted(set(Faker("en_US").get_words_list()))
        self.past = [word for word in ordinary if word.endswith("ed")] + 9 * PAST
        self.templates = [read(name) for name in templates]
        self.grammar = grammar()

    def word(self):
        return self.random.choice(self.frequent if self.random.random() < 0.6 else self.ordinary)

    def value(self, slot):
        v = self.values
        random = self.random
        match slot:
            case "P": return v.person()
            case "F": return v.full()
            case "G": return v.names()[0]
            case "S": return v.names()[1]
            case "L": return v.place()
            case "C": return v.city()
            case "K": return v.country()
            case "A": return v.address()
            case "M": return v.address("\n")
            case "O": return v.organisation(self.word())
            case "B": return organisations.body(v, self.word())
            case "R": return v.road()
            case "user": return random.choice([self.word(), v.made_up(), v.names()[0]]) + random.choice(["", "_", "x", str(random.randint(1, 99))]) + random.choice(["", self.word(), self.word().capitalize()])
            case "I": return random.choice("ABCDEFGHJKLMNPRSTW")
            case "w": return self.word()
            case "W": return self.word().capitalize()
            case "W2": return self.word().upper()
            case "WW": return " ".join(self.word().capitalize() for _ in range(random.randint(2, 4)))
            case "C0" | "C1": return "".join(self.word().capitalize() for _ in range(2))
            case "email": return f"{self.word()}.{v.made_up().lower()}@{self.word()}.{random.choice(['com', 'org', 'net', 'co.uk', 'de'])}"
            case "phone": return random.choice([f"({random.randint(200, 999)}) 555-{random.randint(1000, 9999)}", f"+{random.randint(1, 99)} {random.randint(100, 999)} {random.randint(1000, 9999)}", f"{random.randint(200, 999)}-{random.randint(200, 999)}-{random.randint(1000, 9999)}", f"0{random.randint(10000, 99999)} {random.randint(100000, 999999)}"])
            case "date": return self.date()
            case "time": return random.choice([f"{random.randint(0, 23):02}:{random.randint(0, 59):02}:{random.randint(0, 59):02}", f"{random.randint(1, 12)}:{random.randint(0, 59):02} pm", f"{random.randint(1, 12)}pm", "noon"])
            case "year": return str(random.randint(1900, 2025))
            case "day": return random.choice(DAYS)
            case "month": return random.choice(MONTHS)
            case "num": return str(random.choice([random.randint(1, 99), random.randint(100, 9999), random.randint(10**5, 10**12)]))
            case "ref": return "".join(random.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(random.randint(1, 3))) + random.choice(["-", ""]) + str(random.randint(100, 10**6))
            case "money": return random.choice("$€£") + f"{random.randint(1, 99999):,}" + random.choice(["", ".50", " million"])
            case "url": return f"https://{self.word()}.{random.choice(['com', 'io', 'org'])}/{self.word()}"
            case "product": return random.choice(PRODUCTS)
            case "role": return random.choice(ROLES)
            case "lang": return random.choice(LANGUAGES)
            case "greet": return random.choice(GREETINGS)
            case "v": return random.choice(self.past)
        raise KeyError(slot)

    def date(self):
        date = datetime.date(1940, 1, 1) + datetime.timedelta(self.random.randint(0, 31000))
        return date.strftime(self.random.choice(["%Y-%m-%d", "%m/%d/%Y", "%d.%m.%Y", "%B %d, %Y", "%d %b %Y"]))

    def fill(self, template):
        text, names, done = "", [], 0
        for slot in SLOT.finditer(template):
            text += template[done:slot.start()]
            value = self.value(slot[1])
            if slot[1] in ENTITY:
                names.append([len(text), len(text) + len(value), ENTITY[slot[1]]])
            text += value
            done = slot.end()
        return text + template[done:], names

    def expand(self, rule):
        """A template by the rules of the grammar; sentences begin with capitals."""
        text = RULE.sub(lambda inner: self.expand(inner[1]), self.random.choice(self.grammar[rule]))
        return text[0].upper() + text[1:] if rule in ("sentence", "speech") else text

    def document(self):
        """A text that holds none of the names that the evaluation keeps for itself."""
        while True:
            document = self.compose()
            if heldout.is_free(document["text"]):
                return document

    def compose(self):
        """One to four fillings, now and then in small letters or capitals."""
        shares = [0.62, 0.38] if len(self.templates) > 1 else [1]
        text, names = "", []
        joiner = self.random.choice([" ", " ", "\n", "\n\n"])
        for _ in range(self.random.choice([1, 1, 2, 3, 4])):
            if len(self.templates) > 1 and self.random.random() < 0.4:
                template = self.expand("prose")
            else:
                template = self.random.choice(self.random.choices(self.templates, shares)[0])
            part, found = self.fill(template)
            if text:
                text += joiner if text[-1] in ".!?,:" or joiner != " " else ". "
            names += [[start + len(text), end + len(text), entity] for start, end, entity in found]
            text += part
        draw = self.random.random()
        if draw < 0.14:
            text = same_length(text, str.lower)
        elif draw < 0.17:
            text = same_length(text, str.upper)
        return {"text": text, "names": names}


def chunks(text, size):
    """Real text in pieces of some lines."""
    piece = ""
    for line in text.splitlines(keepends=True):
        piece += line[:size]
        if len(piece) > size:
            yield piece
            piece = ""
    if piece.strip():
        yield piece


def grammar():
    """The rules of `templates/grammar.txt`: a name in brackets, then what may stand for it, a line each."""
    rules = {}
    for line in read("grammar"):
        if line[0] == "[" and line[-1] == "]":
            rules[line[1:-1]] = []
        else:
            rules[[*rules][-1]].append(line)
    return rules


def same_length(text, change):
    return "".join(change(c) if len(change(c)) == 1 else c for c in text)


def read(name):
    lines = (HERE / "templates" / f"{name}.txt").read_text().splitlines()
    return [line.replace("\\n", "\n").replace("\\t", "\t") for line in lines if line]
