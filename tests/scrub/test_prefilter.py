"""The prefilter lets through whatever could match: spans equal to those of a stock engine, on text made to mislead it."""

import string
from functools import cache
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.scrub.engine import Engine, presidio
from pipelines.scrub.engine.local import in_a_word
from pipelines.scrub.engine.phones import Phones
from pipelines.scrub.engine.prefilter import Prefilter
from pipelines.scrub.engine.presidio import Presidio
from pipelines.spec import ENTITIES, Privacy, Rule

RULES = (
    Rule(entity="TICKET", patterns=(r"\btkt[-_ ]?\d{4,60}\b", r"(?<!x)Kasse[sz]?\s+\w+"), context=("ticket",)),
    Rule(entity="ODD", patterns=(r"(?:foo){e<=1}", r"[[a-z]--[aeiou]]{6}", r"(?i)\p{Lu}{3}#", r"(\w)\1{3}!", r"straße")),
)
POLICY = Privacy(level="patterns", entities=(*ENTITIES, "TICKET", "ODD"), rules=RULES, score=0.0)
PIECES = (
    "maria.garcia@example.co.uk", "A.B@x.org", "https://example.org/link", "www.foo.com", "'http://a.de'", "10.0.0.1", "::1",
    "2001:db8::ff00:42:8329", "4012888888881881", "4012-8888-8888-1881", "DE89370400440532013000", "(212) 555-0172", "911",
    "+49 30 901820", "0049 30 901820", "+290 2345", "2003 16:15:18 +1100", "030/123456", "078-05-1120", "123456789",
    "AB123456C",
    "00:1B:44:11:3A:B7", "001B.4411.3AB7", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "01/02/2003", "2003-02-10T16:15:18Z",
    "9434765919",
    "Ann Lee <a@example.org>", "tkt-12345", "TKT 1234", "Kasse 7", "\u212aasse 7", "ka\u017f\u017fe x", "foo", "fo",
    "xyzwvt", "ABC#", "aaaa!",
    "STRASSE", "stra\u00dfe", "phone", "ticket", "bank", "link", "IBAN", "call", "ssn", "#123456", "x", "ext. 12", "-",
    "\u2014", "\u00a0", "\u2028", "\u0085", "\x1c", "\x0b",
    "\u0130", "\u0131", "\u0663\u0664\u0665\u0666\u0667\u0668\u0669", "\uff11\uff12\uff13\uff14", "\u00b2", "\u0301", "é",
    "Ж", "\u200b", "\ud800", "\x00", ".", ",", ":", "/", "@", "<", ">", "\n", "\t", " ",
)  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(string.printable, max_size=4), st.text(max_size=2)), max_size=12)


@cache
def both() -> tuple[Presidio, Engine]:
    stock = presidio.load(POLICY, "en")
    return stock, Engine(stock, POLICY)


def found_by(stock: Presidio, text: str) -> list[tuple[Any, ...]]:
    results = stock.analyzer.analyze(text, "en", entities=list(POLICY.entities), score_threshold=POLICY.score)
    return sorted((result.start, result.end, result.entity_type, result.score) for result in results)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(["", " ", "\n"]))
def test_spans_are_those_of_a_stock_engine(pieces: list[str], between: str) -> None:
    stock, engine = both()
    # spaCy's tokenizer, which stock Presidio runs, takes no lone surrogate
    text = between.join(pieces).encode("utf-8", "replace").decode()
    assert [tuple(span) for span in engine.find([text])[0]] == found_by(stock, text)


@pytest.mark.parametrize("piece", [piece for piece in PIECES if len(piece) > 5 and piece.isascii()])
def test_each_piece_alone_and_among_letters(piece: str) -> None:
    stock, engine = both()
    texts = [piece, f"é{piece}", f"{piece}é", f"Grüße an {piece}, call", f"phone {piece}"]
    assert [[tuple(span) for span in spans] for spans in engine.find(texts)] == [found_by(stock, text) for text in texts]


def test_text_without_personal_data_runs_no_recognizer() -> None:
    stock, _ = both()
    shipped = [each for each in stock.recognizers if not each.name.startswith(("privacy.", "Mailbox"))]
    shipped = [each for each in shipped if each.name != "PhoneRecognizer"]
    text = "A library to read and to write files, with bindings and documentation."
    assert Prefilter(shipped).wanted(text) == ([], [])


@pytest.mark.parametrize(
    "local", [r"\btkt[-_.]?\d{4,60}\b", r"(?<![\w:])::(?!\.\d)", r"x/[^\s()]*", r"(?:[a-z.\-]+)(?P<a>\w)\1"]
)
def test_what_cannot_cross_a_space(local: str) -> None:
    assert in_a_word(local)
    assert not any(map(in_a_word, (f"{local} ", f"{local}.", f"^{local}", f"{local}$", rf"{local}\s", rf"{local}\W")))
    assert not any(map(in_a_word, (f"{local}[^a]", f"{local}[ a]", rf"{local}[\Da]", rf"{local}(?=\n)", rf"{local}[\x20]")))


DIGITS = st.text("0123456789", min_size=1, max_size=12)
BEFORE = st.sampled_from(["", "", "+", "00", "0", "+49", "49", "0049", "44", "+1", "011", "90", "972", "tel:", "(", "++"])
BETWEEN = st.sampled_from(
    ["", " ", "-", ".", "/", ") ", "x", " ext. ", ", #", ";ext=", "\n", " / x", "~", " -- ", "\uff0d", ", ", ":"]
)


@settings(max_examples=1_000, deadline=None)
@given(st.lists(st.tuples(BEFORE, DIGITS, BETWEEN), max_size=5))
def test_phone_numbers_are_those_of_each_region(pieces: list[tuple[str, str, str]]) -> None:
    text = "".join(map("".join, pieces))
    recognizer = next(each for each in both()[0].recognizers if each.name == "PhoneRecognizer")
    matchers = (phonenumbers.PhoneNumberMatcher(text, region, leniency=1) for region in recognizer.supported_regions)
    expected = {(match.start, match.end, recognizer.SCORE) for matcher in matchers for match in matcher}
    assert set(phones(recognizer).spans(text)) == expected


@cache
def phones(recognizer: Any) -> Phones:
    return Phones(recognizer)


def test_a_context_word_counts_as_far_back_as_for_stock() -> None:
    stock, engine = both()
    fill = ("alpha", "the", "beta,", "be", "can't", "don", "x1", "Gamma", "--", "dont", "  ", "\n", "e.g.", "of", "delta")
    for first in range(len(fill)):
        for count in range(14):
            words = " ".join((fill * 2)[first : first + count])
            for text in (f"link {words} www.foo.com", f"(link) {words} <www.foo.com> number 0049 30 901820"):
                assert [tuple(span) for span in engine.find([text])[0]] == found_by(stock, text)
