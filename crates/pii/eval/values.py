"""Made-up personal data: words from words/, numbers whose check digits hold.

Check digits are computed here from the issuers' rules and not with farebox's code, so that a mistake in one
shows in the other.
"""

import base64
import hashlib
import ipaddress
import json
import string
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
UPPER = string.ascii_uppercase


def words(name):
    return (HERE / "words" / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def digits(rng, count):
    return "".join(rng.choice(string.digits) for _ in range(count))


def fill(rng, pattern):
    """`#` is a digit, `%` a digit from 1 on, `?` an upper-case letter."""
    kinds = {"#": string.digits, "%": "123456789", "?": UPPER}
    return "".join(rng.choice(kinds[c]) if c in kinds else c for c in pattern)


def until(rng, make, holds):
    while True:
        value = make()
        if holds(value):
            return value


def luhn_digit(body):
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def weighted(text, weights):
    return sum(int(d) * w for d, w in zip(text, weights))


def grouped(text, *sizes, by=" "):
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return by.join(parts)


def card(rng):
    prefix, length = rng.choice(
        [("4", 16), ("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16), ("3528", 16), ("36", 14), ("65", 16)]
    )
    body = prefix + digits(rng, length - len(prefix) - 1)
    number = body + luhn_digit(body)
    sizes = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4)}[length]
    return rng.choice([number, number, grouped(number, *sizes), grouped(number, *sizes, by="-")])


IBAN_FORMS = {
    "DE": "##################", "GB": "????##############", "FR": "###################?###"[:23].replace("?", "M"), "ES": "####################",
    "IT": "?######################", "NL": "????##########", "CH": "#################", "AT": "################",
    "BE": "############", "PL": "########################", "SE": "####################", "IE": "????##############",
    "PT": "#####################", "DK": "##############", "NO": "###########", "FI": "##############",
}


def iban(rng):
    country = rng.choice(sorted(IBAN_FORMS))
    body = fill(rng, IBAN_FORMS[country])
    value = "".join(str(int(c, 36)) for c in body + country + "00")
    number = f"{country}{98 - int(value) % 97:02}{body}"
    spaced = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    return rng.choice([number, spaced])


def ssn(rng):
    number = until(rng, lambda: digits(rng, 9), lambda n: n[:3] not in ("000", "666") and n[0] != "9" and n[3:5] != "00" and n[5:] != "0000")
    return rng.choice([grouped(number, 3, 2, 4, by="-")] * 3 + [grouped(number, 3, 2, 4)])


def itin(rng):
    number = "9" + digits(rng, 2) + str(rng.choice([*range(50, 66), *range(70, 89), 90, 91, 92, *range(94, 100)])) + digits(rng, 4)
    return rng.choice([grouped(number, 3, 2, 4, by="-"), number])


def aba(rng):
    body = f"{rng.choice([*range(1, 13), *range(21, 33)]):02}" + digits(rng, 6)
    return body + str(-weighted(body, [3, 7, 1, 3, 7, 1, 3, 7]) % 10)


def npi(rng):
    body = rng.choice("12") + digits(rng, 8)
    return body + luhn_digit("80840" + body)


def mbi(rng):
    letters = "ACDEFGHJKMNPQRTUVWXY"
    letter, digit, either = (lambda: rng.choice(letters)), (lambda: digits(rng, 1)), (lambda: rng.choice(letters + string.digits))
    number = rng.choice("123456789") + letter() + either() + digit() + letter() + either() + digit() + letter() + letter() + digit() + digit()
    return rng.choice([number, grouped(number, 4, 3, 4, by="-")])


def dea(rng):
    body = digits(rng, 6)
    return rng.choice("ABFGM") + rng.choice(UPPER) + body + str(weighted(body, [1, 2, 1, 2, 1, 2]) % 10)


def nhs(rng):
    body = until(rng, lambda: rng.choice("4567") + digits(rng, 8), lambda b: weighted(b, range(10, 1, -1)) % 11 != 1)
    number = body + str(-weighted(body, range(10, 1, -1)) % 11)
    return rng.choice([number, grouped(number, 3, 3, 4), grouped(number, 3, 3, 4, by="-")])


def nino(rng):
    number = rng.choice(["AB", "CE", "JT", "PW", "SR", "HL", "YX"]) + digits(rng, 6) + rng.choice("ABCD")
    return rng.choice([number, grouped(number, 2, 2, 2, 2, 1)])


def utr(rng):
    body = digits(rng, 9)
    return "21987654321"[weighted(body, [6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11] + body


def ca_sin(rng):
    body = rng.choice("1234567") + digits(rng, 7)
    number = body + luhn_digit(body)
    return rng.choice([number, grouped(number, 3, 3, 3), grouped(number, 3, 3, 3, by="-")])


def ca_health(rng):
    body = rng.choice("123456789") + digits(rng, 8)
    number = body + luhn_digit(body)
    return rng.choice([number, grouped(number, 4, 3, 3, by="-"), grouped(number, 4, 3, 3, by="-") + "-" + fill(rng, "??")])


def au_abn(rng):
    body = digits(rng, 9)
    weights = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    # The two leading digits make the weighted sum a multiple of 89.
    for lead in range(10, 100):
        number = str(lead) + body
        if (10 * (int(number[0]) - 1) + weighted(number[1:], weights)) % 89 == 0:
            return rng.choice([number, grouped(number, 2, 3, 3, 3)])
    return au_abn(rng)


def au_acn(rng):
    body = digits(rng, 8)
    return grouped(body + str(-weighted(body, range(8, 0, -1)) % 10), 3, 3, 3)


def au_tfn(rng):
    number = until(rng, lambda: rng.choice("123456789") + digits(rng, 8), lambda n: weighted(n, [1, 4, 3, 7, 5, 8, 6, 9, 10]) % 11 == 0)
    return rng.choice([number, grouped(number, 3, 3, 3)])


def au_medicare(rng):
    body = rng.choice("23456") + digits(rng, 7)
    number = body + str(weighted(body, [1, 3, 7, 9, 1, 3, 7, 9]) % 10) + rng.choice("123")
    return rng.choice([number, grouped(number, 4, 5, 1)])


def verhoeff_digit(body):
    def times(a, b):
        if a < 5 and b < 5:
            return (a + b) % 5
        if a < 5:
            return 5 + (a + b - 5) % 5
        if b < 5:
            return 5 + (a - 5 - b) % 5
        return (a - b) % 5

    permutation = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    total = 0
    for place, digit in enumerate(reversed(body), start=1):
        value = int(digit)
        for _ in range(place % 8):
            value = permutation[value]
        total = times(total, value)
    return str(next(digit for digit in range(10) if times(total, digit) == 0))


def aadhaar(rng):
    body = rng.choice("23456789") + digits(rng, 10)
    number = body + verhoeff_digit(body)
    return rng.choice([number, grouped(number, 4, 4, 4), grouped(number, 4, 4, 4, by="-")])


def pan(rng):
    return fill(rng, "???") + rng.choice("PCHF") + fill(rng, "?##%#?")


def gstin(rng):
    alphabet = string.digits + UPPER
    body = f"{rng.randint(1, 37):02}" + pan(rng) + rng.choice("123") + "Z"
    total = 0
    for place, c in enumerate(body):
        product = alphabet.index(c) * (2 if place % 2 else 1)
        total += product // 36 + product % 36
    return body + alphabet[-total % 36]


def mod11_10_digit(body):
    product = 10
    for digit in body:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return str((11 - product) % 10)


def de_tax_id(rng):
    chosen = rng.sample(string.digits, 9)
    while chosen[0] == "0":
        rng.shuffle(chosen)
    tail = chosen[1:] + [rng.choice(chosen[1:])]
    rng.shuffle(tail)
    body = chosen[0] + "".join(tail)
    number = body + mod11_10_digit(body)
    return rng.choice([number, grouped(number, 2, 3, 3, 3)])


def icao_digit(body):
    return str(sum(int(c, 36) * (7, 3, 1)[place % 3] for place, c in enumerate(body)) % 10)


def de_id_card(rng):
    body = rng.choice("LMNPRTVWXY") + "".join(rng.choice("CFGHJKLMNPRTVWXYZ0123456789") for _ in range(8))
    return body + icao_digit(body)


def de_social_security(rng):
    area = f"{rng.choice([2, 4, 8, 11, 12, 13, 14, 15, 17, 53, 65]):02}"
    body = area + f"{rng.randint(1, 28):02}{rng.randint(1, 12):02}{rng.randint(40, 99):02}" + rng.choice(UPPER) + f"{rng.randint(0, 99):02}"
    expanded = "".join(f"{UPPER.index(c) + 1:02}" if c in UPPER else c for c in body)
    total = sum(sum(map(int, str(int(d) * w))) for d, w in zip(expanded, [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1]))
    number = body + str(total % 10)
    return rng.choice([number, f"{number[:2]} {number[2:8]} {number[8]} {number[9:]}"])


def fr_insee(rng):
    body = rng.choice("12") + f"{rng.randint(30, 99)}{rng.randint(1, 12):02}{rng.randint(1, 95):02}" + digits(rng, 6)
    number = body + f"{97 - int(body) % 97:02}"
    return rng.choice([number, grouped(number, 1, 2, 2, 2, 3, 3, 2)])


NIF_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def es_nif(rng):
    body = digits(rng, 8)
    letter = NIF_LETTERS[int(body) % 23]
    return rng.choice([body + letter, body + "-" + letter])


def es_nie(rng):
    first, body = rng.choice([("X", "0"), ("Y", "1"), ("Z", "2")]), digits(rng, 7)
    return first[0] + body + NIF_LETTERS[int(first[1] + body) % 23]


FISCAL_ODD = dict(zip(string.digits + UPPER, [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]))


def it_fiscal_code(rng):
    body = fill(rng, "??????##") + rng.choice("ABCDEHLMPRST") + f"{rng.choice([*range(1, 29), *range(41, 69)]):02}" + fill(rng, "?###")
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in body[1::2])
    return body + UPPER[(sum(FISCAL_ODD[c] for c in body[::2]) + even) % 26]


def it_vat(rng):
    body = digits(rng, 7) + f"{rng.randint(1, 100):03}"
    return body + luhn_digit(body)


def pesel(rng):
    body = f"{rng.randint(30, 99)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}" + digits(rng, 4)
    return body + str(-weighted(body, [1, 3, 7, 9] * 3) % 10)


def hetu(rng):
    date, serial = f"{rng.randint(1, 28):02}{rng.randint(1, 12):02}{rng.randint(30, 99)}", f"{rng.randint(2, 899):03}"
    return f"{date}-{serial}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[int(date + serial) % 31]}"


def nric(rng):
    body = digits(rng, 7)
    return "S" + body + "JZIHGFEDCBA"[weighted(body, [2, 7, 6, 5, 4, 3, 2]) % 11]


def vin(rng):
    values = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9]))
    value = lambda c: int(c) if c.isdigit() else values[c]
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
    number = rng.choice("12345JW") + "".join(rng.choice(letters + string.digits) for _ in range(7)) + "0"
    number += "".join(rng.choice(letters + string.digits) for _ in range(3)) + digits(rng, 5)
    rest = sum(value(c) * w for c, w in zip(number, [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2])) % 11
    return number[:8] + ("X" if rest == 10 else str(rest)) + number[9:]


def base58check(payload):
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    whole = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    value, text = int.from_bytes(whole, "big"), ""
    while value:
        value, rest = divmod(value, 58)
        text = alphabet[rest] + text
    return "1" * (len(whole) - len(whole.lstrip(b"\0"))) + text


def crypto(rng):
    if rng.random() < 0.3:
        return "0x" + rng.randbytes(20).hex()
    return base58check(rng.choice([b"\0", b"\5"]) + rng.randbytes(20))


def ip(rng):
    if rng.random() < 0.75:
        return f"{rng.choice([10, 31, 45, 81, 104, 172, 185, 192, 203])}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    address = ipaddress.IPv6Address((0x2001 << 112) | rng.getrandbits(64) | (rng.getrandbits(16) << 96))
    return rng.choice([str(address), address.exploded])


def mac(rng):
    return rng.choice([":", "-"]).join(f"{byte:02x}" for byte in rng.randbytes(6))


def plain(text):
    return "".join(c for c in text.lower() if c.isascii() and c.isalnum())


def domain(rng):
    name = plain(rng.choice(words("organisations")).split()[0]) + rng.choice(["", "", "-" + plain(rng.choice(words("cities")))])
    return f"{name}.{rng.choice(['com', 'com', 'org', 'net', 'co.uk', 'de', 'io', 'fr', 'edu', 'com.au'])}"


def email(rng):
    first, last = plain(rng.choice(words("given"))), plain(rng.choice(words("surnames")))
    return f"{rng.choice([f'{first}.{last}', first + last, f'{first[0]}{last}', f'{last}{rng.randint(1, 99)}', f'{first}+news'])}@{domain(rng)}"


def url(rng):
    path = rng.choice(["", "", "/", "/about", f"/blog/{rng.randint(2001, 2024)}/post-{rng.randint(1, 99)}", f"/p?id={rng.randint(1, 9999)}&ref=a", "/docs/index.html#top"])
    return rng.choice(["https://", "http://", "https://www.", "www.", ""]) + domain(rng) + path


PHONES = [
    "(2##) %##-####", "2##-%##-####", "2##.%##.####", "+1-3##-%##-####", "+1 (4##) %##-####", "+15##%######", "1-6##-%##-####", "7##-%##-####x###",
    "+44 20 7### ####", "+44 (0)1## ### ####", "020 7### ####", "07### ######", "+4479########", "01### ######", "+49 30 %######", "+49 (0)89 %####-##",
    "030 %#######", "+33 1 ## ## ## ##", "01 4# ## ## ##", "06.##.##.##.##", "+34 6## ### ###", "+39 06 #### ####", "+61 2 9### ####", "(02) 9### ####", "04## ### ###",
    "+91 98### #####", "+91-80-4### ####", "+81 3-3###-####", "+86 138 #### ####", "+55 11 9####-####", "+31 20 ### ####", "+46 8 ### ## ##",
]


def phone(rng):
    number = fill(rng, rng.choice(PHONES))
    # No exchange of North America begins with 1.
    return number.replace(" 1", " 2").replace("-1", "-2").replace(".1", ".2") if number[0] in "(27" or number.startswith(("+1", "1-")) and number[1] != "-" else number


def us_driver_license(rng):
    return fill(rng, rng.choice(["?#######", "?###-####-####", "########", "?##############"[:13], "??######", "?############", "?###-###-##-###-#"]))


def plate(rng):
    return fill(rng, rng.choice(["???-####", "#???###", "??## ???", "???####", "###-???"]))


MONTHS = "January February March April May June July August September October November December".split()


def date(rng):
    year, month, day = rng.randint(1930, 2023), rng.randint(1, 12), rng.randint(1, 28)
    name = MONTHS[month - 1]
    return rng.choice([
        f"{year}-{month:02}-{day:02}", f"{month:02}/{day:02}/{year}", f"{day:02}.{month:02}.{year}", f"{name} {day}, {year}", f"{day} {name} {year}", f"{name[:3]} {day}, {year}",
    ])


def age(rng):
    years = rng.randint(18, 97)
    return rng.choice([f"{years} years old", f"{years}-year-old", f"{years} y/o"])


def token(rng, count, alphabet=string.ascii_letters + string.digits):
    return until(rng, lambda: "".join(rng.choice(alphabet) for _ in range(count)), lambda t: sum(c.isdigit() for c in t) > 2)


def username(rng):
    return plain(rng.choice(words("given"))) + rng.choice(["_", "-", ""]) + str(rng.randint(10, 2010))


def password(rng):
    return plain(rng.choice(words("cities"))).capitalize() + str(rng.randint(10, 9999)) + rng.choice("!?#%+") + token(rng, 4)


def api_key(rng):
    return rng.choice([
        lambda: "sk-proj-" + token(rng, 48), lambda: "sk-ant-api03-" + token(rng, 80), lambda: "ghp_" + token(rng, 36), lambda: "github_pat_" + token(rng, 22) + "_" + token(rng, 59),
        lambda: "glpat-" + token(rng, 20), lambda: "xoxb-" + digits(rng, 12) + "-" + digits(rng, 12) + "-" + token(rng, 24), lambda: "AIza" + token(rng, 35),
        lambda: "sk_live_" + token(rng, 24), lambda: "npm_" + token(rng, 36), lambda: "hf_" + token(rng, 34), lambda: "SG." + token(rng, 22) + "." + token(rng, 43),
        lambda: "shpat_" + rng.randbytes(16).hex(), lambda: "dop_v1_" + rng.randbytes(32).hex(), lambda: "gsk_" + token(rng, 52), lambda: "pypi-" + token(rng, 90),
        lambda: "SK" + rng.randbytes(16).hex(), lambda: digits(rng, 10) + ":AA" + token(rng, 33), lambda: "AGE-SECRET-KEY-1" + token(rng, 58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
        lambda: "dckr_pat_" + token(rng, 27), lambda: "PMAK-" + rng.randbytes(12).hex() + "-" + rng.randbytes(17).hex(), lambda: "nvapi-" + token(rng, 64), lambda: "hvs." + token(rng, 90),
    ])()


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def jwt(rng):
    return f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded({'sub': digits(rng, 8), 'iat': int(digits(rng, 9))})}.{token(rng, 43)}"


def private_key(rng):
    kind = rng.choice(["", "RSA ", "EC ", "OPENSSH "])
    body = "\n".join(token(rng, 64) for _ in range(3))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


def connection_string(rng):
    scheme = rng.choice(["postgres", "postgresql", "mysql", "mongodb+srv", "redis", "amqp"])
    return f"{scheme}://{rng.choice(['app', 'admin', 'svc'])}:{token(rng, 10)}@db{rng.randint(1, 9)}.internal:{rng.randint(1000, 9999)}/main"


def uuid(rng):
    text = rng.randbytes(16).hex()
    return grouped(text[:12] + "4" + text[13:16] + "a" + text[17:], 8, 4, 4, 4, 12, by="-")


def bic(rng):
    return fill(rng, "????") + rng.choice(["DE", "GB", "FR", "US", "CH", "IT"]) + fill(rng, rng.choice(["??", "#?"])) + rng.choice(["", "XXX"])


NUMBERS = {
    "US_SSN": ssn, "US_ITIN": itin, "US_PASSPORT": lambda rng: fill(rng, rng.choice(["%########", "?########"])), "US_DRIVER_LICENSE": us_driver_license,
    "US_BANK_NUMBER": lambda rng: digits(rng, rng.choice([10, 12])), "ABA_ROUTING_NUMBER": aba, "US_NPI": npi, "US_MBI": mbi, "MEDICAL_LICENSE": dea,
    "UK_NHS": nhs, "UK_NINO": nino, "UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER": utr, "UK_PASSPORT": lambda rng: fill(rng, rng.choice(["%########", "??#######"])),
    "CA_SOCIAL_INSURANCE_NUMBER": ca_sin, "CA_HEALTH_NUMBER": ca_health, "AU_ABN": au_abn, "AU_ACN": au_acn, "AU_TFN": au_tfn, "AU_MEDICARE": au_medicare,
    "IN_AADHAAR": aadhaar, "IN_PAN": pan, "IN_VOTER_NUMBER": lambda rng: fill(rng, "???#######"), "IN_PASSPORT": lambda rng: fill(rng, "?%######"), "IN_GSTIN": gstin,
    "DE_TAX_ID": de_tax_id, "DE_ID_CARD": de_id_card, "DE_SOCIAL_SECURITY": de_social_security, "FR_INSEE": fr_insee, "FR_ID_CARD": lambda rng: digits(rng, 12),
    "ES_NIF": es_nif, "ES_NIE": es_nie, "IT_FISCAL_CODE": it_fiscal_code, "IT_VAT_CODE": it_vat, "PL_PESEL": pesel, "FI_PERSONAL_IDENTITY_CODE": hetu, "SG_NRIC_FIN": nric,
    "CREDIT_CARD": card, "CREDIT_DEBIT_CVV": lambda rng: digits(rng, 3), "CREDIT_DEBIT_EXPIRY": lambda rng: f"{rng.randint(1, 12):02}/{rng.randint(25, 33)}",
    "PIN": lambda rng: digits(rng, 4), "IBAN_CODE": iban, "SWIFT_CODE": bic, "CRYPTO": crypto, "IP_ADDRESS": ip, "MAC_ADDRESS": mac, "EMAIL_ADDRESS": email, "URL": url,
    "PHONE_NUMBER": phone, "VEHICLE_IDENTIFICATION_NUMBER": vin, "LICENSE_PLATE": plate, "AGE": age, "DATE_TIME": date, "USERNAME": username, "PASSWORD": password,
    "AWS_ACCESS_KEY": lambda rng: "AKIA" + "".join(rng.choice(UPPER + "234567") for _ in range(15)) + "7", "AWS_SECRET_KEY": lambda rng: token(rng, 38) + "/" + fill(rng, "?"),
    "API_KEY": api_key, "JWT": jwt, "PRIVATE_KEY": private_key, "CONNECTION_STRING": connection_string, "UUID": uuid,
    "NRP": lambda rng: rng.choice(["Norwegian", "Ghanaian", "Peruvian", "Portuguese", "Kenyan", "Swiss", "Lebanese", "Vietnamese", "Hungarian", "Icelandic"]),
}


def address(rng):
    street, number, city = rng.choice(words("streets")), rng.randint(1, 1900), rng.choice(words("cities"))
    state = rng.choice("AL AZ CA CO GA IA ID IL KS MA MI MN MT NC NM NY OH OR PA TN TX VA WA WI".split())
    postcode = fill(rng, "??") .replace("Q", "B") + fill(rng, "% %") + fill(rng, "??")
    return rng.choice([
        f"{number} {street}, {city}, {state} {digits(rng, 5)}", f"{number} {street}, Apt. {rng.randint(1, 40)}, {city}, {state} {digits(rng, 5)}", f"{number} {street}, {city}",
        f"{rng.randint(1, 200)} {street}, {city} {postcode}", f"Flat {rng.randint(1, 30)}, {rng.randint(1, 200)} {street}, {city} {postcode}", f"{number} {street}\n{city}, {state} {digits(rng, 5)}",
        f"P.O. Box {rng.randint(10, 9000)}, {city}, {state} {digits(rng, 5)}",
    ])


def given(rng):
    return rng.choice(words("given"))


def surname(rng):
    return rng.choice(words("surnames"))


def person(rng):
    return rng.choice([f"{given(rng)} {surname(rng)}"] * 5 + [f"{given(rng)} {rng.choice(UPPER)}. {surname(rng)}"])
