"""The detector beside stock Presidio, and names in mailbox syntax."""

import logging

import pytest

from pipelines.errors import UserError
from pipelines.scrub.detect import Detector, restore
from pipelines.spec import Privacy

PROSE = [
    "Barack Obama was born in Hawaii, and his phone number is (212) 555-0172; call him at 10.0.0.1.",
    "The documentation has moved to https://docs.example.org/guide?x=1 and foo.example.com/bar for good.",
    "Please call Maria Garcia on +49 30 901820 or write to maria.garcia@example.co.uk before Monday.",
    "libfoo provides bindings; see setup.py, README.md and node.js for details. ASP.NET is not used.",
    "My credit card is 4012888888881881 and the IBAN is DE89370400440532013000, John said.",
    "",
    "naïve café — Zoë Müller said: “hello” 🙂 to 2001:db8::1 at 12:30.",
    "Section: libs\nDescription: This package was written by Aaron Leung and Hampton Catlin in 2009.",
] * 3


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(
        Privacy(entities=("PERSON", "EMAIL_ADDRESS", "URL", "PHONE_NUMBER", "IP_ADDRESS", "CREDIT_CARD", "LOCATION"))
    )


def test_spans_are_those_of_stock_presidio(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    import tldextract.tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    offline = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    monkeypatch.setattr(tldextract.tldextract, "TLD_EXTRACTOR", offline)
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": detector.privacy.tagger}])
    stock = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    entities = list(detector.privacy.entities)
    seen = set()
    for text, spans in zip(PROSE, detector.find(PROSE), strict=True):
        results = stock.analyze(text, "en", entities=entities, score_threshold=detector.privacy.score)
        assert sorted((r.start, r.end, r.entity_type, r.score) for r in results) == [tuple(span) for span in spans]
        seen |= {span.entity for span in spans}
    assert seen == set(entities), "every entity must have been met"


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


def test_no_value_is_logged(detector: Detector, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        detector.scrub(["Barack Obama, barack@example.org, (212) 555-0172"])
    assert not [record for record in caplog.records if "arack" in record.getMessage() or "555" in record.getMessage()]


def test_unknown_tagger() -> None:
    with pytest.raises(UserError, match=r"privacy\.tagger: no spaCy pipeline `no_such_tagger`"):
        Detector(Privacy(tagger="no_such_tagger"))
