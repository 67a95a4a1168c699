"""The shipped judge of evidence, by the file that is shipped; and how such a file is made."""

import copy
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from pipelines.errors import UserError
from pipelines.scoring.judge import Verdict, open_judge
from pipelines.scoring.judge.fitting import How, summaries
from pipelines.scoring.judge.lessons import lessons
from pipelines.scoring.judge.shipped import FILE, Shipped, ranked

SOURCE = (
    "Package: harbour\nDescription: The harbour of Rostock was closed on Monday. Twelve ships waited outside, said Anna Krause "
    "of the port authority. A storm had broken one of the cranes."
)
FACTS = json.loads(FILE.read_text(encoding="utf-8"))
text = st.text(st.characters(codec="utf-8"), max_size=80)


def judge(output: str, source: str = SOURCE, logprob: float | None = None, **how: str) -> Verdict:
    return open_judge("evidence", threshold=0.5, **how).judge([source], [output], [logprob])[0]


def test_it_tells_what_the_source_says_from_what_it_does_not() -> None:
    good = judge("Twelve ships waited outside the harbour of Rostock.")
    for output in (
        "Eleven ships waited outside the harbour of Rostock.",
        "Twelve ships waited outside the harbour of Hamburg.",
        "",
    ):
        assert judge(output).probability > good.probability
    assert judge("Trains to Hamburg were delayed by heavy snow.").flagged
    assert not good.flagged
    assert good.support == 1 - good.probability


def test_an_output_that_says_nothing_is_unsupported() -> None:
    assert [judge(output).probability for output in ("", " \n", "...", "It was that.")] == [1, 1, 1, 1]
    assert judge("Twelve ships waited. It was that.").probability < 0.5  # a sentence that says nothing says nothing false


def test_the_false_sentence_and_its_words_are_named() -> None:
    output = "Twelve ships waited outside. The mayor of Hamburg paid 900 euros."
    verdict = judge(output)
    first, second = verdict.sentences
    assert first.probability < second.probability <= verdict.probability
    assert output[second.start : second.end] == "The mayor of Hamburg paid 900 euros."
    assert {span.text for span in verdict.unsupported} >= {"Hamburg", "900"}
    assert all(span.start >= second.start for span in verdict.unsupported)


@given(st.lists(st.tuples(text, text), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_any_text_the_same_in_any_batch(pairs: list[tuple[str, str]]) -> None:
    sources, outputs = zip(*pairs, strict=True)
    told = open_judge("evidence", threshold=0.5)
    whole = told.judge(sources, outputs)
    assert whole == [told.judge([source], [output])[0] for source, output in pairs]
    for verdict in whole:
        assert 0 <= verdict.probability <= 1
        assert all(each.probability <= verdict.probability for each in verdict.sentences)


def test_a_translation_is_judged_by_its_models_log_probability() -> None:
    said = [judge("Der Hafen war geschlossen.", logprob=each, task="translation").probability for each in (-0.2, -2.0, -8.0)]
    assert said == sorted(said)
    assert said[0] < 0.2
    assert said[-1] > 0.8
    assert said[0] < judge("Der Hafen war geschlossen.", task="translation").probability < said[-1]


def test_a_frozen_threshold_holds_in_its_domain_alone() -> None:
    frozen = FACTS["domains"]["synopsis"]["threshold"]
    assert open_judge("evidence", threshold=0.9, domain="synopsis").threshold == frozen["threshold"]
    assert open_judge("evidence", threshold=0.9, domain="elsewhere").threshold == 0.9
    assert frozen["fpr"]["low"] < frozen["fpr"]["high"] < frozen["tpr"]["low"] < frozen["tpr"]["high"]


def test_another_file_is_another_name_and_a_damaged_one_is_refused() -> None:
    other = copy.deepcopy(FACTS)
    other["heads"]["summarization"]["intercept"] += 0.1
    assert Shipped(other, threshold=0.5).name != Shipped(FACTS, threshold=0.5).name
    for key in ("heads", "rarity", "domains"):
        with pytest.raises(UserError, match=r"evidence\.json: .*fit it again"):
            Shipped({**FACTS, key: None}, threshold=0.5)


@pytest.mark.parametrize("name", ["evidences", "no/such/folder", "judge@champion"])
def test_an_unknown_judge_is_one_clear_line(name: str) -> None:
    with pytest.raises(UserError, match=r"^scoring\.judge: ") as told:
        open_judge(name, threshold=0.5)
    assert "\n" not in str(told.value)


def pairs(n: int) -> tuple[list[str], list[str]]:
    things = ["cranes", "ships", "trains", "lorries", "ferries", "barges", "buses", "trams", "tugs", "yachts"]
    towns = ["Rostock", "Hamburg", "Bremen", "Kiel", "Stralsund", "Wismar", "Emden"]
    does = ["load grain", "wait outside", "carry passengers", "need repairs", "leave on Monday", "are not for sale"]
    sources, targets = [], []
    for i in range(n):
        thing, town, doing = things[i % 10], towns[i % 7], does[(i // 7) % 6]
        sources.append(f"Note {i}: The {thing} of {town} {doing}, says the port. There are {i + 2} of them in the old harbour.")
        targets.append(f"The {thing} of {town} {doing}")
    return sources, targets


def test_fitting_twice_gives_the_same_head_which_knows_its_domain(tmp_path: Path) -> None:
    sources, targets = pairs(240)
    for name, part in (("train", slice(0, 120)), ("test", slice(120, 240))):
        parquet.write_table(pa.table({"source": sources[part], "target": targets[part]}), tmp_path / f"{name}.parquet")
    one, two = (summaries(tmp_path, "ports", "", How(120, 120, 0.1, 3)) for _ in range(2))
    assert one == two
    rarity, fitted = one
    heads = {"summarization": fitted.head.plain(), "translation": fitted.head.plain()}
    facts = {"rarity": ranked(rarity), "heads": heads, "domains": {"ports": fitted.plain()}}
    own = Shipped(json.loads(json.dumps(facts)), threshold=0.5, domain="ports")
    assert own.frozen == fitted.frozen
    true, false = own.judge(sources[:2], [targets[0], targets[0]])
    assert true.probability < false.probability


def test_lessons_are_the_same_for_a_seed_and_name_what_is_false() -> None:
    sources, targets = pairs(40)
    found = lessons(sources, targets, 1)
    assert found == lessons(sources, targets, 1) != lessons(sources, targets, 2)
    assert {each.kind for each in found} >= {"true", "crossed", "swapped", "entity", "unrelated"}
    for each in found:
        assert (each.false is None) == (each.kind == "true")
        assert each.false is None or 0 <= each.false[0] < each.false[1] <= len(each.output)
        assert each.output.strip()
