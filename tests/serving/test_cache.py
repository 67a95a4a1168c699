"""The cache: what is one question, how long an answer is kept, and who asks when several ask at once."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.cache import LONGEST, Cache, Flights, key
from pipelines.serving.exchange import Output
from pipelines.spec import Cache as Bounds
from pipelines.spec import Decoding

GREEDY = Decoding()
OUTPUT = Output(text="an answer", source_tokens=3, target_tokens=2, truncated=False)
decodings = st.builds(
    Decoding, beam=st.integers(1, 3), max_tokens=st.integers(1, 3), length_penalty=st.sampled_from([0.5, 1.0]),
    no_repeat_ngram=st.integers(0, 2),
)  # fmt: skip
texts = st.text(max_size=5)
versions = st.sampled_from(["1", "2", "endpoint:other"])


@given(st.tuples(versions, decodings, texts), st.tuples(versions, decodings, texts))
def test_two_keys_are_equal_when_the_questions_are(one: tuple[str, Decoding, str], other: tuple[str, Decoding, str]) -> None:
    assert (key(*one) == key(*other)) == (one == other)


@given(st.integers(0, 10), st.integers(0, 2**32 - 1), st.floats(0.1, 1))
def test_what_only_matters_to_drawing_does_not_count(top_k: int, seed: int, top_p: float) -> None:
    drawn = Decoding(top_k=top_k, seed=seed, top_p=top_p)
    assert key("1", drawn, "text") == key("1", GREEDY, "text")


def test_an_answer_is_kept_for_its_time_and_then_found_only_as_a_stale_one() -> None:
    cache = Cache(Bounds(entries=8, seconds=10))
    cache.keep("1", GREEDY, "text", OUTPUT, now=100.0)
    found = cache.find("1", GREEDY, "text", now=109.9)
    assert found == OUTPUT.model_copy(update={"cached": True})
    assert cache.find("1", GREEDY, "text", now=110.0) is None
    assert cache.find_stale("1", GREEDY, "text") == found
    for other in (("2", GREEDY, "text"), ("1", Decoding(beam=2), "text"), ("1", GREEDY, "text ")):
        assert cache.find(*other, now=101.0) is None


def test_a_stale_one_may_have_any_beam_and_the_largest_counts() -> None:
    cache = Cache(Bounds(entries=8, seconds=10))
    cache.keep("1", GREEDY, "text", OUTPUT, now=0.0)
    cache.keep("1", Decoding(beam=4), "text", OUTPUT.model_copy(update={"text": "better"}), now=0.0)
    found = cache.find_stale("1", Decoding(beam=2), "text")
    assert found is not None
    assert found.text == "better"
    assert cache.find_stale("1", Decoding(beam=2, max_tokens=1), "text") is None


def test_drawn_withheld_and_endless_answers_are_not_kept() -> None:
    cache = Cache(Bounds())
    drawn = Decoding(temperature=1.0, seed=1)
    cache.keep("1", drawn, "text", OUTPUT, now=0.0)
    cache.keep("1", GREEDY, "refused", OUTPUT.model_copy(update={"withheld": True}), now=0.0)
    cache.keep("1", GREEDY, "endless", OUTPUT.model_copy(update={"text": "a" * (LONGEST + 1)}), now=0.0)
    assert len(cache) == 0
    assert cache.find("1", drawn, "text", now=0.0) is cache.find_stale("1", drawn, "text") is None


def test_without_entries_there_is_no_cache() -> None:
    cache = Cache(Bounds(entries=0))
    cache.keep("1", GREEDY, "text", OUTPUT, now=0.0)
    assert not cache.usable(GREEDY)
    assert cache.find("1", GREEDY, "text", now=0.0) is None


def test_it_is_bounded_and_forgets_versions_that_left() -> None:
    cache = Cache(Bounds(entries=10))
    for number in range(30):
        cache.keep(str(number % 2), GREEDY, f"text {number}", OUTPUT, now=0.0)
    assert len(cache) == 10
    cache.retain(frozenset({"1"}))
    assert len(cache) == 5
    assert cache.find("1", GREEDY, "text 29", now=0.0)
    assert not cache.find("0", GREEDY, "text 28", now=0.0)


def test_no_text_is_kept_of_a_question() -> None:
    cache = Cache(Bounds())
    cache.keep("1", GREEDY, "who is asking", OUTPUT, now=0.0)
    assert "who is asking" not in repr(vars(cache))


async def _flights() -> None:
    flights = Flights()
    assert flights.join(b"k") is None, "the first one leads"
    followers = [flights.join(b"k") for _ in range(3)]
    flights.land(b"k", OUTPUT)
    assert [await each for each in followers if each] == [OUTPUT] * 3
    assert flights.join(b"k") is None, "landed is landed"
    flights.land(b"k", None)


def test_several_who_ask_at_once_share_one_answer() -> None:
    asyncio.run(_flights())
