"""The first pass: where personal data stands in each text of the slice, and what the slice as a whole tells."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.artifact import digest
from pipelines.scrub import allow, audit
from pipelines.scrub.audit import languages
from pipelines.scrub.detect import Detector, Span, Undetected
from pipelines.scrub.engine.presidio import TAGGERS
from pipelines.scrub.remembered import Remembered
from pipelines.scrub.spans import LITERAL, resolve
from pipelines.scrub.workers import Map, workers
from pipelines.spec import Language, Privacy

ANYWHERE = ("EMAIL_ADDRESS", "URL", "PERSON")  # entities whose values are looked for in the whole slice
CHUNK_CHARS = 30_000  # handed to a process at a time
SAMPLE = 4_000  # texts in which false positives are counted
SIDES = ("source", "target")
Taggers = Mapping[Language, Path]
Result = list[Span] | Undetected
Row = tuple[list[Span], list[Span]] | Undetected
Job = tuple[Language, list[str]]
Work = Callable[[Job], list[Result]]
Detect = Callable[[Collection[str], Language], dict[str, Result]]


@dataclass(frozen=True)
class Found:
    """What the first pass leaves: spans.parquet (a row a pair), the spans of the planted texts, and counts."""

    path: Path
    placed: Sequence[Result]
    tally: "Tally"


def has_tagger(privacy: Privacy, language: Language) -> bool:
    """Whether names are looked for in texts of this language."""
    return privacy.level != "patterns" and (privacy.tagger or TAGGERS[language]) != "none"


def tagger_code(privacy: Privacy) -> tuple[int, ...]:
    """At level `fast`: the version of the code that makes the tagger, which is part of what the step makes; else nothing."""
    if privacy.level != "fast":
        return ()
    from pipelines.scrub.tagger.distil import CODE_VERSION

    return (CODE_VERSION,)


def distil(pairs: Path, privacy: Privacy, private: Path, count: int) -> dict[Language, Path]:
    """At level `fast`: a tagger for each language that has a teacher; else none.

    Raises:
        GateClosed: one is not good enough on held-out texts of this slice.
    """
    if privacy.level != "fast":
        return {}
    from pipelines.scrub.tagger import distil as distil_tagger

    made: dict[Language, Path] = {}
    exact = privacy.model_copy(update={"level": "exact"})
    taught = {language for language in languages(privacy) if has_tagger(exact, language)}
    with workers(count, start, exact, {}) as each:
        for language in sorted(taught):

            def teacher(texts: Sequence[str], language: Language = language) -> list[list[Span]]:
                found = _results(texts, language, each, _detected)
                return [[] if isinstance(spans := found[text], Undetected) else spans for text in texts]

            texts = (
                row[side] for row in rows(pairs) for side, own in zip(SIDES, languages(privacy), strict=True) if own == language
            )
            made[language] = distil_tagger(texts, teacher, privacy, language, private).path
    return made


def rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a row group in memory at a time."""
    for group in row_groups(path, columns):
        yield from group


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as content:
        for number in range(content.num_row_groups):
            yield content.read_row_group(number, columns=columns).to_pylist()


def find(
    pairs: Path, privacy: Privacy, taggers: Taggers, placed: Sequence[audit.Placed], private: Path, key: bytes, count: int
) -> Found:
    """The detector's spans of every text, disjoint, and of the texts with `placed` values; written to `private`/spans.parquet.

    At level `exact` spans are remembered from run to run (offsets by keyed hash of the text; never a text).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tally = Tally()
    span = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("entity", pa.string()), ("score", pa.float64())]))
    schema = pa.schema([("source", span), ("target", span), ("failed", pa.string())])
    path = private / "spans.parquet"
    with workers(count, start, privacy, taggers) as each, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        detect = _detecting(privacy, each, private.parent / "spans.db", key)
        with _progress(pairs) as advance:
            for group in row_groups(pairs, SIDES):
                found = _group(group, privacy, detect)
                writer.write_table(pa.Table.from_pylist([_plain(one) for one in found], schema), row_group_size=len(group))
                tally.count(group, found, privacy)
                advance(len(group))
        of_placed: dict[tuple[str, Language], Result] = {}
        for language in sorted({one.language for one in placed}):
            texts = {one.text for one in placed if one.language == language}
            of_placed |= {(text, language): result for text, result in detect(texts, language).items()}
    return Found(path, [of_placed[one.text, one.language] for one in placed], tally)


@dataclass
class Tally:
    """What the slice as a whole tells, gathered text by text."""

    values: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(value, entity) -> how often, for what is replaced wherever it stands."""
    words: allow.Counts = field(default_factory=allow.Counts)
    lookalikes: int = 0
    sample: list[tuple[str, list[Span]]] = field(default_factory=list)
    """Texts that a tagger read, with their spans: the slice's first, which the hash in their ids makes a random sample."""

    def count(self, group: Sequence[Mapping[str, str]], found: Sequence[Row], privacy: Privacy) -> None:
        for row, spans in zip(group, found, strict=True):
            if isinstance(spans, Undetected):
                continue
            for side, language, its in zip(SIDES, languages(privacy), spans, strict=True):
                text = row[side]
                self.values.update(_everywhere(text, its))
                self.lookalikes += sum(span.score >= LITERAL for span in its)
                if has_tagger(privacy, language):
                    self.words.update(text, its)
                    if len(self.sample) < SAMPLE:
                        self.sample.append((text, its))


def _detecting(privacy: Privacy, each: Map, path: Path, key: bytes) -> Detect:
    """At level `exact` what is found is remembered from run to run."""

    def detect(texts: Collection[str], language: Language) -> dict[str, Result]:
        if privacy.level != "exact":
            return _results(texts, language, each, _disjoint)
        policy = digest("disjoint spans", version("presidio-analyzer"), version("spacy"), privacy, language)
        return _remembering(list(dict.fromkeys(texts)), language, each, Remembered(path, policy, key))

    return detect


def _group(group: Sequence[Mapping[str, str]], privacy: Privacy, detect: Detect) -> list[Row]:
    """Spans of both sides of each row, or why there are none."""
    texts: dict[Language, set[str]] = {}
    for side, language in zip(SIDES, languages(privacy), strict=True):
        texts.setdefault(language, set()).update(row[side] for row in group)
    found = {language: detect(its, language) for language, its in texts.items()}
    results: list[Row] = []
    for row in group:
        source, target = (found[language][row[side]] for side, language in zip(SIDES, languages(privacy), strict=True))
        if isinstance(source, Undetected) or isinstance(target, Undetected):
            results.append(source if isinstance(source, Undetected) else target)  # type: ignore[arg-type]
        else:
            results.append((source, target))
    return results


def _plain(row: Row) -> dict[str, Any]:
    if isinstance(row, Undetected):
        return {"source": [], "target": [], "failed": row.reason}
    return {side: [span._asdict() for span in spans] for side, spans in zip(SIDES, row, strict=True)}


def _everywhere(text: str, spans: Sequence[Span]) -> Iterator[tuple[str, str]]:
    """What is looked for in the whole slice: addresses, and names of at least two words."""
    for span in spans:
        value = text[span.start : span.end]
        # of letters: one mistake about a `Python 3` would cost thousands of texts
        words = sum(any(map(str.isalpha, word)) for word in value.split())
        if span.entity in ANYWHERE and span.score < LITERAL and (span.entity != "PERSON" or words > 1):
            yield value, span.entity


def _remembering(texts: Sequence[str], language: Language, each: Map, remembered: Remembered) -> dict[str, Result]:
    known = dict(zip(texts, remembered.get(texts), strict=True))
    new = _results([text for text, spans in known.items() if spans is None], language, each, _disjoint)
    sound = {text: spans for text, spans in new.items() if not isinstance(spans, Undetected)}
    remembered.put(list(sound), list(sound.values()))
    return {text: new[text] if spans is None else spans for text, spans in known.items()}


def _results(texts: Collection[str], language: Language, each: Map, work: Work) -> dict[str, Result]:
    # by length: a batch of like texts wastes no padding, and the longest first keeps the processes even to the end
    ordered = sorted(set(texts), key=lambda text: (-len(text), text))
    chunks: list[list[str]] = []
    room = 0
    for text in ordered:
        if room < len(text) or not chunks:
            chunks.append([])
            room = CHUNK_CHARS
        chunks[-1].append(text)
        room -= len(text)
    found = each(work, [(language, chunk) for chunk in chunks])
    return {
        text: result for chunk, results in zip(chunks, found, strict=True) for text, result in zip(chunk, results, strict=True)
    }


_detectors: dict[Language, Detector] = {}  # of a detecting process


def start(privacy: Privacy, taggers: Taggers) -> None:
    """Prepare this process: a detector for each language."""
    for language in dict.fromkeys(languages(privacy)):
        # a language without a teacher has no tagger: patterns, and projection from the other side
        level = "patterns" if privacy.level == "fast" and language not in taggers else privacy.level
        policy = privacy.model_copy(update={"level": level})
        _detectors[language] = Detector(policy, language=language, tagger=taggers.get(language))


def _detected(job: Job) -> list[Result]:
    language, texts = job
    return list(_detectors[language].attempt(texts))


def _disjoint(job: Job) -> list[Result]:
    return [
        result if isinstance(result, Undetected) else resolve(text, result)
        for text, result in zip(job[1], _detected(job), strict=True)
    ]


@contextmanager
def _progress(pairs: Path) -> Iterator[Callable[[int], None]]:
    import pyarrow.parquet as pq
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    total = pq.read_metadata(pairs).num_rows
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"scrub: {total} pairs", total=total)
        yield lambda count: progress.advance(task, count)
