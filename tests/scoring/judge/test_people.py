"""What people said of answers becomes what a judge is tested on and learns from."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipelines.scoring.judge import corpus
from pipelines.scoring.judge.corpus import Corpus
from pipelines.scoring.judge.people import PEOPLE, SUPPORTED, Label, opinions
from tests.scoring.judge.test_cascade import dataset, judge_spec

SAID = st.sampled_from(["supported", "unsupported", "can't tell"])


def test_most_decide_and_a_tie_is_left_out() -> None:
    found = opinions(
        [
            Label("a", "source", "a red cat", "unsupported", "red"),
            Label("a", "source", "a red cat", "unsupported"),
            Label("a", "source", "a red cat", "supported"),
            Label("b", "source", "a cat", "supported"),
            Label("b", "source", "a cat", "unsupported"),
            Label("c", "source", "a cat", "can't tell"),
            Label("d", "source", "a dog", "unsupported", "", "a cat"),
        ]
    )
    assert [(each.id, each.supported, each.output[each.start : each.end]) for each in found] == [
        ("a", False, "red"),
        ("d", False, "a dog"),
    ]
    assert found[1].corrected == "a cat"


@given(st.lists(st.tuples(st.sampled_from("abcd"), SAID), max_size=30))
def test_each_answer_has_one_opinion_at_most_whatever_the_order(said: list[tuple[str, str]]) -> None:
    labels = [Label(item, "source", f"output {item}", answer) for item, answer in said]  # type: ignore[arg-type]
    found = opinions(labels)
    assert len({each.id for each in found}) == len(found)
    assert opinions(labels[::-1]) == found
    for each in found:
        votes = [answer for item, answer in said if item == each.id]
        assert (votes.count("supported") > votes.count("unsupported")) is each.supported


def test_what_people_said_is_test_and_lesson(tmp_path: Path) -> None:
    labels = [
        Label(f"item-{number}", f"source {number}", f"output {number} here", said, str(number), corrected)
        for number in range(24)
        for said, corrected in [("supported", "") if number % 3 else ("unsupported", f"better {number}")]
    ]
    people = opinions(labels)  # type: ignore[arg-type]
    plain, with_people = (
        corpus.corrupted([Corpus("tiny", dataset(tmp_path / "pairs"), "en", False, said)], judge_spec().corruptions, tmp_path)
        for said in ((), people)
    )
    assert plain.path != with_people.path
    test = [row for row in corpus.read(with_people, "test") if row.kind in (PEOPLE, SUPPORTED)]
    train = [row for row in corpus.read(with_people, "train") if row.source.startswith("source ")]
    assert {row.id for row in test} == {each.id for each in people if each.tests}
    assert {row.kind for row in test} == {PEOPLE, SUPPORTED}
    assert not {row.id for row in test} & {row.id for row in train}
    for true, bad in zip(train[::2], train[1::2], strict=True):
        assert (true.kind, true.target) == ("", f"better {bad.target.split()[1]}")
        assert bad.kind == PEOPLE
        assert bad.target[bad.start : bad.end] == bad.target.split()[1]
    assert len(train) == 2 * sum(not each.tests and not each.supported for each in people)
