"""Sentences of running text with values at known places: what the user's own text may lack, and a user's request may not.

A pattern holds slots in braces, each a draw of names.Values; `LABEL` says which entity a slot is (none: a look-alike that is
nobody's). Patterns are combined from openings, cues and ends, so that the tagger learns the cue and not the sentence.
"""

import re
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from pipelines.scrub.tagger.patterns import PATTERNS
from pipelines.scrub.tagger.phrases import ANYWHERE, CLAUSES, ENDS, OPENINGS
from pipelines.scrub.tagger.values import Values
from pipelines.spec.section import Language

LABEL = {
    "person": "PERSON",
    "given": "PERSON",
    "family": "PERSON",
    "someone": "PERSON",
    "place": "LOCATION",
    "address": "LOCATION",
    "line": "LOCATION",
    "street": "LOCATION",
    "unit": "LOCATION",
    "postcode": "LOCATION",
    "phone": "PHONE_NUMBER",
    "card": "CREDIT_CARD",
}
# Words for the slots that are nobody's: enough of them that no word stands for its slot.
FILLERS = {
    "noun": (
        "account order invoice contract parcel manual driver installer library parser song letter report "
        "patch keyboard statement translation documentation policy subscription booking ticket loan bill "
        "refund portfolio crash build test config"
    ),
    "thing": (
        "museum concert novel bridge song version Country Club garden airport factory painting film "
        "restaurant station theorem effect editor toolkit server school festival hospital church stadium"
    ),
    "quality": (
        "wrong late great broken boring empty lost cheap too long very good not ready out of date closed "
        "reliable outdated lovely"
    ),
    "role": (
        "manager engineer CEO teacher nurse president director president's assistant developer lawyer "
        "accountant spokesman editor Senior Analyst Project Manager minister bishop king princess owner"
    ),
    "kin": ("wife husband mother father brother sister son daughter friend colleague boss partner uncle neighbour grandfather"),
    "title": "Mr. Mrs. Ms. Dr. Mr Mrs Ms Dr Prof. Professor Sir Miss Herr Frau M. Mme Father",
    "nrp": (
        "German French Italian Chinese Slovenian American Russian Catholic Jewish Polish Canadian Japanese "
        "Danish Mexican Indian English Dutch Czech Croatian Swedish Norwegian Greek Turkish Spanish Portuguese Korean "
        "Vietnamese Ukrainian Hungarian Romanian Finnish Irish Scottish Welsh Swiss Austrian Belgian Brazilian Egyptian "
        "Israeli Arab Muslim Buddhist British European African Asian Australian Bulgarian Serbian Persian Latin"
    ),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday monday Tues yesterday",
    "month": "January February March April May June July August September October November December",
    "field": "physics law medicine computer science economics history English journalism sales marketing",
    "brand": (
        "Qt Python Java KDE GNOME Emacs Perl Linux Debian Apache MySQL Firefox OpenSSL Docker Kubernetes Ruby "
        "Rust Haskell Mono Gtk Windows LaTeX Unicode Postgres Redis Ceph Django Ada Scala Julia Jupyter Xfce "
        "Wayland Vulkan Ansible Puppet Samba Nginx Git"
    ),
    "word": "users accounts index table price config main value log data file name",
    "before": (
        "ask tell thank meet after before without than like against toward yesterday today later then once "
        "soon maybe only even through despite until although whether see know trust follow join replace quote "
        "send saw heard called named of by from to for with at as and or is was"
    ),
    "after": (
        "if that this about joined who whose when while because as to at wrote rewrote alone again first "
        "instead today into over under within since before after or nor so too here there only now never "
        "still just then presented added of by from for with is was has had"
    ),
}
SLOT = re.compile(r"\{(\w+)\}")


class Planted(NamedTuple):
    """A text and its values: (start, end, entity)."""

    text: str
    spans: tuple[tuple[int, int, str], ...]


class Writer:
    """Writes sentences for one language; the same seed writes the same."""

    def __init__(self, language: Language, seed: str) -> None:
        self.language: Language = language
        self.random = Random(seed)  # noqa: S311  (reproducible, no secret)
        self.clauses = [*CLAUSES.strip().split("\n"), *ANYWHERE]
        self.values = Values(language, self.random)
        self.patterns = PATTERNS[language] if language == "en" else PATTERNS[language] * 3 + PATTERNS["en"]

    def sentence(self) -> Planted:
        """A sentence or, now and then, two; some in lower case at the start, some without a full stop."""
        pattern = self._pattern()
        if self.random.random() < 0.15:
            pattern += self.random.choice((" ", "\n", "  ")) + self._pattern()
        sentence = self.fill(pattern)
        small = sentence.text.lower()
        if self.random.random() < 0.1 and len(small) == len(sentence.text):
            return sentence._replace(text=small)
        return sentence

    def _pattern(self) -> str:
        """One of the patterns, or a clause with an opening and an end."""
        if self.random.random() < (0.4 if self.language == "en" else 0.1):
            clause = self.random.choice(self.clauses)
            pattern = self.random.choice(OPENINGS) + clause + self.random.choice(ENDS)
            return pattern[0].upper() + pattern[1:] if self.random.random() < 0.7 else pattern
        return self.random.choice(self.patterns)

    def fill(self, pattern: str) -> Planted:
        parts: list[str] = []
        spans = []
        at = done = 0
        for slot in SLOT.finditer(pattern):
            before = pattern[done : slot.start()]
            value = self.draw(slot[1])
            parts += [before, value]
            at += len(before)
            if slot[1] in LABEL:
                spans.append((at, at + len(value), LABEL[slot[1]]))
            at += len(value)
            done = slot.end()
        return Planted("".join([*parts, pattern[done:]]), tuple(spans))

    def draw(self, slot: str) -> str:
        random = self.random
        if slot in FILLERS:
            return random.choice(FILLERS[slot].split())
        if slot in LABEL or slot == "company":
            return str(getattr(self.values, slot)())
        fillers: dict[str, Callable[[], str]] = {
            "num": lambda: str(random.randint(1, 10 ** random.randint(1, 9))),
            "year": lambda: str(random.randint(1900, 2030)),
            "date": self._date,
            "time": lambda: f"{random.randint(0, 23)}:{random.randint(10, 59)}",
            "ssn": lambda: f"{random.randint(100, 899)}-{random.randint(10, 99)}-{random.randint(1000, 9999)}",
            "iban": lambda: "".join(random.choices("ABCDEFGHIKLMNPRST", k=2)) + str(random.randint(10**13, 10**20)),
            "ip": lambda: ".".join(str(random.randint(0, 255)) for _ in range(4)),
        }
        return fillers[slot]()

    def _date(self) -> str:
        random = self.random
        year, month, day = random.randint(1930, 2030), random.randint(1, 12), random.randint(1, 28)
        name = random.choice(FILLERS["month"].split())
        return random.choice(
            (
                f"{year}-{month:02}-{day:02}",
                f"{day}.{month}.{year}",
                f"{month}/{day}/{year}",
                f"{name} {day}, {year}",
                f"{day} {name} {year}",
                f"{name} {year}",
                f"{year}-{month:02}-{day:02} 10:{day:02}:00",
                f"{day}/{month}/{year % 100:02}",
            )
        )
