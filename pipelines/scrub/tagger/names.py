"""Faker, a locale at a time, and its public lists of names."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pipelines.scrub.tagger.words import LISTS, normal, split

PROVIDERS = tuple(f"faker.providers.{name}" for name in ("person", "address", "phone_number", "company"))
# The first of a language speak it; the others are those whose people write in it too. Weights: draws.
HOME = {"en": ("en_US", "en_GB", "en_IE", "en_AU"), "de": ("de_DE", "de_AT", "de_CH"), "fr": ("fr_FR", "fr_CA", "fr_CH")}
ABROAD = (
    "en_US",
    "en_GB",
    "en_IN",
    "en_NG",
    "de_DE",
    "fr_FR",
    "es_ES",
    "es_MX",
    "it_IT",
    "nl_NL",
    "pl_PL",
    "cs_CZ",
    "sk_SK",
    "hu_HU",
    "da_DK",
    "sv_SE",
    "no_NO",
    "fi_FI",
    "et_EE",
    "pt_BR",
    "pt_PT",
    "ro_RO",
    "hr_HR",
    "sl_SI",
    "tr_TR",
    "vi_VN",
    "id_ID",
    "ig_NG",
    "is_IS",
    "lt_LT",
    "lv_LV",
    "az_AZ",
    "fr_CH",
    "de_AT",
    "en_AU",
    "yo_NG",
    "zu_ZA",
    "sq_AL",
)
OTHER_SCRIPTS = ("ru_RU", "uk_UA", "el_GR", "ja_JP", "zh_CN", "ko_KR", "he_IL", "bg_BG", "ar_AA", "hi_IN")
GIVEN, FAMILY, PLACE, COUNTRY, STREET, PLAIN = range(len(LISTS))


@lru_cache(maxsize=128)
def faker(locale: str) -> Any:
    """Faker of a locale, that draws the same from the same seed in every process."""
    from faker.factory import Factory

    made = Factory.create(locale, providers=list(PROVIDERS))
    providers: list[Any] = made.get_providers()
    for provider in providers:
        # Italy's come from a set, in the order of the process's hash seed: other cities, another tagger on every run
        if isinstance(cities := getattr(provider, "cities", ()), list):
            provider.cities = sorted(cities)
    return made


@lru_cache(maxsize=1)
def lists() -> tuple[frozenset[str], ...]:
    """The words, in `normal` form, of Faker's given names, family names, places, countries and street words (LISTS)."""
    found: dict[str, set[str]] = {name: set() for name in LISTS[:PLAIN]}
    for locale in dict.fromkeys((*ABROAD, *OTHER_SCRIPTS)):
        for provider in faker(locale).get_providers():
            for attribute in dir(provider):
                kind = _list_of(attribute)
                values = getattr(provider, attribute) if kind else ()
                if kind and isinstance(values, (tuple, list, dict)):
                    found[kind] |= _words(values)
    return tuple(frozenset(word for word in found[name] if len(word) > 1) for name in LISTS[:PLAIN])


@lru_cache(maxsize=4)
def dictionary(language: str) -> frozenset[str]:
    """Plain words of a language, and of English, with their regular endings: the lemmas of spaCy's lemmatizers.

    Those of packages that are not there are left out: then the data's own use of words has to do.
    """
    from spacy.lookups import Lookups
    from spacy.util import get_package_path, is_package

    from pipelines.scrub.engine.presidio import TAGGERS

    found: set[str] = set()
    for package in sorted({TAGGERS[language], TAGGERS["en"]}):
        if not is_package(package):
            continue
        for folder in sorted(get_package_path(package).glob("*/lemmatizer/lookups")):
            lookups = Lookups().from_disk(folder)
            if lookups.has_table("lemma_index"):
                table = lookups.get_table("lemma_index")
                for kind in ("noun", "verb", "adj"):
                    for lemma in table.get(kind, ()):
                        found |= _forms(lemma, kind)
    # WordNet's nouns hold names too
    return frozenset(word for word in found if word.isalpha() and len(word) > 1) - frozenset().union(*lists()[:STREET])


def _forms(lemma: str, kind: str) -> set[str]:
    """A lemma with its regular English endings."""
    if kind == "adj":
        return {lemma}
    plural = lemma[:-1] + "ies" if lemma.endswith("y") else lemma + ("es" if lemma.endswith(("s", "x", "ch", "sh")) else "s")
    stem = lemma.removesuffix("e")
    return {lemma, plural, *((stem + "ing", stem + "ed") if kind == "verb" else ())}


def _list_of(attribute: str) -> str:
    if attribute.startswith("_") or "format" in attribute or "romanized" in attribute:
        return ""
    for part, kind in (
        ("first_name", "given"),
        ("last_name", "family"),
        ("cities", "place"),
        ("city_names", "place"),
        ("states", "country"),
        ("countries", "country"),
        ("regions", "country"),
        ("provinces", "country"),
        ("departments", "country"),
        ("street_suffix", "street"),
        ("street_prefix", "street"),
    ):
        if part in attribute and "abbr" not in attribute and "postcode" not in attribute:
            return kind
    return ""


def _words(values: Iterable[object]) -> set[str]:
    flat = (part for value in values for part in (value if isinstance(value, (tuple, list)) else (value,)))
    return {normal(word.strip()) for value in flat if isinstance(value, str) for word in split(value) if word.strip().isalpha()}
