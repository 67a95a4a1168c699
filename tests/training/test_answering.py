"""Weights chosen by the task's metric: greedy answers to validation pairs, measured at each validation."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.artifact import Weights
from pipelines.decode import Decoder, Reading
from pipelines.errors import UserError
from pipelines.scoring.metrics.sentences import sentences
from pipelines.spec import Decoding
from pipelines.training.answering import Answering
from pipelines.training.fit import _counted, fit
from pipelines.training.loop import Loop
from pipelines.training.metric import Metric
from pipelines.training.progress import lines
from tests.training import line
from tests.training.test_steps import STILL, loop_of


def score(name: str, outputs: Sequence[str], targets: Sequence[str]) -> float:
    return float(sentences([name], outputs, targets)[name].mean())


CHRF = Metric("chrf", lambda outputs, targets: score("chrf", outputs, targets))
BY_METRIC = line.TRAINING.model_copy(update={"select": "metric", "steps": 24, "validate_steps": 6, "denoising": 0.0})


@pytest.fixture(scope="module")
def chosen(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return fit(line.encoded(work), BY_METRIC, None, tmp_path_factory.mktemp("chosen"), CHRF)


def facts_of(weights: Weights) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((weights.path / "training.json").read_text())
    return facts


def test_the_weights_with_the_best_answers_are_kept(chosen: Weights) -> None:
    facts = facts_of(chosen)
    assert facts["metric"] == "chrf"
    assert [step for step, _ in facts["metrics"]] == [step for step, _ in facts["validations"]] == [6, 12, 18, 24]
    both = [(metric, -loss) for (_, metric), (_, loss) in zip(facts["metrics"], facts["validations"], strict=True)]
    assert (facts["best_metric"], -facts["best_loss"]) == max(both)
    assert facts["best_step"] == 6 * (1 + both.index(max(both)))
    logged = [row["metric"] for row in lines(chosen.path.parent / f"{chosen.path.name}.jsonl") if "metric" in row]
    assert logged == [metric for _, metric in facts["metrics"]]


def test_what_is_measured_is_what_the_served_model_answers(work: Path) -> None:
    """transformers' answers of the weights in training, and CTranslate2's of their export, score the same."""
    export = line.exported(work, "float32")
    table = pq.read_table(line.encoded(work).path / "validation.parquet").to_pydict()
    greedy = Decoding(beam=1, max_tokens=line.SECTION.max_target, no_repeat_ngram=0)
    answers = Decoder(export.path).answer(table["source"], greedy, Reading("text2text", long_inputs="cut"), 4_096)
    wanted = score("chrf", [answer.text for answer in answers], table["target"])

    from transformers import AutoModelForSeq2SeqLM

    loop = loop_of(line.encoded(work), STILL)
    model = AutoModelForSeq2SeqLM.from_pretrained(export.path / "hf", local_files_only=True)
    for budget in (64, 100_000):
        answering = Answering(line.encoded(work).path, CHRF, loop.marks, line.SECTION.max_target, budget)
        assert answering.measure(model) == pytest.approx(wanted, abs=0.01)


def test_a_metric_has_to_be_given(work: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^training\.select: metric: nothing here measures one"):
        fit(line.encoded(work), BY_METRIC, None, tmp_path)


def test_a_metric_that_is_not_asked_for_changes_nothing(work: Path) -> None:
    """Nor does the key itself, at its default: weights that were made before there was one are found."""
    made = line.trained(work)
    assert fit(line.encoded(work), line.TRAINING, None, work, CHRF) == made
    assert "select" not in _counted(line.TRAINING, None)
    assert _counted(BY_METRIC, CHRF)["select"] == "chrf"


@pytest.fixture(scope="module")
def loop(work: Path) -> Loop:
    return loop_of(line.encoded(work), STILL)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=12), st.booleans())
def test_either_value_holds_patience_off_and_the_metric_chooses(
    loop: Loop, found: list[tuple[int, int]], measured: bool
) -> None:
    loop.state = type(loop.state)()
    stale = 0
    for number, (loss, metric) in enumerate(found, start=1):
        loop.state.step = number
        loop._judged(float(loss), float(metric) if measured else None)
        before = found[: number - 1]
        lower = all(loss < other for other, _ in before)
        better = all((metric, -loss) > (other, -old) for old, other in before)
        stale = 0 if lower or (measured and better) else stale + 1
        assert loop.state.stale == stale
    best = max(found, key=lambda each: (each[1], -each[0])) if measured else min(found, key=lambda each: each[0])
    firsts = [number for number, each in enumerate(found, start=1) if (each == best if measured else each[0] == best[0])]
    assert loop.state.best_step == firsts[0]
    assert loop.state.best_loss == best[0]
    assert [step for step, _ in loop.state.validations] == [*itertools.islice(itertools.count(1), len(found))]
