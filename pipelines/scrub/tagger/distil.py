"""From the user's texts and a teacher to a tagger of their own: sample, label, train, and let no bad one pass."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipelines import artifact
from pipelines.scrub.spans import Span
from pipelines.scrub.tagger import gate
from pipelines.scrub.tagger.find import Finder
from pipelines.scrub.tagger.labels import (
    Judged,
    Usage,
    judge,
    known_names,
    quiet_lines,
    relabel,
    spread,
    titled,
    words_and_labels,
)
from pipelines.scrub.tagger.names import FAMILY, GIVEN, PLACE, dictionary, lists
from pipelines.scrub.tagger.network import CLASSES, Examples, Network, blank_rows, train
from pipelines.scrub.tagger.saved import save
from pipelines.scrub.tagger.sentences import Writer
from pipelines.scrub.tagger.words import EDGE, REACH, SLOTS, SPECIAL, Lexicon, digest, normal, split
from pipelines.spec import Privacy
from pipelines.spec.section import Language

CODE_VERSION = 3
SAMPLE = 1_800_000  # characters that the teacher reads: 17 CPU seconds at level exact
READ = 3  # times as many are read for how the data uses its words, and for lines that speak of nobody: two CPU seconds
PLANTED = 60_000  # sentences with drawn values
EPOCHS = 3
COPIES = 6  # of a text that the user labelled, each with other values
SWAPS = 2  # copies of a text with names, each with other names
TITLED = 0.6  # share of the lines without names that are learnt with more capitals too
HELD = (40, 64, 96, 128)  # of 256: share of the texts that the gate is measured on, the first that holds names enough
RARE = 20  # texts that hold a word before it has an identity, if the data never has it in lower case
Teacher = Callable[[Sequence[str]], list[list[Span]]]
Real = tuple[str, list[Judged]]
Labelled = tuple[list[str], np.ndarray[tuple[int], np.dtype[np.int64]]]


def distil(
    texts: Iterable[str],
    teacher: Teacher,
    privacy: Privacy,
    language: Language,
    out: Path,
    *,
    labelled: Mapping[str, Sequence[Span]] | None = None,
    sample: int = SAMPLE,
    planted: int = PLANTED,
) -> artifact.Tagger:
    """Train a tagger of names, places, phone and card numbers on a sample of `texts`; some 100 CPU seconds.

    The teacher labels the sample. Labels that the data speaks against are dropped ("Java", where it also says "java"), names
    that it passed over are added where it, or a mailbox, names them elsewhere; names and places that stay are replaced by drawn
    ones, so that contexts are learnt and not people. Lines that speak of nobody join them, with more capitals than they had,
    and sentences with values of many countries and formats. A span with score 1 is no guess and always believed.

    The sample is chosen by the texts' hashes and all draws are seeded by them: neither the order of the texts nor the hash
    seed nor the number of processes changes a byte (torch trains on one thread; another processor's instructions may differ).
    The folder holds no text: features are salted digests of affixes, of Faker's public lists, and of words that several texts
    hold in lower case, or twenty texts in a place where neither list nor teacher sees a name, and of a dictionary's words.

    Args:
        teacher: finds spans as the policy's detector at level exact does; its result is taken to follow from the policy.
        labelled: texts whose spans the user knows (score 1); all are learnt from, none is held out.
        out: where the folder tagger-KEY is made; one that is there is returned as it is.
        sample, planted: characters and sentences to learn from.

    Raises:
        GateClosed: the tagger is not good enough on texts that it did not learn from, or too few names are known to tell.
    """
    read = _choose(texts, READ * sample)
    chosen = _first(read, sample)
    certain = sorted((text, sorted(spans)) for text, spans in (labelled or {}).items())
    words = artifact.digest(*(sorted(members) for members in (*lists(), dictionary(language))))
    key = artifact.digest("tagger", CODE_VERSION, read, certain, privacy, language, sample, planted, words)

    def write(folder: Path) -> None:
        usage = Usage.of(read)
        judged = [(text, judge(text, spans, usage)) for text, spans in zip(chosen, teacher(chosen), strict=True)]
        known = known_names([*judged, *((text, gate.mailboxes(text, usage)) for text in read)])
        judged = [(text, spread(text, spans, known)) for text, spans in judged]
        learnt, apart = _apart(judged, usage)
        learnt = [(text, judge(text, spans, usage)) for text, spans in certain] + learnt
        quiet = quiet_lines(_first(read[len(chosen) :], sample // 2), usage)
        writer = Writer(language, key)
        lexicon, network = _learn(learnt, quiet, usage, writer, planted, int(key[:8], 16))
        measured = gate.measure(Finder(lexicon, network), apart, usage, writer)
        gate.check(measured)
        facts = {"language": language, "texts": len(learnt), "labelled": len(certain), "planted": planted, "gate": measured}
        save(folder, lexicon, network, facts)

    return artifact.make(artifact.Tagger, out / f"tagger-{key[:16]}", write)


def _apart(judged: Sequence[Real], usage: Usage) -> tuple[list[Real], list[Real]]:
    """(learnt from, held out), by the texts' hashes: more are held out where few names are known."""
    place = {text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[-1] for text, _ in judged}
    for share in HELD:
        apart = [(text, spans) for text, spans in judged if place[text] < share]
        if gate.count(apart, usage) >= 2 * gate.LEAST:
            break
    return [(text, spans) for text, spans in judged if place[text] >= share], apart


def _choose(texts: Iterable[str], limit: int) -> list[str]:
    """Distinct texts with the smallest hashes, in their order, up to `limit` characters; whatever the order they come in."""
    chosen: dict[bytes, str] = {}
    size = 0
    for text in texts:
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        if text and key not in chosen:
            chosen[key] = text
            size += len(text)
        if size > 3 * limit:  # memory stays bounded, however many texts there are
            chosen = dict(sorted(chosen.items())[: len(_first([chosen[each] for each in sorted(chosen)], limit))])
            size = sum(map(len, chosen.values()))
    return _first([chosen[key] for key in sorted(chosen)], limit)


def _first(texts: Sequence[str], limit: int) -> list[str]:
    """As many of the first texts as reach `limit` characters."""
    sizes = np.cumsum([len(text) for text in texts])
    return list(texts[: int(np.searchsorted(sizes, limit)) + 1])


def _learn(
    learnt: Sequence[Real], quiet: Sequence[str], usage: Usage, writer: Writer, planted: int, salt: int
) -> tuple[Lexicon, Network]:
    labelled = _real(learnt, quiet, usage, writer)
    for text, spans in (writer.sentence() for _ in range(planted)):
        labelled.append(words_and_labels(text, [(start, end, CLASSES.index(entity)) for start, end, entity in spans]))
    named = {
        normal(word.strip())
        for text, judged in learnt
        for span in judged
        if span.entity == "PERSON" and span.believed
        for word in split(text[span.start : span.end])
    }
    lexicon = _lexicon(usage, named, (word for words, _ in labelled[-planted:] for word in words), salt, writer.language)
    rows, examples = _examples(labelled, lexicon)
    return lexicon, train(rows, blank_rows(lexicon.starts), examples, lexicon.starts[SLOTS], EPOCHS, seed=salt)


def _real(learnt: Sequence[Real], quiet: Sequence[str], usage: Usage, writer: Writer) -> list[Labelled]:
    """The user's texts with drawn names, and their lines without any, some with more capitals than they had."""
    labelled: list[Labelled] = []
    for text, judged in learnt:
        certain = any(span.certain for span in judged)
        copies = COPIES if certain else SWAPS if any(span.believed for span in judged) else 1
        # where the user gave the labels, what has none is nothing
        labelled += [words_and_labels(*relabel(text, judged, writer), None if certain else usage) for _ in range(copies)]
    nameless = [text for text, judged in learnt if not judged and "\n" not in text]
    for line in (*nameless, *quiet):
        if writer.random.random() < TITLED:
            labelled.append(words_and_labels(titled(line, writer.random), [], usage))
    return labelled + [words_and_labels(line, [], usage) for line in quiet]


def _lexicon(usage: Usage, named: set[str], planted: Iterable[str], salt: int, language: str) -> Lexicon:
    """Give an identity to the words that are no one's name: common ones, much used ones, and those of the patterns."""
    public = lists()
    names = public[GIVEN] | public[FAMILY] | public[PLACE]
    common = {word for word in usage.texts if usage.is_common(word)}
    known = {word for word in common if usage.lower[word] >= 5}
    known |= {word for word, count in usage.texts.items() if count >= RARE and word not in names and word not in named}
    patterns = Counter(normal(word.strip()) for word in planted if word.strip())
    known |= {word for word, count in patterns.items() if count >= 30 and word not in names}
    digests = sorted({digest(word, salt) for word in known})
    return Lexicon(
        salt,
        {own: SPECIAL + place for place, own in enumerate(digests)},
        tuple(frozenset(digest(word, salt) for word in members) for members in (*public, dictionary(language))),
        frozenset(digest(word, salt) for word in common),
    )


def _examples(
    labelled: Sequence[Labelled], lexicon: Lexicon
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int64]], Examples]:
    edge = [EDGE] * REACH
    blank = np.zeros(REACH, np.int64)
    tokens, labels = list(edge), [blank]
    for words, classes in labelled:
        tokens += words
        tokens += edge
        labels += [classes, blank]
    forms = {form: number for number, form in enumerate(dict.fromkeys(tokens))}
    ids = np.fromiter(map(forms.__getitem__, tokens), np.int64, len(tokens))
    rows = np.array([lexicon.features(form) for form in forms], np.int64) + np.array(lexicon.starts[:SLOTS])
    telling = np.fromiter(map(lexicon.is_telling, forms), bool, len(forms))[ids]
    wide = telling.copy()
    wide[1:] |= telling[:-1]
    wide[:-1] |= telling[1:]
    flat = np.concatenate(labels)
    places = np.flatnonzero(wide & (ids > 0) & (flat >= 0))
    return rows, Examples(ids, places, flat[places])
