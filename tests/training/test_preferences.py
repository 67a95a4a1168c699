"""The round on preferences: what it learns, what it leaves as it is, and that a kill costs no more than an interval."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from pipelines import spec
from pipelines.artifact import Weights, verify
from pipelines.errors import SeqlineError
from pipelines.training.dpo import Choices, Round, encoded
from pipelines.training.pairs import Pairs
from pipelines.training.preferences import prefer, too_few
from pipelines.training.progress import last_step, lines
from tests.training import line, preferences_process
from tests.training.preferences_process import SECTION, preferences, preferred

REPO = Path(__file__).parents[2]


def facts_of(weights: Weights) -> dict[str, Any]:
    return dict(json.loads((weights.path / "training.json").read_text())["preferences"])


@pytest.fixture(scope="module")
def out(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished training and a finished round in it."""
    made = Path(shutil.copytree(work, tmp_path_factory.mktemp("preferences"), dirs_exist_ok=True))
    preferred(made)
    return made


def test_the_corrected_answers_gain_and_it_says_how_much(out: Path) -> None:
    weights = preferred(out)
    verify(weights.path, weights.sha256)
    told = facts_of(weights)
    before, after = told["accuracy"]["before"], told["accuracy"]["after"]
    assert after["value"] > before["interval"][1], "surely more"
    assert after["interval"][0] <= after["value"] <= after["interval"][1]
    assert told["gained"]["value"] > 0.5
    assert (told["learnt_from"], told["held_out"], after["n"], told["left_out"]) == (48, 16, 16, {"alike": 1})
    assert told["sha256"] == preferences(out).sha256
    assert [step for step, *_ in told["validations"]] == list(range(5, 31, 5))
    losses = {step: loss for step, loss, _ in told["validations"]}
    assert losses[told["best_step"]] == min(losses.values()) < math.log(2)


def test_it_changes_the_weights_and_nothing_else_of_the_folder(out: Path) -> None:
    before, after = line.trained(out).path, preferred(out).path
    assert {path.name for path in before.iterdir()} == {path.name for path in after.iterdir()}
    changed = {path.name for path in before.iterdir() if path.read_bytes() != (after / path.name).read_bytes()}
    assert changed == {"model.safetensors", "training.json", "manifest.json"}
    assert not list(out.glob(".preferred-*"))


def test_the_same_input_gives_the_same_bytes_and_a_second_call_does_nothing(out: Path, work: Path, tmp_path: Path) -> None:
    there = preferred(out)
    log = there.path.with_suffix(".jsonl").read_bytes()
    assert preferred(out) == there
    assert there.path.with_suffix(".jsonl").read_bytes() == log
    shutil.copytree(work, tmp_path, dirs_exist_ok=True)
    assert preferred(tmp_path).sha256 == there.sha256


def test_killed_and_resumed_it_ends_in_the_same_bytes(
    out: Path, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(work, tmp_path, dirs_exist_ok=True)
    for reach in (8, 17):
        process = subprocess.Popen([sys.executable, "-m", preferences_process.__name__, str(tmp_path)], cwd=REPO)
        deadline = time.monotonic() + 120
        while last_step(next(iter(tmp_path.glob(".preferred-*.partial/log.jsonl")), tmp_path / "none")) < reach:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = preferred(tmp_path)
    assert resumed.sha256 == preferred(out).sha256
    repeats = [each["repeated"] for each in lines(resumed.path.with_suffix(".jsonl")) if each.get("event") == "resume"]
    assert len(repeats) == 2
    assert all(repeated <= SECTION.validate_steps for repeated in repeats)
    assert "preferences: resumed at step" in capsys.readouterr().out


def test_a_round_that_helps_nowhere_changes_no_weight(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it learns, no ordinary loss may rise: the round ends at its first validation."""
    strict = SECTION.model_copy(update={"drift": 0.0, "learning_rate": 1.0})
    start = line.trained(out)
    made = prefer(start, line.encoded(out), preferences(out), strict, line.TRAINING, tmp_path)
    told = facts_of(made)
    assert (told["best_step"], told["step"], told["ended_by_drift"]) == (0, 5, True)
    assert told["accuracy"]["after"] == told["accuracy"]["before"]
    assert told["validation_loss"]["after"] == told["validation_loss"]["before"]
    assert (made.path / "model.safetensors").read_bytes() == (start.path / "model.safetensors").read_bytes()
    assert "the weights stay as they are" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_is_one_line(out: Path, tmp_path: Path) -> None:
    wild = SECTION.model_copy(update={"learning_rate": 1e38})
    with pytest.raises(
        SeqlineError, match=r"^preferences: the loss is (nan|inf) at step \d+: lower preferences.learning_rate$"
    ):
        prefer(line.trained(out), line.encoded(out), preferences(out), wild, line.TRAINING, tmp_path)


def test_too_few_corrections_are_told_with_the_reason(tmp_path: Path) -> None:
    few, lopsided = preferences(tmp_path, 2, 1), preferences(tmp_path, 40, 1)
    assert too_few(few, SECTION) == (
        "preferences: 3 pairs (4 corrections; left out: alike 1), 1 held out, needs 20: no round, the weights stay as they are"
    )
    assert "needs 2 to learn from and 2 held out" in str(too_few(lopsided, SECTION))
    assert too_few(preferences(tmp_path, 18, 2), SECTION) is None


def test_the_log_probabilities_are_those_of_transformers_pair_by_pair(out: Path) -> None:
    start = line.trained(out).path
    longest = (line.SECTION.max_source, line.SECTION.max_target)
    _, held = encoded(preferences(out).path / "preferences.parquet", start / "tokenizer.json", longest)
    model = AutoModelForSeq2SeqLM.from_pretrained(start, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(start, local_files_only=True)
    expected: list[list[float]] = []
    for answers in (held.accepted, held.rejected):
        expected.append([])
        for source, answer in zip(held.sources, answers, strict=True):
            with torch.inference_mode():
                logits = model(
                    input_ids=torch.tensor([source]),
                    decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id, *answer[:-1]]]),
                ).logits[0]
            expected[-1].append(float(logits.log_softmax(-1)[range(len(answer)), answer].sum()))
    plain = Pairs.read(line.encoded(out).path / "validation.parquet")
    made = Round(model, held, held, plain, SECTION, line.TRAINING)
    assert made.start.numpy() == pytest.approx(np.array(expected), abs=1e-3)
    assert made.before.ranked == sum(a > r for a, r in zip(*expected, strict=True))
    assert made.before.loss == pytest.approx(math.log(2), abs=1e-6), "nothing has gained on anything yet"
    assert tokenizer.decode(held.accepted[0], skip_special_tokens=True)


@given(st.lists(st.tuples(*[st.integers(1, 40)] * 3), min_size=1, max_size=60), st.integers(64, 2_048), st.integers(0, 9))
def test_a_plan_holds_every_choice_once_within_the_budget(lengths: list[tuple[int, int, int]], budget: int, epoch: int) -> None:
    choices = Choices(*([[0] * length for length in side] for side in zip(*lengths, strict=True)))
    plan = choices.plan(budget, 17, epoch)
    assert sorted(row for rows in plan for row in rows) == list(range(len(lengths)))
    for rows in plan:
        cost = 2 * len(rows) * (max(lengths[row][0] for row in rows) + max(max(lengths[row][1:]) for row in rows))
        assert cost <= budget or len(rows) == 1


@pytest.mark.parametrize("wrong", [{"beta": 0}, {"pairs": 1}, {"held_out": 1.5}, {"steps": 0}, {"drift": -1}])
def test_a_wrong_section_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        spec.Preferences.model_validate(wrong)
