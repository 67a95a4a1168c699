"""The judge: what supports an output, and what flags it."""

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.scoring.judge.lexical import IDENTIFIER, PLACEHOLDER, STOP_WORDS, WORD, _compound, _parts, _Source, flags, stem

SOURCE = (
    "Package: libfoo2-dev\nSection: libdevel\nHomepage: <URL_1>\nDescription: Foo compresses tarballs in 64 blocks. "
    "It was written for PostgreSQL by <PERSON_1>."
)
text = st.text(st.characters(codec="utf-8"), max_size=60)
word = st.text(st.characters(categories=("L",)), min_size=2, max_size=8).filter(lambda w: w.lower() not in STOP_WORDS)


def one(output: str, source: str = SOURCE, threshold: float = 0.7) -> tuple[bool, tuple[str, ...]]:
    verdict = flags([source], [output], threshold)[0]
    return verdict.flagged, tuple(span.text for span in verdict.unsupported)


@pytest.mark.parametrize(
    "output",
    [
        "compressing a tarball",  # -es/-ing, plural
        "foo library, development headers",  # lib, dev: parts of an identifier; headers alone is below the threshold
        "Foo for PostgreSQL in 64 blocks, by <PERSON_1>",
        "libfoo2-dev",
    ],
)
def test_supported(output: str) -> None:
    assert not one(output)[0]


@pytest.mark.parametrize(
    ("output", "unsupported"),
    [
        ("", ()),
        (" \n", ()),
        ("...", ()),
        ("it is what it is", ()),
        ("Foo compresses in 65 blocks", ("65",)),
        ("Foo compresses in 6 blocks", ("6",)),
        ("Foo by <PERSON_2>", ("<PERSON_2>",)),
        ("Foo by <PERSON_1> at <EMAIL_ADDRESS_1>", ("<EMAIL_ADDRESS_1>",)),
        ("Qt widget gallery", ("Qt", "widget", "gallery")),
    ],
)
def test_flagged(output: str, unsupported: tuple[str, ...]) -> None:
    assert one(output) == (True, unsupported)


def test_support_is_the_share_of_content_words() -> None:
    verdict = flags([SOURCE], ["Foo compresses the elephants"], 0.5)[0]
    assert verdict.support == pytest.approx(2 / 3)
    assert not verdict.flagged
    assert flags([SOURCE], ["Foo compresses the elephants"], 1 / 3)[0].flagged


@given(text, st.data())
@settings(max_examples=200, deadline=None)
def test_an_extract_is_never_flagged(source: str, data: st.DataObject) -> None:
    whole = flags([source], [source], 0.0)[0]
    assert whole.unsupported == ()
    pieces = source.split()
    assume(pieces)
    kept = " ".join(data.draw(st.lists(st.sampled_from(pieces), min_size=1)))
    verdict = flags([source], [kept], 0.0)[0]
    assert verdict.unsupported == ()
    assert verdict.flagged == (verdict.support == 0.0)  # flagged only if it says nothing at all


pieces = st.one_of(
    st.sampled_from(
        [
            "lib",
            "libfoo-dev",
            "fooBar",
            "gaming",
            "game",
            "\u03a3\u0391\u03a3",
            "<URL_2>",
            "12",
            "C++",
            "\u0130st",
            "a_b-c",
            "dat",
        ]
    ),
    st.text(max_size=4),
)


@given(st.lists(pieces, max_size=8), st.lists(pieces, max_size=4), st.sampled_from(["", " ", "-", ". "]))
@settings(max_examples=300, deadline=None)
def test_what_a_source_holds_is_what_all_of_its_words_hold(source: list[str], output: list[str], between: str) -> None:
    """Only the stretches that may matter are read; here all are."""
    told = between.join(source)
    bare = PLACEHOLDER.sub(" ", told)
    words = WORD.findall(bare)
    parts = {part for word in words for part in _parts(word)} | {*PLACEHOLDER.findall(told)}
    short = {name for word in words if _compound(word) for name in IDENTIFIER.findall(word.lower())}
    for part in {part for word in WORD.findall(between.join(output)) for part in (*_parts(word), *PLACEHOLDER.findall(word))}:
        held = part in parts
        if not part.startswith("<") and not part.isdigit():
            root = stem(part)
            held |= root in map(stem, parts) or (len(root) >= 4 and root in bare.lower()) or part.startswith(tuple(short))
        assert _Source(told).holds(part) == held, part


@given(text, text, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_higher_threshold_flags_no_more(source: str, output: str, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert flags([source], [output], low)[0].flagged >= flags([source], [output], high)[0].flagged


@given(text, st.lists(word, max_size=5))
@settings(max_examples=100, deadline=None)
def test_an_invented_number_or_placeholder_always_flags(source: str, words: list[str]) -> None:
    assume("907" not in source)
    assume("<URL_9>" not in source)
    for invented in ("907", "<URL_9>"):
        assert one(" ".join([*words, invented]), source)[0]


def test_it_tells_a_reference_from_another_sources_reference() -> None:
    rng = random.Random(3)
    vocabulary = [f"{a}{b}{c}" for a in "bdfgklmn" for b in ("ara", "elu", "ino", "opi") for c in ("ck", "nd", "rt", "st")]
    bags = [rng.sample(vocabulary, 12) for _ in range(50)]
    sources, own = [" ".join(bag) for bag in bags], [" ".join(bag[2:7]) for bag in bags]
    other = own[1:] + own[:1]
    assert sum(v.flagged for v in flags(sources, own, 0.7)) == 0
    assert sum(v.flagged for v in flags(sources, other, 0.7)) > 40


def test_stems_meet() -> None:
    assert len({stem(w) for w in ("compress", "compressed", "compressing", "compresses")}) == 1
    assert stem("running") == stem("run")
    assert stem("as") == "as"


def test_placeholders_are_whole() -> None:
    assert PLACEHOLDER.findall("<PERSON_1>,<EMAIL_ADDRESS_12> <b_1> <PERSON_>") == ["<PERSON_1>", "<EMAIL_ADDRESS_12>"]
