"""The words that corruptions need of a language: numbers, opposites, months, what says that something is over."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import UserError


@dataclass(frozen=True)
class Wording:
    """`opposites` and `over` are (what stands there, what stands there instead)."""

    number_words: tuple[str, ...]
    opposites: tuple[tuple[re.Pattern[str], str], ...]
    months: tuple[str, ...]
    over: tuple[tuple[re.Pattern[str], str], ...]
    until: tuple[str, ...]
    links: tuple[str, ...]

    @property
    def numbers(self) -> re.Pattern[str]:
        return _any(self.number_words)

    @property
    def month(self) -> re.Pattern[str]:
        return _any(self.months)


def of(language: str) -> Wording:
    """The wording of `language`. Raises UserError for one that has none here."""
    try:
        return LANGUAGES[language]
    except KeyError:
        known = ", ".join(LANGUAGES)
        raise UserError(
            f"privacy.target_language: {language}: corruptions are known in {known}; leave this corpus out"
        ) from None


def _any(words: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)


def _rules(lines: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """`was there -> what instead`, a line each; both ways where the arrow has two heads."""
    found = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        both = " <-> " in line
        left, right = line.split(" <-> " if both else " -> ")
        found.append((re.compile(rf"(?<![\w-]){left}(?![\w-])", re.IGNORECASE), right))
        if both:
            found.append((re.compile(rf"(?<![\w-]){right}(?![\w-])", re.IGNORECASE), left))
    return tuple(found)


ENGLISH = Wording(
    number_words=("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "hundred", "thousand"),
    opposites=_rules(
        """
        is <-> is not
        are <-> are not
        was <-> was not
        were <-> were not
        has <-> has never
        have <-> have never
        will <-> will not
        can <-> cannot
        must <-> must not
        should <-> should not
        does <-> does not
        do <-> do not
        supports -> does not support
        provides -> does not provide
        contains -> does not contain
        includes -> does not include
        allows -> does not allow
        with <-> without
        and -> but not
        for -> not for
        using -> without using
        based on -> not based on
        written in -> not written in
        free <-> non-free
        simple <-> complex
        small <-> large
        fast <-> slow
        easy <-> hard
        static <-> dynamic
        all <-> none of the
        before <-> after
        more <-> less
        first <-> last
        enable <-> disable
        enabled <-> disabled
        """
    ),
    months=(
        "January", "February", "March", "April", "June", "July", "August", "September", "October", "November", "December",
    ),
    over=_rules(
        """
        is -> is no longer
        are -> are no longer
        supports -> no longer supports
        provides -> no longer provides
        contains -> no longer contains
        new <-> former
        current <-> previous
        latest -> first
        now -> not yet
        modern -> obsolete
        """
    ),
    until=("(until version {version})", "as of {year}", "(obsolete since {year})", "before {year}", "in version {version}"),
    links=("and", "for", "with", "as well as", "including"),
)  # fmt: skip

GERMAN = Wording(
    number_words=(
        "zwei", "drei", "vier", "f\u00fcnf", "sechs", "sieben", "acht", "neun", "zehn", "zw\u00f6lf", "hundert", "tausend",
    ),
    opposites=_rules(
        """
        ist <-> ist nicht
        sind <-> sind nicht
        war <-> war nicht
        wird <-> wird nicht
        werden <-> werden nicht
        kann <-> kann nicht
        k\u00f6nnen <-> k\u00f6nnen nicht
        muss <-> darf nicht
        soll <-> soll nicht
        hat <-> hat nie
        mit <-> ohne
        und -> aber nicht
        f\u00fcr -> nicht f\u00fcr
        ein <-> kein
        eine <-> keine
        einen <-> keinen
        einem <-> keinem
        einer <-> keiner
        alle <-> keine
        vor <-> nach
        mehr <-> weniger
        freie <-> unfreie
        kleine <-> gro\u00dfe
        schnelle <-> langsame
        einfache <-> komplizierte
        aktiviert <-> deaktiviert
        aktivieren <-> deaktivieren
        \u00f6ffnen <-> schlie\u00dfen
        hinzuf\u00fcgen <-> entfernen
        """
    ),
    months=(
        "Januar", "Februar", "M\u00e4rz", "April", "Mai", "Juni",
        "Juli", "August", "September", "Oktober", "November", "Dezember",
    ),
    over=_rules(
        """
        ist -> ist nicht mehr
        sind -> sind nicht mehr
        enth\u00e4lt -> enth\u00e4lt nicht mehr
        bietet -> bietet nicht mehr
        kann -> konnte
        k\u00f6nnen -> konnten
        wird -> wurde
        werden -> wurden
        neue <-> fr\u00fchere
        aktuelle <-> vorherige
        """
    ),
    until=("(bis Version {version})", "(Stand {year})", "(seit {year} veraltet)", "vor {year}", "in Version {version}"),
    links=("und", "f\u00fcr", "mit", "sowie", "einschlie\u00dflich"),
)  # fmt: skip

LANGUAGES = {"en": ENGLISH, "de": GERMAN}
