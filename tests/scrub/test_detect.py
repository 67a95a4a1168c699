"""The detector beside stock Presidio, and what happens when a recognizer fails."""

import logging

import pytest
from presidio_analyzer import Pattern, PatternRecognizer

from pipelines.errors import UserError
from pipelines.scrub.detect import Detector, Span, Undetected, restore
from pipelines.scrub.engine import presidio
from pipelines.spec import Privacy, Rule

PROSE = [
    "Barack Obama was born in Hawaii, and his phone number is (212) 555-0172; call him at 10.0.0.1.",
    "The documentation has moved to https://docs.example.org/guide?x=1 and foo.example.com/bar for good.",
    "Please call Maria Garcia on +49 30 901820 or write to maria.garcia@example.co.uk before Monday.",
    "libfoo provides bindings; see setup.py, README.md and node.js for details. ASP.NET is not used.",
    "My credit card is 4012888888881881 and the IBAN is DE89370400440532013000, John said.",
    "",
    "   \n ",
    "naïve café — Zoë Müller said: “hello” 🙂 to 2001:db8::1 at 12:30.",
    "Section: libs\nDescription: This package was written by Aaron Leung and Hampton Catlin in 2009.",
    "\ud800 lone surrogates and Maria Garcia",
] * 3
ENTITIES = ("PERSON", "EMAIL_ADDRESS", "URL", "PHONE_NUMBER", "IP_ADDRESS", "CREDIT_CARD", "LOCATION")


class Poisoned(PatternRecognizer):
    """Fails, with the value in its message, on the word POISON."""

    def __init__(self) -> None:
        super().__init__("PERSON", patterns=[Pattern("poison", "POISON", 0.5)])

    def validate_result(self, pattern_text: str) -> bool:
        raise ValueError(f"secret {pattern_text}")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(Privacy(entities=ENTITIES))


@pytest.mark.parametrize("level", ["exact", "patterns"])
def test_spans_are_those_of_stock_presidio(level: str) -> None:
    privacy = Privacy(level=level, entities=ENTITIES, allow=("docs.example.org/guide", "Hawaii"))
    stock = presidio.load(privacy, "en").analyzer
    seen = set()
    for text, spans in zip(PROSE, Detector(privacy).find(PROSE), strict=True):
        options = {"entities": list(ENTITIES), "score_threshold": privacy.score, "allow_list": list(privacy.allow)}
        results = stock.analyze(text.replace("\ud800", "?"), "en", **options)
        assert sorted((r.start, r.end, r.entity_type, r.score) for r in results) == [tuple(span) for span in spans]
        seen |= {span.entity for span in spans}
    assert seen == set(ENTITIES) - (set() if level == "exact" else {"PERSON", "LOCATION"})


def test_a_text_is_found_alike_in_any_company() -> None:
    alone, together = Privacy(), Privacy(quarantine_days=8)  # two policies, so that neither remembers for the other
    texts = [text * times for times in (1, 3, 9) for text in PROSE[:10]]
    assert Detector(together).find(texts[::-1])[::-1] == [Detector(alone).find([text])[0] for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Colin Ian King <colin@example.org>", "<PERSON_1> <<EMAIL_ADDRESS_1>>"),
        ("x: martin f. krafft <m@example.org>", "x: <PERSON_1> <<EMAIL_ADDRESS_1>>"),
        ("Thanks to Ďoďo Ivanecký <d@example.org>, a lot", "Thanks to <PERSON_1> <<EMAIL_ADDRESS_1>>, a lot"),
        ("we asked Łukasz 'sil' Żak <l@example.org>", "we asked <PERSON_1> <<EMAIL_ADDRESS_1>>"),
        ("Ann Lee (GCS) <gcs@example.org>", "<PERSON_1> <<EMAIL_ADDRESS_1>>"),
        ("to: jdoe@example.org (Jane van Doe)", "to: <EMAIL_ADDRESS_1> (<PERSON_1>)"),
    ],
)
def test_names_in_mailbox_syntax(detector: Detector, text: str, expected: str) -> None:
    scrubbed = detector.scrub([text])
    assert scrubbed.texts == (expected,)
    assert restore(expected, scrubbed.values) == text


def test_one_person_over_the_texts_of_a_request(detector: Detector) -> None:
    scrubbed = detector.scrub(["Barack Obama wrote to Angela Merkel.", "Angela Merkel answered Barack Obama."])
    assert scrubbed.texts == ("<PERSON_1> wrote to <PERSON_2>.", "<PERSON_2> answered <PERSON_1>.")


def test_a_literal_placeholder_comes_back_as_it_was(detector: Detector) -> None:
    text = "Dear <PERSON_1>, Barack Obama says hello to <PERSON_2>."
    scrubbed = detector.scrub([text])
    assert "Obama" not in scrubbed.texts[0]
    assert restore(scrubbed.texts[0], scrubbed.values) == text


def test_one_poisoned_text_spoils_no_other() -> None:
    recognizers = ("tests.scrub.test_detect:Poisoned",)
    texts = [f"mail {number}: someone{number}@example.org" for number in range(10_000)]
    texts[6_543] += " POISON"
    found = Detector(Privacy(level="patterns", recognizers=recognizers)).attempt(texts)
    failed = [index for index, spans in enumerate(found) if isinstance(spans, Undetected)]
    assert failed == [6_543]
    assert all(len(spans) >= 1 for spans in found if not isinstance(spans, Undetected))
    reason = found[6_543]
    assert isinstance(reason, Undetected)
    assert reason.reason == "ValueError in Poisoned"
    assert "POISON" not in str(reason)
    assert reason.__cause__ is None
    with pytest.raises(Undetected):
        Detector(Privacy(level="patterns", recognizers=recognizers)).find(texts[6_540:6_550])


def test_a_regex_that_is_given_up_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presidio_analyzer.pattern_recognizer.REGEX_TIMEOUT_SECONDS", 0.05)
    slow = Rule(entity="ODD", patterns=(r"(?:x+x+)+(?=y)",))
    privacy = Privacy(level="patterns", entities=("ODD", "EMAIL_ADDRESS"), rules=(slow,))
    found = Detector(privacy).attempt(["a@example.org", "x" * 4_000, "xxy"])
    assert found[0] == [Span(0, 13, "EMAIL_ADDRESS", 1.0)]
    assert isinstance(found[1], Undetected)
    assert found[1].reason == "regex timed out"
    assert found[2] == [Span(0, 2, "ODD", 0.6)]


def test_no_value_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    detector = Detector(Privacy(entities=(*ENTITIES, "IBAN_CODE")))
    logger = logging.getLogger("presidio-analyzer")
    before = logger.level
    try:
        with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "presidio-analyzer"):
            detector.scrub(
                ["Barack Obama, barack@example.org, call (212) 555-0172, http://example.org, IBAN DE\u0661\u0661 2345 6789"]
            )
    finally:
        logger.setLevel(before)
    assert not [record for record in caplog.records if record.name.startswith("presidio")]


def test_rules_and_recognizers_of_the_users_own() -> None:
    rule = Rule(entity="TICKET", patterns=(r"TKT-\d{4}", r"case \d{4}"), score=0.3, context=("ticket",))
    detector = Detector(Privacy(level="patterns", entities=("TICKET",), rules=(rule,)))
    near, far = detector.find(["ticket TKT-1234 or case 4321", "TKT-1234"])
    assert [(span.start, span.end, span.entity, round(span.score, 2)) for span in near] == [
        (7, 15, "TICKET", 0.65),
        (19, 28, "TICKET", 0.65),
    ]
    assert far == [], "without a context word near it the score is below the policy's"


@pytest.mark.parametrize("language", ["de", "fr"])
def test_patterns_in_other_languages(language: str) -> None:
    entities = ("EMAIL_ADDRESS", "URL", "PHONE_NUMBER", "IP_ADDRESS", "CREDIT_CARD", "IBAN_CODE")
    text = "müller@example.org https://example.org +49 30 901820 10.0.0.1 4012888888881881 DE89370400440532013000"
    detector = Detector(Privacy(level="patterns", entities=entities, language=language))
    assert {span.entity for span in detector.find([text])[0]} == set(entities)


@pytest.mark.parametrize(
    ("privacy", "message"),
    [
        (Privacy(tagger="no_such_tagger"), r"privacy\.tagger: no spaCy pipeline `no_such_tagger`"),
        (Privacy(tagger="gliner:some/model"), r"privacy\.tagger: gliner:\.\.\. needs the package `gliner`"),
        (Privacy(tagger="other:some/model"), r"privacy\.tagger: no kind `other`"),
        (Privacy(recognizers=("no.such:Thing",)), r"privacy\.recognizers: no\.such:Thing cannot be made"),
        (Privacy(entities=("ODD",), rules=(Rule(entity="ODD", patterns=("(",)),)), r"privacy\.rules\[0\]\.patterns\[0\]"),
        (Privacy(level="fast"), r"privacy\.level: fast needs the tagger"),
    ],
)
def test_what_is_not_there_is_named(privacy: Privacy, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Detector(privacy)
