"""Test pairs that training saw are counted, whoever promised that there are none."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines import spec
from pipelines.scoring.safety.contamination import RUN, contamination
from pipelines.scoring.safety.membership import Pairs

SCORING = spec.Scoring()
QUOTED = " ".join(f"word{number}" for number in range(RUN))


def counts(train: list[tuple[str, str]], test: list[tuple[str, str]]) -> dict[str, int]:
    seen, held_out = (Pairs([source for source, _ in side], [target for _, target in side]) for side in (train, test))
    found = contamination(seen, held_out, None, SCORING)
    assert found["near_duplicates"] is None
    return {name: found[name]["count"] for name in ("sources", "pairs", "run")}


def test_the_same_source_in_another_dress_is_the_same() -> None:
    train = [("A small, fast tool!", "tool"), ("another one", "game")]
    assert counts(train, [("a SMALL fast\ntool", "Tool."), ("A small fast tools", "tool")]) == {
        "sources": 1,
        "pairs": 1,
        "run": 0,
    }
    assert counts(train, [("A small, fast tool!", "game")]) == {"sources": 1, "pairs": 0, "run": 0}


def test_texts_without_words_are_compared_as_they_are() -> None:
    assert counts([("!!!", "a")], [("???", "a"), (" !!! ", "b")])["sources"] == 1


def test_a_long_run_counts_unless_everybody_writes_it() -> None:
    test = [(f"before {QUOTED} after", "a"), (f"{QUOTED.replace('word5', 'another')}", "b")]
    assert counts([(f"something {QUOTED}", "x"), ("more", "y")], test)["run"] == 1
    assert counts([(f"{number} {QUOTED}", "x") for number in range(11)], test)["run"] == 0


def test_the_proof_of_the_splitting_is_passed_on() -> None:
    pairs = Pairs(["a b", "c d"], ["x", "y"])
    found = contamination(pairs, Pairs(["e"], ["z"]), {"leakage": {"near_duplicates": 3}}, SCORING)
    assert found["near_duplicates"] == 3
    assert found["sources"]["interval"][0] == 0


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1, max_size=9))
def test_training_on_the_test_set_is_always_seen(pairs: list[tuple[str, str]]) -> None:
    found = counts(pairs, pairs)
    assert found["sources"] == found["pairs"] == len(pairs)
