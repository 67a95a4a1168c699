"""From answers to scores.json, gate and report: what a reader is told about models whose worth is known."""

import json
import random
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import spec
from pipelines.masking import Masked
from pipelines.scoring.baselines import constant, derangement, lead, sentence
from pipelines.scoring.gate import gate
from pipelines.scoring.heldout import HeldOut
from pipelines.scoring.measure import baselines, copying, differences, measure
from pipelines.scoring.metrics.sentences import sentences
from pipelines.scoring.report import markdown as report
from pipelines.scoring.report import plots

SCORING = spec.Scoring(lead_words=4, lead_after="Description: ", resamples=300, judge_threshold=0.7)
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("ara", "elu", "ino", "opi") for c in ("ck", "nd", "rt", "st")]


def world(n: int = 120) -> tuple[HeldOut, list[str]]:
    """Sources of 12 to 30 words after a field; the reference is the five words from the third on."""
    rng = random.Random(11)
    bags = [rng.sample(WORDS, rng.randint(12, 30)) for _ in range(n + 200)]
    references = [" ".join(bag[2:7]) for bag in bags]
    sources = [f"Package: p{i}\nDescription: {' '.join(bag)}" for i, bag in enumerate(bags)]
    return HeldOut([f"{i:016x}" for i in range(n)], sources[:n], references[:n]), references[n:]


def judged(outputs: list[str], test: HeldOut, train: list[str], champion: list[str] | None = None) -> dict[str, Any]:
    answers = {"model": outputs, **baselines(test, outputs, train, SCORING)}
    return measure(test, answers | ({"champion": champion} if champion else {}), SCORING)


def closed(scores: dict[str, Any], **policy: Any) -> list[str]:
    return [rule.rule for rule in gate(scores, spec.Gate(**policy)) if not rule.passed]


TEST, TRAIN = world()
BODIES = [source.partition("Description: ")[2].split() for source in TEST.sources]
GOOD = [" ".join(body[2:6]) for body in BODIES]


def test_a_model_that_reads_its_source_passes_and_beats_its_baselines() -> None:
    scores = judged(GOOD, TEST, TRAIN)
    assert closed(scores, beats=("lead", "constant"), max_flagged=0.1) == []
    low, high = scores["model"]["rougeL"]["interval"]
    assert low <= scores["model"]["rougeL"]["value"] <= high
    assert set(scores["baselines"]) == {"lead", "sentence", "copy", "constant", "other"}
    assert set(scores["comparison"]) == set(scores["baselines"])
    assert scores["judge"]["flagged"]["count"] == 0
    assert scores["judge"]["shuffled"]["value"] > 0.8 > scores["judge"]["references"]["value"]


def test_a_model_that_says_the_same_to_all_does_not_read_its_source() -> None:
    scores = judged([TRAIN[0]] * len(TEST.ids), TEST, TRAIN)
    assert "reads_source" in closed(scores)
    assert scores["distinct"] == 1


def test_a_model_that_answers_for_another_source_is_closed_and_flagged() -> None:
    scores = judged(GOOD[1:] + GOOD[:1], TEST, TRAIN)
    assert "reads_source" in closed(scores)
    assert "max_flagged" in closed(scores, max_flagged=0.2)


def test_empty_outputs_are_counted_and_closed() -> None:
    scores = judged([""] * len(TEST.ids), TEST, TRAIN)
    assert (scores["empty"], scores["judge"]["flagged"]["value"]) == (len(TEST.ids), 1.0)
    assert "reads_source" in closed(scores)


def test_a_leak_closes_the_gate_unless_the_references_hold_as_many() -> None:
    leaky = [*GOOD[:-1], "mail someone@example.org"]
    assert closed(judged(leaky, TEST, TRAIN)) == ["leaks"]
    allowed = HeldOut(TEST.ids, TEST.sources, [*TEST.references[:-1], "mail someone@example.org"])
    assert closed(judged(leaky, allowed, TRAIN)) == []


def test_placeholders_that_nothing_can_be_put_in_the_place_of_close_the_gate() -> None:
    inventing = [f"{output} <PERSON_2>" for output in GOOD]
    assert closed(judged(inventing, TEST, TRAIN)) == ["invented"]
    shared = HeldOut(TEST.ids, TEST.sources, [f"{reference} <PERSON_2>" for reference in TEST.references])
    assert closed(judged(inventing, shared, TRAIN)) == []
    assert closed(judged(inventing, TEST, TRAIN), max_invented=1.0) == []


@pytest.mark.parametrize(("ours", "theirs", "verdict"), [(5, 5, "not worse"), (2, 5, "worse"), (5, 2, "better")])
def test_the_champion_is_compared_pair_by_pair(ours: int, theirs: int, verdict: str) -> None:
    outputs, champion = ([" ".join(body[2 : 2 + n]) for body in BODIES] for n in (ours, theirs))
    scores = judged(outputs, TEST, TRAIN, champion)
    assert scores["baselines"]["champion"]["difference"]["verdict"] == verdict
    assert ("champion" in closed(scores)) == (verdict == "worse")
    gains = differences(TEST, {"model": outputs, "champion": champion}, "champion", "rougeL")
    assert gains.mean() == pytest.approx(scores["baselines"]["champion"]["difference"]["value"])
    assert scores["judge"]["champion"]["difference"]["value"] == 0


def test_slices_split_by_length_and_only_when_large_enough() -> None:
    slices = [part for part in judged(GOOD, TEST, TRAIN)["slices"] if part["dimension"] == "length"]
    assert [part["slice"] for part in slices] == ["short", "middle", "long"]
    assert sum(part["n"] for part in slices) == len(TEST.ids)
    assert all(a["words"][1] <= b["words"][0] for a, b in pairwise(slices))
    few, train = world(80)
    assert judged([""] * 80, few, train)["slices"] == []


def test_the_report_says_it_all_and_breaks_no_table(tmp_path: Path) -> None:
    outputs = ["a | b `c`\n<URL_1>", *GOOD[1:]]
    scores = judged(outputs, TEST, TRAIN, outputs)
    rules = gate(scores, SCORING.gate)
    verdict = {"passed": all(rule.passed for rule in rules), "rules": [asdict(rule) for rule in rules]}
    text = report.markdown(scores, verdict, "constant | answer", [("src\nline", "ref", outputs[0]), ("s", "r", "")])
    assert text.index("**The gate is open**") < text.index("## Gate") < text.index("## Scores")
    assert "| champion |" in text
    assert "`a ¦ b 'c' <URL_1>`" in text
    assert "(empty)" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    (tmp_path / "gate.json").write_text(json.dumps(verdict))
    lines = report.summary(tmp_path)
    assert any(line.startswith("this model") for line in lines)
    assert "gate: open" in lines


def test_pictures_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    scores = judged(GOOD, TEST, TRAIN)
    gains = {"other": differences(TEST, {"model": GOOD, "other": GOOD[1:] + GOOD[:1]}, "other", "rougeL")}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        plots.scores(scores, tmp_path / name / "scores.png")
        plots.differences(gains, scores, tmp_path / name / "differences.png")
    for picture in ("scores.png", "differences.png"):
        first, second = ((tmp_path / name / picture).read_bytes() for name in ("one", "two"))
        assert first == second
        assert first.startswith(b"\x89PNG")
        assert b"Software" not in first


def test_lead_starts_after_its_field_where_there_is_one() -> None:
    assert lead("Package: a\nDescription: one two three", 2, "Description: ") == "one two"
    assert lead("one two three", 2, "Description: ") == "one two"
    assert lead("one two three", 9, "") == "one two three"


def test_the_constant_answer_is_the_best_training_target() -> None:
    targets = ["red fox", "red dog", "red cat", "old red fox runs", "blue whale"]
    brute = {text: sentences(["rougeL"], [text] * len(targets), targets)["rougeL"].mean() for text in targets}
    assert brute[constant(targets, "rougeL")] == max(brute.values())
    assert constant([], "rougeL") == ""


@given(st.integers(2, 400))
def test_nothing_stays_in_its_place(n: int) -> None:
    away = derangement(n)
    assert sorted(away) == list(range(n))
    assert all(index != place for place, index in enumerate(away))
    assert away == derangement(n)


def test_the_first_sentence_starts_after_the_field_too() -> None:
    assert sentence("Package: a\nDescription: It reads maps. It draws.", "Description: ") == "It reads maps."
    assert sentence("no end here", "Description: ") == "no end here"
    assert sentence("", "") == ""


def test_copying_tells_words_from_placeholders() -> None:
    pairs = [
        Masked(row, f"open {mark}", f"{mark} öffnen", word, mark)
        for row, word, mark in ((0, "Kiwi", "<PERSON_1>"), (2, "Pear", "<PERSON_2>"))
    ]
    found = copying(pairs, ["Kiwi öffnen", "", "Birne öffnen"], ["<PERSON_1> öffnen", "<PERSON_2> öffnen"], SCORING)
    assert found is not None
    assert (found["n"], found["words"]["count"], found["placeholders"]["count"]) == (2, 1, 2)
    assert (found["where_named"]["count"], found["where_named"]["value"]) == (1, 1.0)
    nowhere = copying(pairs, ["", "", ""], ["<PERSON_1> öffnen", "<PERSON_2> öffnen"], SCORING)
    assert nowhere is not None
    assert nowhere["where_named"] is None
    assert copying([], [], [], SCORING) is None
