"""Values that are nobody's: names, places, addresses, phone and card numbers of many countries, as people write them."""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any

from pipelines.scrub.tagger.names import ABROAD, HOME, OTHER_SCRIPTS, faker

WORDS = {
    # Faker has a country's cities in a few locales only; these places are those that running text names most.
    "places": (
        "London Paris Berlin Madrid Rome Vienna Tokyo Moscow Chicago Boston Sydney Toronto Amsterdam Brussels "
        "Prague Dublin Oslo Munich Hamburg Lisbon Seattle Texas California Ohio Florida Europe Africa Asia "
        "Scotland England Wales Bavaria Hawaii Cairo"
    ),
    "directions": "North South East West Northern Southern New Upper Lower Central",
    "syllables": (
        "ka mo ri sel ten bur lan dor ve nis tor hal gra mer pol zu ba ste vic ros al en wil ham kir ost fjo lau tam"
    ),
    "ends": "ton burg ville dorf ham stad by ovo ice ia o a hausen wick mouth na en",
    "saints": "San Port Saint Bad Los Fort Mount",
    "particles": "van von de da del di al bin",
    "streets": (
        "Street St. St Avenue Ave Road Rd Lane Drive Dr Blvd Way Court Place Square Hill Terrace Close "
        "Crescent Bridge Mews Parkway Trail Loop"
    ),
    "compounds": "straße strasse gatan vej katu laan utca weg",
    "units": "Apt. Suite Unit Flat Floor Apartment Room Appt No. #",
    "firms": "Inc. Ltd GmbH Corporation Group Systems Labs Bank Media Foundation LLC Orchestra",
    "starts": (
        "aqua data net soft micro inter trans bio cloud red blue open app fin med eco nova pay shop tele info "
        "geo logi vero propu con"
    ),
    "finals": "ware tech sys ly ify nova bank lab works hub tron ra base dero",
}
LETTERS = "ABCDEFGHIKLMNOPRSTUVW"
# Issuers' first digits and lengths, ISO/IEC 7812; Maestro has 12 to 19.
CARDS = (
    *(("4", size) for size in (13, 16, 16, 16, 19)),
    *((start, 16) for start in ("51", "55", "2221", "6011", "65", "3528", "5020", "62", "6011")),
    *((start, 15) for start in ("34", "37", "2131", "1800")),
    *((start, 14) for start in ("36", "38")),
    *((start, 12) for start in ("5018", "6304", "676", "5893")),
    *(("6759", 13), ("6763", 19)),
)
# Sizes of a phone number's groups around the world.
GROUPS = (
    (3, 3, 4), (3, 4), (2, 2, 2, 2), (4, 3, 3), (3, 7), (2, 3, 4), (5, 6), (4, 6), (3, 3, 3), (2, 4, 4), (1, 3, 3, 4),
    (2, 2, 2, 2, 2), (3, 2, 2), (4, 4), (3, 6), (2, 7), (4, 3, 4), (3, 3, 2, 2),
)  # fmt: skip


class Values:
    """Draws of values for one language; the same seed draws the same values, whatever the process."""

    def __init__(self, language: str, random: Random) -> None:
        self.random = random
        self._home = HOME[language]
        for locale in (*self._home, *ABROAD, *OTHER_SCRIPTS):
            faker(locale).seed_instance(random.getrandbits(32))

    def _faker(self) -> Any:
        draw = self.random.random()
        return faker(self.random.choice(self._home if draw < 0.35 else ABROAD if draw < 0.95 else OTHER_SCRIPTS))

    def _word(self, kind: str) -> str:
        return self.random.choice(WORDS[kind].split())

    def _pick(self, *choices: tuple[float, Callable[[], str]]) -> str:
        """What one of the choices draws, by their weights."""
        return str(self.random.choices([choice for _, choice in choices], [weight for weight, _ in choices])[0]())

    def given(self) -> str:
        return self._dress(self._faker().first_name())

    def family(self) -> str:
        return self._dress(self._faker().last_name())

    def person(self) -> str:
        """A name in one of the forms that people write, mostly given and family name."""
        source = self._faker()
        first, last, letter = str(source.first_name()), str(source.last_name()), self.random.choice(LETTERS)
        return self._dress(
            self._pick(
                (9, lambda: f"{first} {last}"),
                (1.5, lambda: f"{first} {letter}. {last}"),
                (1, lambda: f"{first} {letter} {last}"),
                (0.7, lambda: f"{letter}. {last}"),
                (0.5, lambda: f"{first} {source.first_name()} {last}"),
                (0.4, lambda: f"{first} {last}-{source.last_name()}"),
                (0.3, lambda: f"{first} {self._word('particles')} {last}"),
                (0.3, lambda: f"{first} {last[0]}."),
                (0.2, lambda: f"{first} {letter.lower()}. {last}"),
                (0.3, lambda: f"{first} {last.upper()}"),
            )
        )

    def someone(self) -> str:
        """A name in full, or the given or the family name alone."""
        return self._pick((6, self.person), (2, self.given), (2, self.family))

    def _dress(self, name: str) -> str:
        """As typed: now and then without accents, in capitals."""
        draw = self.random.random()
        if draw < 0.12:
            name = "".join(mark for mark in unicodedata.normalize("NFKD", name) if not unicodedata.combining(mark))
        return name.upper() if draw > 0.96 else name

    def place(self) -> str:
        name = self._pick(
            (4, lambda: self._faker().city()),
            (3, self.country),
            (2, self._unlisted),
            (0.6, lambda: f"{self._word('directions')} {self.country()}"),
            (0.6, lambda: faker("en_US").state()),
        )
        return name.upper() if self.random.random() < 0.12 else name

    def country(self) -> str:
        return self.random.choice(_countries())

    def _unlisted(self) -> str:
        """A place of no list: most that are named in a text stand in none."""
        name = "".join(self._word("syllables") for _ in range(self.random.randint(1, 3))) + self._word("ends")
        return f"{self._word('saints')} {name.capitalize()}" if self.random.random() < 0.12 else name.capitalize()

    def street(self) -> str:
        return self._pick(
            (3, lambda: self._faker().street_name()),
            (1, lambda: f"{self._faker().last_name()} {self._word('streets')}"),
            (1, lambda: self._unlisted() + self._word("compounds")),
        )

    def number(self) -> str:
        """A house's."""
        text = str(self.random.randint(1, 10 ** self.random.randint(1, 5)))
        return text + self.random.choice("abcABC") if self.random.random() < 0.07 else text

    def unit(self) -> str:
        return f"{self._word('units')} {self.random.randint(1, 999)}"

    def postcode(self) -> str:
        return self._pick((3, lambda: self._faker().postcode()), (1, lambda: str(self.random.randint(1000, 99999))))

    def line(self) -> str:
        """Street and number."""
        box = self.random.randint(10, 9999)
        return self._pick(
            (3, lambda: f"{self.number()} {self.street()}"),
            (3, lambda: f"{self.street()} {self.number()}"),
            (1, lambda: f"{self.street()}, {self.number()}"),
            (1.5, lambda: f"{self.number()} {self.street()} {self.number()}"),
            (0.4, lambda: f"P.O. Box {box}"),
            (0.4, lambda: f"{self.street()} u. {self.number()}."),
            (0.5, lambda: f"{self.random.choice(('Unit', 'PSC'))} {self.random.randint(100, 9999)}, Box {box}"),
        )

    def address(self) -> str:
        """A postal address, in one line or several."""
        random = self.random
        if random.random() < 0.25:
            return str(self._faker().address()).strip()
        parts = [self.line()]
        if random.random() < 0.5:
            parts[0] += random.choice((" ", ", ", "\n ", "\n", "  ")) + self.unit()
        if random.random() < 0.85:
            parts.append(self._town())
        if random.random() < 0.6:
            parts.append(
                self._pick(
                    (2, self.country),
                    (3, lambda: f"{self.country()} {self.postcode()}"),
                    (1, self._state),
                    (1, lambda: f"{self._state()} {self.postcode()}"),
                )
            )
        return random.choice((", ", "\n", "\n ", "\n    ", " ", ",\n", "\n\n")).join(parts)

    def _town(self) -> str:
        return self._pick(
            (3, self.place),
            (2, lambda: f"{self.postcode()} {self.place()}"),
            (2, lambda: f"{self.place()} {self.postcode()}"),
            (1.5, lambda: f"{self.place()}, {self._state()} {self.postcode()}"),
            (1, lambda: f"{self.place()}\n, {self._state()}"),
        )

    def _state(self) -> str:
        return self._pick(
            (2, lambda: faker("en_US").state_abbr()),
            (1, lambda: "".join(self.random.choices(LETTERS, k=2))),
            (1, lambda: str(self.random.randint(1, 99))),
            (1, lambda: faker("en_US").state()),
        )

    def phone(self) -> str:
        """A telephone number in one of the ways of the world."""
        random = self.random
        if random.random() < 0.35:
            return str(self._faker().phone_number())
        groups = random.choice(GROUPS)
        parts = ["".join(random.choices("0123456789", k=size)) for size in groups]
        mark = random.choice((" ", "-", "-", ".", " ", "/", "") if len(groups) > 2 else (" ", "-", "/", " ", "-"))
        start = f"({parts[0]})" + random.choice((" ", "")) if random.random() < 0.2 else parts[0] + mark
        abroad = self._pick(
            (6, lambda: ""),
            (1, lambda: f"+{random.randint(1, 99)} "),
            (1, lambda: f"+{random.randint(1, 999)}-"),
            (0.7, lambda: f"00{random.randint(20, 99)} "),
            (0.7, lambda: f"+{random.randint(30, 60)}(0)"),
            (0.5, lambda: "0"),
            (0.4, lambda: "001-"),
        )
        extension = f"{random.choice(('x', ' ext. ', ' x'))}{random.randint(10, 9999)}" if random.random() < 0.08 else ""
        return abroad + start + mark.join(parts[1:]) + extension

    def card(self) -> str:
        """A payment card's number that passes Luhn's check."""
        start, size = self.random.choice(CARDS)
        digits = start + "".join(self.random.choices("0123456789", k=size - len(start) - 1))
        total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
        digits += str(-total % 10)
        mark = self.random.choice(("", "", "", " ", "-"))
        cuts = {14: (4, 10, 14), 15: (4, 10, 15)}.get(size, (4, 8, 12, 16, 20))
        return mark.join(part for first, last in zip((0, *cuts), cuts, strict=False) if (part := digits[first:last]))

    def company(self) -> str:
        return self._pick(
            (2, lambda: self._faker().company()),
            (3, self._brand),
            (1, lambda: f"{self._brand()} {self._word('firms')}"),
            (0.6, lambda: "".join(self.random.choices(LETTERS, k=self.random.randint(2, 4)))),
        )

    def _brand(self) -> str:
        start, final = self._word("starts"), self._word("finals")
        return start.capitalize() + (final if self.random.random() < 0.8 else final.capitalize())


@lru_cache(maxsize=1)
def _countries() -> tuple[str, ...]:
    from faker.providers.address.en_US import Provider

    places = WORDS["places"].split()
    return (*(str(name) for name in Provider.countries if "(" not in name), *places, *places)
