"""Fake personal data, put at known places into a user's own texts: what a detector then misses is known exactly.

Nobody's data: names are drawn from Faker's lists, numbers are random with the check digits that real ones have, phone numbers
are valid ones of Google's libphonenumber. The same seed gives the same values, whatever Python's hash seed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from random import Random
from typing import Any, NamedTuple

from pipelines.spec.section import Language

WINDOW = 240  # characters of a user's text around the value: what a detector looks at
OWN = {"en": ("en_US", "en_GB"), "de": ("de_DE", "de_AT"), "fr": ("fr_FR", "fr_CA")}
# people are everywhere: names of other countries, in Latin letters
ABROAD = ("cs_CZ", "de_DE", "en_IN", "es_ES", "fi_FI", "fr_FR", "id_ID", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE", "tr_TR")
REGIONS = {"en": ("US", "GB"), "de": ("DE", "AT", "CH"), "fr": ("FR", "BE", "CH")}
CARDS = {"visa16": (4, 4, 4, 4), "mastercard": (4, 4, 4, 4), "discover": (4, 4, 4, 4), "amex": (4, 6, 5)}
DATES = {
    "en": ("%B %d, %Y", "%d %B %Y", "%m/%d/%Y", "%Y-%m-%d"),
    "de": ("%d.%m.%Y", "%Y-%m-%d"),
    "fr": ("%d/%m/%Y", "%Y-%m-%d"),
}
# Running text, for what is told by its surroundings: the user's own texts may hold no sentence.
SENTENCES = {
    ("en", "PERSON"): (
        "The idea came from {}, who also wrote the first version of the parser.",
        "Many thanks to {} for the patch that fixes the memory leak.",
        "We met {} last summer and talked about the next release.",
        "According to {}, the old interface will go away next year.",
        "In the end it was {} who found the bug and reported it.",
    ),
    ("de", "PERSON"): (
        "Die Idee stammt von {}, auch die erste Fassung des Parsers.",
        "Vielen Dank an {} für den Patch, der das Speicherleck schließt.",
        "Im Sommer trafen wir {} und sprachen über die nächste Ausgabe.",
        "Laut {} wird die alte Schnittstelle im nächsten Jahr entfallen.",
    ),
    ("fr", "PERSON"): (
        "L'idée vient de {}, qui a aussi écrit la première version.",
        "Merci beaucoup à {} pour le correctif de la fuite de mémoire.",
        "Nous avons rencontré {} l'été dernier pour parler de la suite.",
        "Selon {}, l'ancienne interface disparaîtra l'année prochaine.",
    ),
    ("en", "LOCATION"): (
        "The next meeting will be held in {} in spring.",
        "She moved from {} to the coast some years ago.",
        "Most of the users live in {} or nearby.",
    ),
    ("de", "LOCATION"): (
        "Das nächste Treffen findet im Frühjahr in {} statt.",
        "Die meisten Anwender leben in {} oder in der Nähe.",
    ),
    ("fr", "LOCATION"): ("La prochaine réunion se tiendra à {} au printemps.", "La plupart des utilisateurs vivent à {}."),
    ("en", "DATE_TIME"): ("The first release was made on {} and is still in use.", "Please answer before {} if you can."),
    ("de", "DATE_TIME"): ("Die erste Ausgabe erschien am {} und wird noch benutzt.", "Bitte bis zum {} antworten."),
    ("fr", "DATE_TIME"): ("La première version est sortie le {} et sert encore.", "Merci de répondre avant le {}."),
}


class Planted(NamedTuple):
    """text[start:end] is a fake value of this type; the rest is the user's."""

    text: str
    start: int
    end: int
    entity: str
    language: Language


class Identity(NamedTuple):
    """A whole person who does not exist."""

    name: str
    card: str
    address: str
    mail: str
    phone: str


class Fakes:
    """Draws fake values as people of a language write them."""

    def __init__(self, language: Language, seed: int) -> None:
        self.language, self.random = language, Random(f"{language} {seed}")  # noqa: S311  (reproducible, no secret)
        self._fakers: dict[str, Any] = {}

    def value(self, entity: str) -> str:
        """Raises KeyError for an entity that is not in MAKERS."""
        return MAKERS[entity](self)

    def faker(self, locale: str) -> Any:
        from faker import Faker

        if locale not in self._fakers:
            self._fakers[locale] = Faker(locale)
            self._fakers[locale].seed_instance(self.random.getrandbits(32))
        return self._fakers[locale]

    @property
    def own(self) -> Any:
        return self.faker(self.random.choice(OWN[self.language]))

    def digits(self, count: int) -> str:
        return "".join(self.random.choices("0123456789", k=count))

    def person(self) -> str:
        faker = self.own if self.random.random() < 0.6 else self.faker(self.random.choice(ABROAD))
        middle = f" {self.random.choice('ABCDEFGHJKLMNPRSTW')}." if self.random.random() < 0.1 else ""
        return f"{faker.first_name()}{middle} {faker.last_name()}"

    def location(self) -> str:
        kind = self.random.choice(("city", "country", "abroad"))
        if kind == "abroad":
            return str(self.faker("en_US").location_on_land()[2])
        return str(getattr(self.own, kind)()).partition(" (")[0]

    def email(self) -> str:
        faker = self.own
        return str(self.random.choice((faker.ascii_free_email, faker.ascii_company_email))())

    def url(self) -> str:
        faker = self.own
        return str(self.random.choice((faker.url, faker.uri))())

    def phone(self) -> str:
        """A number that could be given out in its country, in one of the ways it is written there."""
        import phonenumbers as numbers

        region = self.random.choice(REGIONS[self.language])
        kind = self.random.choice((numbers.PhoneNumberType.FIXED_LINE, numbers.PhoneNumberType.MOBILE))
        example = numbers.example_number_for_type(region, kind)
        if example is None:
            raise ValueError(f"libphonenumber has no example of {region}")
        head = numbers.national_significant_number(example)[:-6]
        number = example
        while number == example or not numbers.is_valid_number(number):
            number = numbers.parse(head + self.digits(6), region)
        style = self.random.choice(("NATIONAL", "INTERNATIONAL", "E164", "dots"))
        national = numbers.PhoneNumberFormat.NATIONAL
        if style != "dots":
            return str(numbers.format_number(number, getattr(numbers.PhoneNumberFormat, style)))
        return re.sub(r"\W+", ".", numbers.format_number(number, national)).strip(".")

    def ip(self) -> str:
        faker = self.faker("en_US")
        return str(self.random.choice((faker.ipv4, faker.ipv6))())

    def mac(self) -> str:
        address = self.faker("en_US").mac_address()
        return str(self.random.choice((address, address.upper(), address.replace(":", "-"))))

    def card(self) -> str:
        kind = self.random.choice(sorted(CARDS))
        return grouped(self.faker("en_US").credit_card_number(kind), CARDS[kind], self.random.choice(("", " ", "-")))

    def iban(self) -> str:
        number = self.faker({"en": "en_GB", "de": "de_DE", "fr": "fr_FR"}[self.language]).iban()
        return grouped(number, (4,) * 9, self.random.choice(("", " ")))

    def bitcoin(self) -> str:
        """An address of the first kind: base58 of version, hash and checksum."""
        content = b"\0" + self.random.randbytes(20)
        number = int.from_bytes(content + sha256(sha256(content).digest()).digest()[:4])
        letters = ""
        while number:
            number, digit = divmod(number, 58)
            letters += "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit]
        return "1" + letters[::-1]

    def date(self) -> str:
        return str(self.faker("en_US").date_object().strftime(self.random.choice(DATES[self.language])))

    def nhs(self) -> str:
        """Ten digits, the last a check digit modulo 11."""
        while True:
            number = self.digits(9)
            check = -sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1), strict=True)) % 11
            if check < 10:
                return grouped(f"{number}{check}", (3, 3, 4), self.random.choice(("", " ", "-")))

    def nino(self) -> str:
        number = f"{self.random.choice(('AB', 'CE', 'JT', 'RX', 'WL'))}{self.digits(6)}{self.random.choice('ABCD')}"
        return grouped(number, (2, 2, 2, 2, 1), self.random.choice(("", " ")))


MAKERS: dict[str, Callable[[Fakes], str]] = {
    "PERSON": Fakes.person,
    "LOCATION": Fakes.location,
    "EMAIL_ADDRESS": Fakes.email,
    "URL": Fakes.url,
    "PHONE_NUMBER": Fakes.phone,
    "IP_ADDRESS": Fakes.ip,
    "MAC_ADDRESS": Fakes.mac,
    "CREDIT_CARD": Fakes.card,
    "IBAN_CODE": Fakes.iban,
    "CRYPTO": Fakes.bitcoin,
    "DATE_TIME": Fakes.date,
    "US_SSN": lambda fakes: str(fakes.faker("en_US").ssn()),
    "US_ITIN": lambda fakes: str(fakes.faker("en_US").itin()),
    "UK_NHS": Fakes.nhs,
    "UK_NINO": Fakes.nino,
}


def grouped(digits: str, sizes: Sequence[int], separator: str) -> str:
    """`digits` in groups of these sizes."""
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return separator.join(group for start, end in zip((0, *ends), ends, strict=False) if (group := digits[start:end]))


def plant(texts: Sequence[str], language: Language, entities: Sequence[str], count: int, seed: int) -> list[Planted]:
    """`count` fake values of each entity that can be made, each in one of `texts` in turn (cut to some WINDOW characters).

    What is told by its surroundings (names, places, dates) stands in a sentence of its own between the user's lines or
    sentences; all else stands bare between two of the user's words.
    """
    planted = []
    for entity in entities if texts else ():
        fakes = Fakes(language, seed)
        for number in range(count if entity in MAKERS else 0):
            value = fakes.value(entity)
            planted.append(_planted(texts[number % len(texts)], value, entity, language, fakes.random))
    return planted


def plant_pairs(
    pairs: Sequence[tuple[str, str]], languages: tuple[Language, Language], entities: Sequence[str], count: int, seed: int
) -> list[Planted]:
    """As `plant`, of translations: each value, of the source's language, on both sides of a pair (source, target, ...)."""
    planted: list[Planted] = []
    for one in plant([source for source, _ in pairs], languages[0], entities, count, seed):
        value = one.text[one.start : one.end]
        random = Random(f"{seed} {value}")  # noqa: S311
        target = pairs[len(planted) // 2 % len(pairs)][1]
        planted += [one, _planted(target, value, one.entity, languages[1], random)]
    return planted


def _planted(text: str, value: str, entity: str, language: Language, random: Random) -> Planted:
    window = _window(text, random)
    sentences = SENTENCES.get((language, entity), ())
    placed, start = _in_sentence(window, value, sentences, random) if sentences else _bare(window, value, random)
    return Planted(placed, start, start + len(value), entity, language)


def _window(text: str, random: Random) -> str:
    if len(text) <= WINDOW:
        return text
    starts = [0, *(match.end() for match in re.finditer(r"\s+", text[: len(text) - WINDOW]))]
    start = random.choice(starts)
    cut = text[start : start + WINDOW]
    return cut[: cut.rfind(" ")] if " " in cut else cut


def _bare(text: str, value: str, random: Random) -> tuple[str, int]:
    """Between words without digits: beside another number it would be a longer one."""
    words = list(re.finditer(r"\S+", text))
    plain = [not re.search(r"\d", word[0]) for word in words]
    starts = [word.start() for number, word in enumerate(words) if number and plain[number] and plain[number - 1]]
    if not starts:
        before = f"{text} " if text else ""
        return before + value, len(before)
    start = random.choice(starts)
    return f"{text[:start]}{value} {text[start:]}", start


def _in_sentence(text: str, value: str, sentences: Sequence[str], random: Random) -> tuple[str, int]:
    before, after = random.choice(sentences).split("{}")
    ends = [(match.end(), match[0]) for match in re.finditer(r"(?<=[.!?]) |\n", text)]
    where, separator = random.choice([*ends, (len(text), "")])
    head = text[:where]
    if head and not separator:
        head += ". " if head[-1].isalnum() else " "
    return f"{head}{before}{value}{after}{separator}{text[where:]}", len(head) + len(before)


def identities(count: int, seed: int) -> list[Identity]:
    """`count` people who do not exist, no two of whom share anything that names them.

    Their cards are of the ranges that Presidio knows, not of Mastercard's newer one (2221 to 2720); `plant` uses that too.
    """
    return list(_People(seed).draw(count))


class _People:
    def __init__(self, seed: int) -> None:
        self.fakes = Fakes("en", seed)
        self._taken: set[str] = set()

    def draw(self, count: int) -> Iterator[Identity]:
        for number in range(count):
            name, card, phone = (self._new(entity) for entity in ("PERSON", "CREDIT_CARD", "PHONE_NUMBER"))
            address = self.fakes.own.address().replace("\n", ", ")
            login = re.sub(r"[^a-z]+", ".", name.casefold().encode("ascii", "ignore").decode()).strip(".")
            yield Identity(name, card, f"{address} #{number}", f"{login}.{number}@{self.fakes.own.domain_name()}", phone)

    def _new(self, entity: str) -> str:
        while (value := self.fakes.value(entity)) in self._taken or (entity == "CREDIT_CARD" and value[0] == "2"):
            pass
        self._taken.add(value)
        return value
