"""AnalyzerEngine.analyze for many texts at once: the same results, and no work for what cannot be one."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pipelines.errors import SeqlineError
from pipelines.scrub.engine.context import Context
from pipelines.scrub.engine.local import Mailboxes, Words, outermost
from pipelines.scrub.engine.ner import tagger_of
from pipelines.scrub.engine.phones import Phones
from pipelines.scrub.engine.prefilter import Prefilter
from pipelines.scrub.engine.presidio import MUTED, Presidio
from pipelines.scrub.spans import Span
from pipelines.spec import Privacy

BATCH_CHARS = 100_000  # characters that are tokenized and tagged together


class Undetected(SeqlineError):
    """A text whose personal data is not known. `reason` names classes, never a value."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"scrub: a text could not be searched: {reason}")
        self.reason = reason


class Hit(NamedTuple):
    """A result, before context counts."""

    start: int
    end: int
    entity: str
    score: float
    recognizer: Any
    result: Any = None
    """Presidio's own, where its own code made it."""


class Engine:
    """Presidio's recognizers of a policy, by the batch."""

    def __init__(self, presidio: Presidio, privacy: Privacy) -> None:
        from presidio_analyzer import EntityRecognizer
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer

        self._presidio, self._privacy = presidio, privacy
        self._entities = list(privacy.entities)
        self._allow = frozenset(privacy.allow)
        patterns = [each for each in presidio.recognizers if not isinstance(each, SpacyRecognizer)]
        tags = presidio.tagger is not None and len(patterns) < len(presidio.recognizers)
        self._ner = tagger_of(presidio.tagger) if presidio.tagger is not None else None
        self._names = _names(presidio.engine, self._entities) if tags else {}
        self._finders = [(each, finder) for each in patterns if (finder := _finder(each))]
        found = {recognizer.id for recognizer, _ in self._finders}
        self._prefilter = Prefilter([each for each in patterns if each.id not in found])
        self._words = Words(self._prefilter.local)
        self._context = Context(patterns, presidio.tagger, presidio.engine.nlp[presidio.language])
        # code of the user's may read the artifacts of any text: each gets those of the full pipeline
        own = [each for each in patterns if not type(each).__module__.startswith(("presidio_analyzer.", "pipelines.scrub."))]
        self._whole = [each for each in own if _reads_artifacts(each, EntityRecognizer)]

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """The spans of each text, in order.

        Raises:
            Exception: whatever a recognizer raises; Undetected: a regular expression was given up.
        """
        try:
            return [spans for batch in _batches(texts) for spans in self._find(batch)]
        except TimeoutError:
            raise Undetected("regex timed out") from None
        finally:  # what it remembers of words and lines is the texts' own
            for each in (self._words, *(finder for _, finder in self._finders)):
                each.forget()

    def _find(self, texts: Sequence[str]) -> list[list[Span]]:
        given_up = MUTED.timeouts
        docs: dict[int, Any] = {}
        results: list[list[Hit]] = [[] for _ in texts]
        if self._ner and self._names:
            docs = {index: self._presidio.tagger.make_doc(text) for index, text in enumerate(texts)}
            for index, entities in enumerate(self._ner.find(list(docs.values()))):
                results[index] = self._named(docs[index], entities)
        lemmas: list[int] = []
        patterns = [self._run(text) if not self._whole else [] for text in texts]
        for index, text in enumerate(texts):
            if self._whole or self._context.may_raise(text, patterns[index]):
                lemmas.append(index)
        artifacts = self._artifacts(texts, lemmas, docs)
        for index, text in enumerate(texts):
            if self._whole:
                patterns[index] = self._run(text, artifacts[index])
            if index in artifacts:
                patterns[index] = self._enhanced(text, patterns[index], artifacts[index])
            results[index] += patterns[index]
        if MUTED.timeouts > given_up:
            raise Undetected("regex timed out")
        return [self._final(text, found) for text, found in zip(texts, results, strict=True)]

    def _run(self, text: str, artifacts: Any = None) -> list[Hit]:
        whole, words = self._prefilter.wanted(text)
        found: list[Hit] = []
        for recognizer in whole:
            for each in recognizer.analyze(text=text, entities=self._entities, nlp_artifacts=artifacts) or []:
                metadata = each.recognition_metadata = each.recognition_metadata or {}
                metadata.setdefault("recognizer_identifier", recognizer.id)
                metadata.setdefault("recognizer_name", recognizer.name)
                found.append(Hit(each.start, each.end, each.entity_type, each.score, recognizer, each))
        for place, word, mask in words:
            for recognizer, hits in self._words.spans(word, mask):
                entity = recognizer.supported_entities[0]
                found += [Hit(start + place, end + place, entity, score, recognizer) for start, end, score in hits]
        for recognizer, finder in self._finders:
            entity = recognizer.supported_entities[0]
            found += [Hit(start, end, entity, score, recognizer) for start, end, score in finder.spans(text)]
        return found

    def _named(self, doc: Any, entities: Sequence[Any]) -> list[Hit]:
        found = []
        for start, end, label in entities:
            if label in self._names:
                last = doc[end - 1]
                name, score = self._names[label]
                found.append(Hit(doc[start].idx, last.idx + len(last), name, score, None))
        return found

    def _artifacts(self, texts: Sequence[str], wanted: Sequence[int], docs: dict[int, Any]) -> dict[int, Any]:
        """Words and lemmas of the texts at the indices `wanted`."""
        presidio = self._presidio
        if not wanted:
            return {}
        if presidio.tagger is None or self._ner is None:
            return {index: presidio.engine.process_text(texts[index], presidio.language) for index in wanted}
        parsed = [docs[index] if index in docs else presidio.tagger.make_doc(texts[index]) for index in wanted]
        if self._whole:
            return {index: presidio.engine.process_text(texts[index], presidio.language) for index in wanted}
        self._ner.lemmatize(parsed)
        convert = presidio.engine._doc_to_nlp_artifact
        return {index: convert(doc, presidio.language) for index, doc in zip(wanted, parsed, strict=True)}

    def _enhanced(self, text: str, hits: Sequence[Hit], artifacts: Any) -> list[Hit]:
        analyzer = self._presidio.analyzer
        results = [hit.result or _result(hit) for hit in hits]
        results = analyzer._enhance_using_context(text, results, artifacts, list(self._presidio.recognizers))
        return [Hit(each.start, each.end, each.entity_type, each.score, None) for each in results]

    def _final(self, text: str, hits: Sequence[Hit]) -> list[Span]:
        kept: dict[str, set[tuple[int, int, float]]] = {}
        for hit in hits:
            if hit.score >= self._privacy.score:
                kept.setdefault(hit.entity, set()).add((hit.start, hit.end, hit.score))
        spans = [
            Span(start, end, entity, score) for entity, found in kept.items() for start, end, score in outermost(found) if score
        ]
        if self._allow:
            spans = [span for span in spans if text[span.start : span.end] not in self._allow]
        return sorted(spans)


def _finder(recognizer: Any) -> Any:
    """What finds the same spans as a recognizer in less time; None if there is no such thing."""
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    if type(recognizer).__module__ == "pipelines.scrub.engine.presidio" and recognizer.name == "MailboxRecognizer":
        return Mailboxes(recognizer)
    try:
        return Phones(recognizer) if type(recognizer) is PhoneRecognizer else None
    except ValueError:
        return None


def _result(hit: Hit) -> Any:
    from presidio_analyzer import AnalysisExplanation, RecognizerResult

    name, key = hit.recognizer.name, hit.recognizer.id
    explanation = AnalysisExplanation(recognizer=name, original_score=hit.score)
    metadata = {"recognizer_name": name, "recognizer_identifier": key}
    return RecognizerResult(hit.entity, hit.start, hit.end, hit.score, explanation, metadata)


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    chars = 0
    for text in texts:
        if batch and chars + len(text) > BATCH_CHARS:
            yield batch
            batch, chars = [], 0
        batch.append(text)
        chars += len(text)
    if batch:
        yield batch


def _names(engine: Any, entities: Sequence[str]) -> dict[str, tuple[str, float]]:
    """The labels of the model that count, each with Presidio's name of it and its score."""
    config = engine.ner_model_configuration
    labels = {*config.model_to_presidio_entity_mapping, *engine.get_supported_entities()}
    names = {}
    for label in labels:
        name = config.model_to_presidio_entity_mapping.get(label, label)
        known = name in entities and name in engine.get_supported_entities()
        if known and not {label, name} & set(config.labels_to_ignore):
            low = name in config.low_score_entity_names
            names[label] = name, config.default_score * (config.low_confidence_score_multiplier if low else 1)
    return names


def _reads_artifacts(recognizer: Any, base: Any) -> bool:
    from presidio_analyzer import PatternRecognizer

    plain = isinstance(recognizer, PatternRecognizer) and type(recognizer).analyze is PatternRecognizer.analyze
    return not plain or type(recognizer).enhance_using_context is not base.enhance_using_context
