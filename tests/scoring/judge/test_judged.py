"""What a judge says of a test set: shares with intervals, its name, and how well it tells true references from others'."""

import random

from pipelines.scoring.heldout import HeldOut
from pipelines.scoring.judge import open_judge
from pipelines.scoring.judge.judged import judged
from pipelines.scoring.judge.lexical import Lexical
from pipelines.spec import Scoring

SCORING = Scoring(resamples=100)


def held_out(n: int = 40) -> HeldOut:
    rng = random.Random(1)
    names = [f"{a}{b}{c}" for a in "bdfgkl" for b in ("ara", "elu", "ino", "opi") for c in ("ck", "nd", "rt", "st")]
    bags = [rng.sample(names, 8) for _ in range(n)]
    return HeldOut([str(i) for i in range(n)], [" ".join(bag) for bag in bags], [" ".join(bag[2:6]) for bag in bags])


def test_references_are_told_from_others() -> None:
    test = held_out()
    for judge in (Lexical(0.75), open_judge("evidence", threshold=0.5)):
        found = judged(test, {"model": test.references}, SCORING, judge, {})
        assert (found["name"], found["threshold"], found["n"]) == (judge.name, judge.threshold, 40)
        assert found["flagged"] == found["references"]
        low, high = found["auroc"]["interval"]
        assert 0.9 < low <= found["auroc"]["value"] <= high <= 1
        assert found["shuffled"]["count"] > found["references"]["count"]


def test_a_champion_is_compared_pair_by_pair() -> None:
    test = held_out()
    worse = [*test.references[1:], test.references[0]]
    found = judged(test, {"model": test.references, "champion": worse}, SCORING, Lexical(0.75), {})
    change = found["champion"]["difference"]
    assert change["interval"][1] < 0
    assert change["value"] == found["flagged"]["value"] - found["champion"]["value"]


def test_the_judge_reads_each_systems_own_log_probabilities() -> None:
    judge = open_judge("evidence", threshold=0.5, task="translation")
    test = held_out()
    sure, unsure = ([value] * 40 for value in (-0.1, -9.0))
    answers = {"model": test.references, "champion": test.references}
    found = judged(test, answers, SCORING, judge, {"model": sure, "champion": unsure})
    assert found["flagged"]["count"] < found["champion"]["count"] == 40
