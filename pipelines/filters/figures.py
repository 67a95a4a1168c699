"""Numbers in an answer that its source does not give, however either writes them: 1,000 = 1.000 = 1 000, 3.5 = 3,5.

Number words of English, German and French count where the source has them; a number word in an answer is not looked at.
"""

import re
import unicodedata

from pipelines.filters.words import bare

_BLANKS = " \u00a0\u2009\u202f'\u2019"
_NUMBER = rf"\d{{1,3}}(?:[{_BLANKS}]\d{{3}})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,]\d+)*"  # grouped by blanks; or points and commas
_number = re.compile(_NUMBER)
_own = re.compile(rf"(?<![^\W\d])(?<!\d)(?<!\d[.,])(?:{_NUMBER})")
_grouped = re.compile(r"\d{1,3}(?:(?:\.\d{3})+(?:,\d+)?|(?:,\d{3})+(?:\.\d+)?)\Z")
_digits, _marks = re.compile(r"\d+"), re.compile(r"\D")
_full_hour = re.compile(r"(?<=\d)[:.]00(?![.,:]?\d)")
_evening = re.compile(r"\b(1[01]|0?[1-9])(?:[:.]\d\d)?\s?p\.?m\b", re.IGNORECASE)
_WORDS = {
    0: "zero null zéro none no",
    1: "one first once single eins ein eine einen einer erste ersten erster un une premier première",
    2: "two second twice double dual both pair zwei zweite zweiten beide deux deuxième",
    3: "three third triple drei dritte dritten trois",
    4: "four fourth vier vierte vierten quatre",
    5: "five fifth fünf fünfte cinq",
    6: "six sixth sechs sechste",
    7: "seven seventh sieben siebte sept",
    8: "eight eighth acht achte huit",
    9: "nine ninth neun neunte neuf",
    10: "ten tenth zehn zehnte dix",
    11: "eleven elf onze",
    12: "twelve dozen zwölf dutzend douze",
    13: "thirteen dreizehn treize",
    14: "fourteen vierzehn quatorze",
    15: "fifteen fünfzehn quinze",
    16: "sixteen sechzehn seize",
    17: "seventeen siebzehn",
    18: "eighteen achtzehn",
    19: "nineteen neunzehn",
    20: "twenty zwanzig vingt",
    30: "thirty dreißig trente",
    40: "forty vierzig quarante",
    50: "fifty fünfzig cinquante",
    60: "sixty sechzig soixante",
    70: "seventy siebzig",
    80: "eighty achtzig",
    90: "ninety neunzig",
    100: "hundred hundert cent",
    1000: "thousand tausend mille",
    1_000_000: "million",
}
_MONTHS = (
    "jan january januar jänner janvier", "feb february februar février", "mar march märz mars", "apr april avril", "may mai",
    "jun june juni juin", "jul july juli juillet", "aug august août", "sep sept september septembre",
    "oct okt october oktober octobre", "nov november novembre", "dec dez december dezember décembre",
)  # fmt: skip
_of_word = {word: str(number) for number, words in _WORDS.items() for word in words.split()}
_of_month = {word: str(number) for number, words in enumerate(_MONTHS, 1) for word in words.split()}
_words = re.compile(r"[^\W\d_]+").findall


def new_numbers(source: str, output: str) -> list[str]:
    """The numbers that stand in `output` and nowhere in `source`, normalised. Linear in the texts.

    Digits within a name (MP3, libnl-3.so) are the name's.
    """
    output = _full_hour.sub("", bare(output))
    wanted = [_readings(match[0]) for match in _own.finditer(output)]
    if not wanted:
        return []
    known = _given(bare(source))
    return [" ".join(readings[0]) for readings in wanted if not any(known.issuperset(reading) for reading in readings)]


def _given(source: str) -> set[str]:
    """Every number that `source` gives, in whatever form."""
    known = {part for match in _number.finditer(source) for reading in _readings(match[0]) for part in reading}
    folded = _words(source.casefold())
    known.update(_of_word[word] for word in folded if word in _of_word)
    if known:
        known.update(_of_month[word] for word in folded if word in _of_month)
        known.update(str(int(match[1]) + 12) for match in _evening.finditer(source))
    return known


def _readings(written: str) -> list[list[str]]:
    """The ways to read a number as written, each the numbers that must all be known.

    `1.500` is 1500, or 1.5. More than two parts (a date, a version) are so many numbers; and so may be what blanks part.
    """
    parts = _digits.findall(written)
    if len(parts) == 1:
        return [[_plain(written)]]
    marks = _marks.findall(written)
    if marks[0] not in ".,":
        fraction = marks[-1] in ".,"
        whole = "".join(parts[:-1] if fraction else parts)
        return [[_point(whole, parts[-1] if fraction else "")], [_plain(part) for part in parts]]
    readings = []
    if _grouped.match(written):
        fraction = len(set(marks)) == 2
        readings.append([_point("".join(parts[:-1]), parts[-1]) if fraction else _plain("".join(parts))])
    readings.append([_point(*parts)] if len(parts) == 2 else [_plain(part) for part in parts])
    return readings


def _point(whole: str, fraction: str) -> str:
    fraction = _ascii(fraction).rstrip("0")
    return f"{_plain(whole)}.{fraction}" if fraction else _plain(whole)


def _plain(digits: str) -> str:
    return _ascii(digits).lstrip("0") or "0"


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(unicodedata.decimal(digit)) for digit in digits)
