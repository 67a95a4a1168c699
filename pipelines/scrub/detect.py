"""Personal data in texts, found by Presidio, replaced by placeholders. The gateway and the scrub step share this detector."""

import hashlib
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from cachetools import LRUCache

from pipelines.errors import SeqlineError, UserError
from pipelines.scrub.spans import Scrubbed, Span, agree, lookalikes, placeholders, replace, restore
from pipelines.spec import Privacy

__all__ = ["Detector", "Scrubbed", "Span", "placeholders", "restore"]

BATCH = 64  # texts in one pass of the tagger: a third faster than one by one, same spans
REMEMBERED = 4_096  # texts whose spans a detector keeps: by hash, as offsets, never the text

# RFC 5322's mailbox is `display-name <local@domain>`; its older form is `local@domain (comment)`. A display name that starts
# at a line, a colon or a list's separator is taken whole (so `martin f. krafft` too); in running text it is the run of
# capitalised words before the bracket. This is the syntax of an address: no field name is looked at.
_WORD = r"(?!(?:and|at|by|contact|from|of|or|see|to|with)\b)[\p{L}\p{M}\p{N}.'\u2019_+/&-]+"
_CAPITAL = r"['\"]?[\p{Lu}\p{Lt}\p{Lo}][\p{L}\p{M}\p{N}.'\u2019_+/&-]*['\"]?"
_PARTICLE = (
    r"(?:d[aeiou]s?|del|della|der|den|van|von|zu|la|le|el|al|bin|ibn|y|e|\p{Ll}\.|\d{1,4}"
    r"|\([^()<>\n]{1,30}\)|['\"][\p{L}\p{M}\p{N}_-]{1,20}['\"])"
)
_ADDRESS = r"(?=[\"”]? *<[^<>@\s]+@[^<>@\s]+>)"
MAILBOX = (
    ("display name, delimited", rf"(?m)(?:^|(?<=[:,;(\"“]\s?)){_WORD}(?: (?:{_WORD}|\([^()<>\n]{{1,30}}\))){{0,3}}{_ADDRESS}"),
    ("display name, in a sentence", rf"(?<![\p{{L}}\p{{N}}])(?-i:{_CAPITAL}(?: (?:{_CAPITAL}|{_PARTICLE})){{0,6}}){_ADDRESS}"),
    ("comment", rf"(?<=@[\p{{L}}\p{{N}}.-]{{1,80}} \()(?-i:{_CAPITAL}(?: (?:{_CAPITAL}|{_PARTICLE})){{0,6}})(?=\))"),
)


class Detector:
    """Presidio's recognizers for a policy's entities, and one of our own for names in mailbox syntax.

    Making one takes seconds (it loads the tagger); a text of 400 characters then takes some 15 ms of CPU.

    Raises:
        UserError: the policy's tagger is not installed.
    """

    def __init__(self, privacy: Privacy) -> None:
        self.privacy = privacy
        self._analyzer = _analyzer(privacy.tagger, privacy.language)
        self._seen: LRUCache[bytes, list[Span]] = LRUCache(REMEMBERED)

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """Presidio's spans of the policy's entities for each text: the same as AnalyzerEngine.analyze gives, and lookalikes.

        They may overlap; `resolve` makes them disjoint. A text that was seen lately costs a hash.
        """
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._seen}
        found = dict(zip(new, self._find(list(new.values())), strict=True)) if new else {}
        spans = [self._seen[key] if key in self._seen else found[key] for key in keys]
        self._seen.update(found)
        return spans

    def _find(self, texts: Sequence[str]) -> list[list[Span]]:
        from presidio_analyzer import BatchAnalyzerEngine

        policy = self.privacy
        try:
            batches = BatchAnalyzerEngine(self._analyzer).analyze_iterator(
                texts,
                policy.language,
                batch_size=BATCH,
                entities=list(policy.entities),
                score_threshold=policy.score,
                allow_list=list(policy.allow),
            )
        except Exception as error:
            # Presidio's and spaCy's messages may quote the text: nothing of them goes on
            raise SeqlineError(f"scrub: {type(error).__name__} in the recognizers, on one of {len(texts)} texts") from None
        return [
            sorted([Span(r.start, r.end, r.entity_type, r.score) for r in results] + lookalikes(text, policy.entities))
            for text, results in zip(texts, batches, strict=True)
        ]

    def scrub(self, texts: Sequence[str]) -> Scrubbed:
        """The texts of one request or one pair, with the same placeholder for the same value in all of them."""
        return replace(texts, agree(texts, self.find(texts)), self.privacy.placeholders)

    def scrub_each(self, texts: Sequence[str]) -> list[Scrubbed]:
        """Each text for itself, all found in one pass."""
        found = zip(texts, self.find(texts), strict=True)
        return [replace([text], agree([text], [spans]), self.privacy.placeholders) for text, spans in found]


@contextmanager
def _lean(tagger: str) -> Iterator[None]:
    """Hide torch and transformers: Presidio and spaCy import them when there, 6 s of CPU for a tagger that uses neither."""
    unused = () if tagger.endswith("_trf") else ("torch", "transformers")
    hidden = [name for name in unused if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: the import system's own mark for "not to be had"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@lru_cache(maxsize=2)
def _analyzer(tagger: str, language: str) -> Any:
    with _lean(tagger):
        return _build_analyzer(tagger, language)


def _build_analyzer(tagger: str, language: str) -> Any:
    import spacy.util
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    # below WARNING Presidio logs the values that it matched
    logging.getLogger("presidio-analyzer").setLevel(logging.WARNING)
    if not spacy.util.is_package(tagger):
        raise UserError(f"privacy.tagger: no spaCy pipeline `{tagger}` is installed: install its package, or name one that is")
    engine = SpacyNlpEngine(models=[{"lang_code": language, "model_name": tagger}])
    engine.load()
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(nlp_engine=engine, languages=[language])
    registry.remove_recognizer("EmailRecognizer")
    for recognizer in _recognizers(language):
        registry.add_recognizer(recognizer)
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])


def _recognizers(language: str) -> list[Any]:
    """Presidio recognizers that replace or join the stock ones."""
    from presidio_analyzer import Pattern, PatternRecognizer
    from presidio_analyzer.predefined_recognizers import EmailRecognizer
    from tldextract import TLDExtract

    # with the list of public suffixes that the package carries; the stock one asks the network for a newer one
    suffixes = TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(suffixes(pattern_text).fqdn)

    class MailboxRecognizer(PatternRecognizer):
        """Names of persons in the mailbox syntax of RFC 5322, section 3.4."""

        def analyze(self, text: str, *arguments: Any, **options: Any) -> Any:
            return super().analyze(text, *arguments, **options) if "@" in text else []

    return [
        OfflineEmailRecognizer(supported_language=language, name="EmailRecognizer"),
        MailboxRecognizer(
            supported_entity="PERSON",
            supported_language=language,
            name="MailboxRecognizer",
            patterns=[Pattern(name, pattern, 0.9) for name, pattern in MAILBOX],
            global_regex_flags=re.MULTILINE,
        ),
    ]
